"""The attribution methods, one class each.

With w the activations of one layer at the chosen positions, b a baseline and F(w) the target with
that layer's activations set to w, a method gives each neuron of the layer a score, summed over
positions. Two kinds of method exist:

- **Path methods** integrate dF/dw along straight paths that end at w. All chosen positions and
  neurons of a layer move together, each layer on a path of its own. A method is **complete** when
  its scores of a layer sum to what the layer does: F at the ends of its paths minus F at their
  starts.
- **One-point methods** look at the unmodified activations only. They serve as controls.

To add a method, derive a class from `PathMethod` (and say which paths it follows) or from
`OnePointMethod` (and compute its scores), and enter it in `METHODS` and in the type `Method`.
`attribute` takes everything else from the class.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.one_pass import OnePass, Paths
from lafn_viz.attribution.path_integral import Integral, integrate
from lafn_viz.attribution.quadrature import Quadrature, lobatto, nodes_and_weights
from lafn_viz.attribution.token_baselines import without_each_token
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import down_weight, hook_gate, hook_post, hook_pre

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Method = Literal[
    "integrated_gradients", "amig", "amig_as_released", "activation", "gradient",
    "gradient_x_activation", "direct_effect",
]  # fmt: skip
Baselines = Float[Tensor, "prompt layer at neuron"] | None  # None stands for zero
AUTO_NODES = 4  # points of n_steps="auto" on a path or a part of one
# From a baseline other than zero F bends little: 0, 1/2 and 1 are often enough (1 costs nothing),
# and where they are not, two points more are as good as AUTO_NODES.
FIRST_RULE, NEXT_RULE = lobatto(3), lobatto(5)
RELEASED_STEPS = 20  # of AMIG's released code
LEAST_STRETCH = 1e-3  # of a path from zero; so short a path is straight


@dataclass(frozen=True)
class Steps:
    """How a path is integrated.

    `n_steps` is a number of points, which `quadrature` places, or "auto": as many points as the
    completeness error needs to stay within `tolerance`.
    """

    n_steps: int | Literal["auto"]
    quadrature: Quadrature
    tolerance: float

    def options(self) -> dict[str, Any]:
        """The settings that take effect, for the provenance of the scores."""
        if self.n_steps == "auto":
            return {"n_steps": self.n_steps, "tolerance": self.tolerance}
        return {"n_steps": self.n_steps, "quadrature": self.quadrature}


class MethodSpec(ABC):
    """What `attribute` needs to know of a method."""

    follows_path: ClassVar[bool] = False
    complete: ClassVar[bool] = False
    takes_baseline: ClassVar[bool] = False
    uses_target: ClassVar[bool] = True

    def site(self, model: "TransformerBridge") -> Callable[[int], str]:
        """Return the hook of a layer on which the method works: by default, on its neurons."""
        return hook_post

    @abstractmethod
    def integral(self, run: OnePass, baselines: Baselines, steps: Steps) -> Integral:
        """Score every neuron for the prompts of one batch."""

    def rows_per_prompt(self, steps: Steps, n_layers: int, n_tokens: int) -> int:
        """Return how many rows of a pass a prompt is likely to need, its own among them."""
        return 1


class OnePointMethod(MethodSpec):
    """A method that looks at the unmodified activations w only, and so has no completeness."""

    n_points: ClassVar[int] = 1  # gradients taken for each prompt and layer

    @abstractmethod
    def _values(self, run: OnePass, baselines: Baselines) -> Float[Tensor, "prompt layer neuron"]:
        """Return the scores."""

    def integral(self, run: OnePass, baselines: Baselines, steps: Steps) -> Integral:
        """Score every neuron; what a path would say is NaN."""
        values = self._values(run, baselines)
        undefined = values.new_full(values.shape[:2], torch.nan)
        n_points = torch.full(values.shape[:2], self.n_points, device=values.device)
        return Integral(values, undefined, undefined, n_points)


class PathMethod(MethodSpec):
    """A method that integrates the gradient along paths; the settings in `Steps` apply to it."""

    follows_path = True

    @abstractmethod
    def _paths(self, run: OnePass, baselines: Baselines) -> Paths:
        """Return the paths of a batch."""

    def integral(self, run: OnePass, baselines: Baselines, steps: Steps) -> Integral:
        """Score every neuron by the integrals along its prompt's paths."""
        paths = self._paths(run, baselines)
        if steps.n_steps == "auto":
            return self._refined(run, paths, steps.tolerance)
        return integrate(run, paths, nodes_and_weights(steps.quadrature, steps.n_steps))

    def _refined(self, run: OnePass, paths: Paths, tolerance: float) -> Integral:
        """Integrate with as many points as the tolerance needs."""
        rule = nodes_and_weights("gauss_radau", AUTO_NODES)
        first, then = (rule, None) if paths.start is None else (FIRST_RULE, NEXT_RULE)
        return integrate(run, paths, first, tolerance=tolerance, next_rule=then, refined_by=rule)

    def rows_per_prompt(self, steps: Steps, n_layers: int, n_tokens: int) -> int:
        """Count the prompt's own row and one path in each layer, with its start."""
        return 1 + n_layers * (AUTO_NODES if steps.n_steps == "auto" else steps.n_steps + 1)


