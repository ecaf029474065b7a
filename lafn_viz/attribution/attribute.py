"""Attribute the probability of an answer to the feed-forward neurons of every layer.

**Integrated gradients** of one layer (Sundararajan et al. 2017; for neurons: Dai et al. 2022,
"Knowledge Neurons", eq. 2): with w the activations of the layer at the chosen positions, b a
baseline and F(w) the target with that layer's activations set to w,

    score = (w - b) * integral over a in [0, 1] of dF(b + a (w - b)) / dw

All chosen positions and neurons of a layer move together, each layer on a path of its own, and
scores are summed over positions. **Completeness**: the scores of a layer sum to F(w) - F(b).

**AMIG** (Chen et al. 2024, "Journey to the Center of the Knowledge Neurons", eqs. 2-4) takes away
the prompt's tokens one by one (a mask in their place, or end of text in causal models), follows the
path from each b_i that this gives, and sums the scores over the tokens. `normalised()` divides by
the total, as the paper does. The released code averages the baselines first and follows one path,
with a left Riemann sum, and multiplies by w, not by w - b: `amig_as_released`, which is not
complete.

**Controls**: `activation`, w itself, is what LU-LAFNs locates neurons by; `gradient` and
`gradient_x_activation` look at one point of the path; `direct_effect` is (w - b) * gradient along
the residual stream alone: what the neuron writes, read by the un-embedding.

**Steps.** A rule with a fixed number of points fails where a massive activation makes the path
nearly a step. `n_steps="auto"` begins with a few, sees from the completeness error which layers of
which prompts are not done, and cuts there the parts of the path that carry the error: F at the
ends of a part says how much its gradients should add up to. What still fails is warned of.

Caveats: near a saturated probability the gradient vanishes, and only the path shows what matters;
a score says what moves F along this path, not what happens when a neuron is silenced (see
`intervene`).
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from lafn_viz.attribution.mean_activations import mean_activations, require_languages
from lafn_viz.attribution.one_pass import OnePass, Paths
from lafn_viz.attribution.path_integral import Integral, integrate, scale_of
from lafn_viz.attribution.quadrature import Quadrature, nodes_and_weights
from lafn_viz.attribution.scores import CompletenessWarning, NeuronScores
from lafn_viz.datasets.facts import Prompt
from lafn_viz.models.batching import Batch, batches
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.tokens import Position

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Method = Literal[
    "integrated_gradients", "amig", "amig_as_released", "activation", "gradient",
    "gradient_x_activation", "direct_effect",
]  # fmt: skip
Target = Literal["probability", "log_prob", "logit_difference"]
Baseline = Literal["zero", "mean"]
# What follows a path and can be complete.
PATHS = ("integrated_gradients", "amig", "amig_as_released")
AUTO_NODES = 4  # points of "auto" on a path or a part of one
RELEASED_STEPS = 20  # of AMIG's released code


def attribute(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    method: Method = "integrated_gradients",
    position: Position = "all",
    target: Target = "probability",
    foil: str | Sequence[str] | None = None,
    baseline: Baseline | Tensor = "zero",
    corpus: Sequence[Prompt] | None = None,
    n_steps: int | Literal["auto"] = "auto",
    quadrature: Quadrature = "gauss_legendre",
    tolerance: float = 0.01,
    max_rows: int = 256,
    progress: bool = False,
) -> NeuronScores:
    """Attribute each prompt's answer to the feed-forward neurons of all layers.

    Args:
        method: "integrated_gradients", "amig", "amig_as_released", or a control: "activation",
            "gradient", "gradient_x_activation", "direct_effect".
        position: where neurons are looked at: "all" positions of the prompt together (separates
            facts best), "answer" (the last prompt token or the first mask, as in the papers), or
            "subject_last".
        target: the answer's probability, its log-probability (nats), or "logit_difference":
            log-probability of the answer minus that of the foil (for single tokens the difference
            of their logits).
        foil: another answer, for all prompts or one for each; for logit_difference.
        baseline: where integrated_gradients and direct_effect begin: "zero"; "mean", the mean
            activations of each language over `corpus`; or a tensor [layer, neuron] or
            [prompt, layer, neuron], the same at every position.
        corpus: prompts for the mean baseline; the attributed prompts themselves unless given.
        n_steps: points of the path, or "auto": as many as the tolerance needs, layer by layer
            (`amig_as_released` then takes its code's 20).
        quadrature: where a fixed number of points lies (see `quadrature`).
        tolerance: completeness error allowed, as a share (see `NeuronScores.relative_error`).
        max_rows: rows alive at once; bounds the memory whatever the number of prompts.
        progress: show a bar over the prompts.

    Returns:
        NeuronScores in the order of the prompts; the same model and prompts give the same scores.

    Raises:
        ValueError: for an unknown option, no prompts, or an answer or subject without tokens.

    Warns:
        CompletenessWarning: when a complete method misses the tolerance somewhere.
    """
    check_options(method, target, foil, n_steps, quadrature, tolerance, max_rows)
    options: dict[str, Any] = {
        "method": method, "position": position, "n_steps": n_steps, "quadrature": quadrature,
        "tolerance": tolerance, "max_rows": max_rows, "progress": progress,
    }  # fmt: skip
    start = _baselines(model, prompts, method, baseline, corpus, position)
    named = baseline if isinstance(baseline, str) else "tensor"
    if target == "logit_difference":
        foils = [foil] * len(prompts) if isinstance(foil, str) else list(foil or [])
        if len(foils) != len(prompts):
            raise ValueError(
                f"{len(foils)} foils for {len(prompts)} prompts; give one for all (foil='Rome') or "
                "a list with one for each"
            )
        # F is a difference, so its gradients are too. What a prompt's positions hold does not
        # depend on the answer that is asked of it.
        against = [replace(p, answer=f) for p, f in zip(prompts, foils, strict=True)]
        right, wrong = (
            _attribute(model, some, start=start, target="log_prob", named=named, **options)
            for some in (prompts, against)
        )
        scores = _difference(right, wrong, foils)
    else:
        scores = _attribute(model, prompts, start=start, target=target, named=named, **options)
    _warn(scores, method, tolerance, n_steps)
    return scores


def check_options(
    method: str,
    target: str,
    foil: Any = None,
    n_steps: Any = "auto",
    quadrature: Any = "gauss_legendre",
    tolerance: float = 0.01,
    rows: int = 256,
) -> None:
    """Refuse options that `attribute` does not have, with ValueError, saying what there is."""
    for what, given, kind in (("method", method, Method), ("target", target, Target)):
        if given not in get_args(kind):
            raise ValueError(f"unknown {what} {given!r}; there are {', '.join(get_args(kind))}")
    nodes_and_weights(quadrature, 1)
    if n_steps != "auto" and (isinstance(n_steps, str) or n_steps < 1):
        raise ValueError(f'n_steps={n_steps!r}; give "auto" or a number of 1 or more')
    if rows < 2 or not tolerance > 0:
        raise ValueError(
            f"max_rows={rows}, tolerance={tolerance}; give at least 2 rows and a tolerance above 0"
        )
    if (target == "logit_difference") != (foil is not None):
        raise ValueError(
            f"target={target!r} with foil={foil!r}; a foil belongs to target='logit_difference', "
            "and to no other"
        )


def _baselines(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    method: Method,
    baseline: Baseline | Tensor,
    corpus: Sequence[Prompt] | None,
    position: Position,
) -> Float[Tensor, "prompt layer neuron"] | None:
    """The given baseline of each prompt; None stands for zero."""
    if isinstance(baseline, str) and baseline == "zero":
        return None
    if method not in ("integrated_gradients", "direct_effect"):
        raise ValueError(
            f"method={method!r} has no choice of baseline; leave it out, or use "
            "integrated_gradients or direct_effect"
        )
    found = capabilities(model)
    if not isinstance(baseline, str):
        shape = (len(prompts), found.n_layers, found.d_mlp)
        if tuple(baseline.shape) not in (shape, shape[1:]):
            raise ValueError(
                f"baseline of shape {tuple(baseline.shape)}; give [layer, neuron] {shape[1:]} or "
                f"[prompt, layer, neuron] {shape}"
            )
        return baseline.float().expand(shape)
    if baseline != "mean":
        raise ValueError(
            f"unknown baseline {baseline!r}; there are {', '.join(get_args(Baseline))}, "
            "or a tensor (a baseline for each token is method='amig')"
        )
    corpus = corpus or prompts
    require_languages(prompts, corpus, "a mean baseline")
    means = mean_activations(model, corpus, position=position)
    return torch.stack([means[prompt.language] for prompt in prompts])


def _attribute(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    start: Float[Tensor, "prompt layer neuron"] | None,
    named: str,
    method: Method,
    position: Position,
    target: Literal["probability", "log_prob"],
    n_steps: int | Literal["auto"],
    quadrature: Quadrature,
    tolerance: float,
    max_rows: int,
    progress: bool,
) -> NeuronScores:
    found = capabilities(model)
    shape = (len(prompts), found.n_layers)
    values = torch.zeros(*shape, found.d_mlp)
    target_prob, known = torch.zeros(shape[0]), torch.zeros(shape[0], dtype=torch.bool)
    error, relative, change = torch.full((3, *shape), torch.nan)
    n_points = torch.zeros(shape, dtype=torch.long)
    bar = tqdm(total=len(prompts), disable=not progress, desc=method, unit="prompt")
    for batch in batches(model, prompts, position=position, max_prompts=max_rows - 1):
        for part in _cut(batch, method, n_steps, found.n_layers, max_rows):
            at = part.index
            run = OnePass(model, part, target, max_rows=max_rows)
            target_prob[at], known[at] = run.log_prob.exp().cpu(), run.known.cpu()
            begin = None if start is None else start[at]
            if method in PATHS:
                done = _follow(run, method, begin, n_steps, quadrature, tolerance)
                values[at], change[at] = done.values.cpu(), done.change.cpu()
                error[at], n_points[at] = done.error.cpu(), done.n_points.cpu()
                relative[at] = (done.error.abs() / done.scale).cpu()
            else:
                values[at] = _one_point(run, method, begin).cpu()
                n_points[at] = 0 if method == "activation" else 1
            bar.update(len(at))
    bar.close()
    options: dict[str, Any] = {"position": position, "target": target}
    if method in PATHS:
        options |= {"n_steps": n_steps}
        options |= {"tolerance": tolerance} if n_steps == "auto" else {"quadrature": quadrature}
    if method in ("integrated_gradients", "direct_effect"):
        options |= {"baseline": named}
    return NeuronScores(
        values=values,
        target_prob=target_prob,
        known=known,
        completeness_error=error,
        relative_error=relative,
        target_change=change,
        n_points=n_points,
        prompts=tuple(prompts),
        provenance=provenance(model, method, **options),
    )


def _cut(
    batch: Batch, method: Method, n_steps: int | str, n_layers: int, max_rows: int
) -> Iterator[Batch]:
    """Parts of a batch that are likely to run in one pass."""
    steps = AUTO_NODES if n_steps == "auto" else int(n_steps) + 1
    tokens = batch.text[1] - batch.text[0]
    # AMIG begins with both ends of a path for every token.
    paths = {"amig": 1 + tokens * (1 if n_steps == "auto" else steps), "amig_as_released": steps}
    each = 1 + n_layers * paths.get(method, steps if method in PATHS else 0)
    size = max(1, max_rows // each)
    for left in range(0, len(batch.index), size):
        some = slice(left, left + size)
        yield replace(
            batch,
            index=batch.index[some],
            tokens=batch.tokens[some],
            answers=batch.answers[some],
        )


def _one_point(
    run: OnePass, method: Method, start: Float[Tensor, "prompt layer neuron"] | None
) -> Float[Tensor, "prompt layer neuron"]:
    """The methods that look at the unmodified activations alone."""
    activations = torch.stack(run.activations, 1).float()
    if method == "activation":
        return activations.sum(2)
    gradients = torch.stack(run.gradients(direct=method == "direct_effect"), 1).float()
    if method == "gradient":
        return gradients.sum(2)
    if start is not None:
        activations = activations - start[:, :, None].to(activations)
    return (gradients * activations).sum(2)


def _follow(
    run: OnePass,
    method: Method,
    start: Float[Tensor, "prompt layer neuron"] | None,
    n_steps: int | Literal["auto"],
    quadrature: Quadrature,
    tolerance: float,
) -> Integral:
    """The methods that follow a path, or AMIG's one for each token."""
    owner = torch.arange(len(run.tokens), device=run.tokens.device)
    if method == "integrated_gradients":
        begin = None
        if start is not None:
            layers = start.to(owner.device).unbind(1)
            begin = [
                some[:, None].to(like).expand_as(like)
                for some, like in zip(layers, run.activations, strict=True)
            ]
        paths = Paths(owner, begin)
    else:
        blanked = run.without_each_token()
        if method == "amig_as_released":
            # The released code drops the baseline where it multiplies.
            paths = Paths(owner, [b.mean(1) for b in blanked], factor=run.activations)
            steps = RELEASED_STEPS if n_steps == "auto" else n_steps
            return integrate(run, paths, nodes_and_weights("riemann_left", steps))
        owner = owner.repeat_interleave(blanked[0].shape[1])
        paths = Paths(owner, [b.flatten(0, 1) for b in blanked])
    if n_steps != "auto":
        return integrate(run, paths, nodes_and_weights(quadrature, n_steps))
    rule = nodes_and_weights("gauss_radau", AUTO_NODES)
    if method == "integrated_gradients":
        return integrate(run, paths, rule, tolerance=tolerance, refined_by=rule)
    # A token's path is short, and all paths of a prompt end at the same point: the trapezoid rule
    # costs one point a path.
    start_only = np.zeros(1), np.full(1, 0.5)
    return integrate(run, paths, start_only, end_weight=0.5, tolerance=tolerance, refined_by=rule)


def _difference(right: NeuronScores, wrong: NeuronScores, foils: list[str]) -> NeuronScores:
    """Scores of log P(answer) - log P(foil)."""
    if right.provenance.method == "activation":  # the same for every target
        return right
    options = {**right.provenance.options, "target": "logit_difference", "foil": tuple(foils)}
    error = right.completeness_error - wrong.completeness_error
    change = right.target_change - wrong.target_change
    scale = scale_of(change.abs(), torch.ones(len(change)), torch.float32)
    return replace(
        right,
        values=right.values - wrong.values,
        completeness_error=error,
        relative_error=error.abs() / scale,
        target_change=change,
        n_points=right.n_points + wrong.n_points,
        provenance=replace(right.provenance, options=options),
    )


def _warn(scores: NeuronScores, method: Method, tolerance: float, n_steps: int | str) -> None:
    if method not in ("integrated_gradients", "amig"):
        return
    share = scores.relative_error
    missed = int((share > tolerance).sum())
    if missed:
        prompt, layer = divmod(int(share.argmax()), share.shape[1])
        todo = (
            'look at target="log_prob", or leave these layers out'
            if n_steps == "auto"
            else 'use n_steps="auto" or more steps'
        )
        warnings.warn(
            f"{missed} of {share.numel()} (prompt, layer) pairs miss the completeness tolerance "
            f"{tolerance:g}, by most layer {layer} of {scores.prompts[prompt].text!r} with "
            f"{share.max():.3g}; their scores do not sum to what the layer does: {todo}",
            CompletenessWarning,
            stacklevel=3,
        )
