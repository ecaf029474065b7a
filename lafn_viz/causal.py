"""Does a neuron set cause the answer? Change it and look, beside random neurons.

`intervene` multiplies the activations of a set of neurons (by 0: zeroed; by 2: "enhanced" in the
papers) at the chosen positions and measures the answers again. Beside it always stand as many
random neurons of the same layers, drawn several times. An attribution is a claim about a path; this
is what happens when the neurons are really changed.

Hooks are removed when the work is done and on an exception; weights are never touched.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.facts import Prompt
from lafn_viz.models import Provenance, hook_post, provenance, traits
from lafn_viz.neurons import Neuron, random_like
from lafn_viz.target import Batch, Hooks, Position, prompt_columns, score_answers

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

How = Literal["zero", "scale"]


@dataclass(frozen=True)
class Effect:
    """Log-probability (nats) of each answer before and after, and under each random control."""

    before: Float[Tensor, " prompt"]
    after: Float[Tensor, " prompt"]
    control: Float[Tensor, "draw prompt"]
    neurons: frozenset[Neuron]
    prompts: tuple[Prompt, ...]
    provenance: Provenance

    def __repr__(self) -> str:
        change, control = self.change, self.control_change
        beside = f", {len(control)} random sets {control.mean():+.1%}" if len(control) else ""
        return f"Effect({len(self.neurons)} neurons: P(correct) {change:+.1%}{beside})"

    @property
    def change(self) -> float:
        """Relative change of the mean probability of the answers (-1: gone)."""
        return float(self.after.exp().mean() / self.before.exp().mean() - 1)

    @property
    def control_change(self) -> Float[np.ndarray, " draw"]:
        """The same for each random set."""
        return (self.control.exp().mean(-1) / self.before.exp().mean() - 1).numpy()

    def to_frame(self) -> "pd.DataFrame":
        """One row a prompt: log_prob and probability before, after, and the controls' mean."""
        import pandas as pd

        return pd.DataFrame(
            {
                **prompt_columns(self.prompts),
                "log_prob_before": self.before.numpy(),
                "log_prob_after": self.after.numpy(),
                "log_prob_control": self.control.mean(0).numpy(),
                "p_before": self.before.exp().numpy(),
                "p_after": self.after.exp().numpy(),
                "p_control": self.control.exp().mean(0).numpy(),
            }
        )


def intervene(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    neurons: Iterable[tuple[int, int]],
    *,
    how: How = "zero",
    factor: float = 2.0,
    position: Position = "all",
    controls: int = 5,
    seed: int = 0,
) -> Effect:
    """Change a set of neurons and measure the answers, beside as many random ones.

    Args:
        neurons: (layer, neuron) pairs.
        how: "zero", or "scale" by `factor`.
        position: where: "all" positions of the prompt, "answer", or "subject_last".
        controls: how many random sets with the same count in each layer.
        seed: of the random sets.

    Raises:
        ValueError: for an unknown option or a neuron that the model does not have.
    """
    if how not in get_args(How):
        raise ValueError(f"unknown how {how!r}; there are {', '.join(get_args(How))}")
    found = traits(model)
    shape = (found.n_layers, found.d_mlp)
    chosen = frozenset(Neuron(*neuron) for neuron in neurons)
    for layer, neuron in sorted(chosen):
        if not (0 <= layer < shape[0] and 0 <= neuron < shape[1]):
            raise ValueError(
                f"there is no neuron ({layer}, {neuron}); layers go from 0 to {shape[0] - 1}, "
                f"neurons from 0 to {shape[1] - 1}"
            )
    times = 0.0 if how == "zero" else factor

    def measured(some: frozenset[Neuron]) -> Tensor:
        hooks = _scaling(some, times)
        return score_answers(model, prompts, position=position, hooks=hooks).log_prob

    control = [measured(random_like(chosen, shape, seed=seed + draw)) for draw in range(controls)]
    return Effect(
        before=score_answers(model, prompts).log_prob,
        after=measured(chosen),
        control=torch.stack(control) if control else torch.empty(0, len(prompts)),
        neurons=chosen,
        prompts=tuple(prompts),
        provenance=provenance(
            model, "intervene", seed=seed, how=how, factor=times, position=position
        ),
    )


def _scaling(neurons: Iterable[Neuron], times: float) -> Callable[[Batch], Hooks]:
    by_layer: dict[int, list[int]] = defaultdict(list)
    for layer, neuron in sorted(neurons):
        by_layer[layer].append(neuron)

    def hooks(batch: Batch) -> Hooks:
        def scaling(chosen: list[int]) -> Callable[..., Tensor]:
            def hook(value: Tensor, hook: Any) -> Tensor:
                factor = torch.ones_like(value[0])
                factor[batch.at, chosen] = times
                return value * factor

            return hook

        return [(hook_post(layer), scaling(chosen)) for layer, chosen in by_layer.items()]

    return hooks