class IntegratedGradients(PathMethod):
    """Integrated gradients of one layer.

    score = (w - b) * integral over a in [0, 1] of dF(b + a (w - b)) / dw

    Sundararajan et al. 2017, arXiv 1703.01365; for neurons Dai et al. 2022, "Knowledge Neurons",
    eq. 2. Scores of a layer sum to F(w) - F(b).

    Where a norm follows the neurons (see `post_norm`), the points of a path from zero are spaced
    evenly in the logarithm of a from where the norm lets go on, and below that in a itself:

        a = sinh(t asinh(r)) / r,  r = rms(W w) / floor, the largest of the positions

    What the norm gives, a r / sqrt(1 + (a r)^2), is then tanh(t asinh(r)), which few points follow
    from its beginning, while in a it is a step.
    """

    complete = True
    takes_baseline = True

    def _paths(self, run: OnePass, baselines: Baselines) -> Paths:
        owner = run.everyone()
        if baselines is None:
            return Paths(owner, stretch=_above_the_floor(run))
        return Paths(owner, list(baselines.unbind(1)))


class Amig(PathMethod):
    """Architecture-adapted multilingual integrated gradients.

    score = sum over tokens i of (w - b_i) * integral over a in [0, 1] of dF(b_i + a (w - b_i)) / dw

    b_i are the activations with token i of the prompt replaced by a mask, or in causal models by an
    end of text. Chen et al. 2024, "Journey to the Center of the Knowledge Neurons", eqs. 2-4, where
    `NeuronScores.normalised()` is the division by the total. Scores of a layer sum to the sum over
    tokens of F(w) - F(b_i).
    """

    complete = True

    def _paths(self, run: OnePass, baselines: Baselines) -> Paths:
        starts = without_each_token(run)
        owner = run.everyone().repeat_interleave(starts[0].shape[1])
        return Paths(owner, [start.flatten(0, 1) for start in starts])

    def _refined(self, run: OnePass, paths: Paths, tolerance: float) -> Integral:
        # A token's path is short, and all paths of a prompt end at the same point: the trapezoid
        # rule costs one point a path.
        rule = nodes_and_weights("gauss_radau", AUTO_NODES)
        return integrate(run, paths, lobatto(2), tolerance=tolerance, refined_by=rule)

    def rows_per_prompt(self, steps: Steps, n_layers: int, n_tokens: int) -> int:
        """Count a path for each token in each layer, beside the prompt's own row and its ends."""
        each = 1 if steps.n_steps == "auto" else steps.n_steps + 1
        return 1 + n_layers * (1 + n_tokens * each)


class AmigAsReleased(PathMethod):
    """AMIG as its authors' code computes it, which is not complete.

    score = w * (1/n) * sum over k = 0, ..., n - 1 of dF(b + k/n (w - b)) / dw

    b is the mean of AMIG's baselines b_i: one path instead of one for each token, a left Riemann
    sum, and a factor w where AMIG has w - b. "auto" takes the code's n = 20. In GPT, w is what the
    neurons read before their non-linearity; so it is here in every causal model without gates. In
    BERT the code also puts blanks in place of [CLS], [SEP] and the answer's masks.
    """

    def site(self, model: "TransformerBridge") -> Callable[[int], str]:
        """In a causal model without gates, the place before the non-linearity."""
        gated = hook_gate(model, 0) != hook_post(0)
        return hook_post if gated or capabilities(model).masked else hook_pre

    def _paths(self, run: OnePass, baselines: Baselines) -> Paths:
        starts = [start.mean(1) for start in without_each_token(run, special=True)]
        return Paths(run.everyone(), starts, factor=run.activations)

    def integral(self, run: OnePass, baselines: Baselines, steps: Steps) -> Integral:
        """Score every neuron by the code's left Riemann sum, whatever the quadrature."""
        n_steps = RELEASED_STEPS if steps.n_steps == "auto" else steps.n_steps
        rule = nodes_and_weights("riemann_left", n_steps)
        return integrate(run, self._paths(run, baselines), rule)


class Activation(OnePointMethod):
    """score = w, by which LU-LAFNs locates neurons; the target plays no part."""

    uses_target = False
    n_points = 0

    def _values(self, run: OnePass, baselines: Baselines) -> Float[Tensor, "prompt layer neuron"]:
        return _stacked(run.activations).sum(2)


class Gradient(OnePointMethod):
    """score = dF/dw."""

    def _values(self, run: OnePass, baselines: Baselines) -> Float[Tensor, "prompt layer neuron"]:
        return _stacked(run.gradients()).sum(2)


class GradientTimesActivation(OnePointMethod):
    """score = w * dF/dw: integrated gradients from zero, with the end of the path alone."""

    def _values(self, run: OnePass, baselines: Baselines) -> Float[Tensor, "prompt layer neuron"]:
        return (_stacked(run.gradients()) * _stacked(run.activations)).sum(2)


class DirectEffect(OnePointMethod):
    """score = (w - b) * dF/dw along the residual stream alone.

    What the neuron writes, read by the un-embedding: attention and feed-forward layers that follow
    keep what they write, and normalisations are followed.
    """

    takes_baseline = True

    def _values(self, run: OnePass, baselines: Baselines) -> Float[Tensor, "prompt layer neuron"]:
        change = _stacked(run.activations)
        if baselines is not None:
            change = change - baselines.to(change)
        return (_stacked(run.gradients(direct=True)) * change).sum(2)


METHODS: dict[Method, MethodSpec] = {
    "integrated_gradients": IntegratedGradients(),
    "amig": Amig(),
    "amig_as_released": AmigAsReleased(),
    "activation": Activation(),
    "gradient": Gradient(),
    "gradient_x_activation": GradientTimesActivation(),
    "direct_effect": DirectEffect(),
}


def methods_with_baseline() -> list[str]:
    """The methods that let the caller choose a baseline."""
    return [name for name, spec in METHODS.items() if spec.takes_baseline]


def _above_the_floor(run: OnePass) -> list[Float[Tensor, " path"] | None]:
    """For each layer that normalises what its neurons write: asinh(r) of each prompt."""
    stretches: list[Tensor | None] = []
    for layer, floor in enumerate(run.capabilities.post_norm_floors):
        if floor is None:
            stretches.append(None)
            continue
        written = run.activations[layer] @ down_weight(run.model, layer)
        size = written.float().square().mean(-1).sqrt().amax(1)
        stretches.append((size / floor).asinh().clamp_min(LEAST_STRETCH))
    return stretches


def _stacked(
    layers: list[Float[Tensor, "prompt at neuron"]],
) -> Float[Tensor, "prompt layer at neuron"]:
    return torch.stack(layers, 1).float()
