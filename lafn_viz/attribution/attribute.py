"""Attribute the probability of an answer to the feed-forward neurons of every layer.

1. Take the activations w of each layer at the chosen positions, and the target F(w): the answer's
   probability with that layer's activations set to w.
2. Score each neuron by a method (see `methods`). **Integrated gradients** (Sundararajan et al.
   2017; for neurons: Dai et al. 2022, "Knowledge Neurons", eq. 2) follow a path from a baseline b
   to w:

       score = (w - b) * integral over a in [0, 1] of dF(b + a (w - b)) / dw

   **AMIG** (Chen et al. 2024, "Journey to the Center of the Knowledge Neurons", eqs. 2-4) does so
   from one baseline for each token of the prompt, and sums the scores over the tokens. The other
   methods are controls: they look at one point of the path, or at the activations alone.
3. Sum the scores over positions. **Completeness**: the scores of a layer sum to F(w) - F(b). What
   they miss is reported, layer by layer.

**Steps.** A rule with a fixed number of points fails where a massive activation makes the path
nearly a step. `n_steps="auto"` begins with a few points. The completeness error tells which layers
of which prompts are not done; there it cuts the parts of the path that carry the error, because F
at the ends of a part says how much its gradients should add up to (see `path_integral`). A
`CompletenessWarning` names what still fails.

Caveats: near a saturated probability the gradient vanishes, and only the path shows what matters.
A score says what moves F along this path, not what happens when a neuron is silenced (see
`intervene`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from lafn_viz.attribution.baselines import Baseline, Baselines, find_baselines
from lafn_viz.attribution.methods import METHODS, Method, MethodSpec, Steps
from lafn_viz.attribution.one_pass import AnswerTarget, OnePass
from lafn_viz.attribution.path_integral import scale_of
from lafn_viz.attribution.quadrature import Quadrature
from lafn_viz.attribution.scores import CompletenessWarning, NeuronScores
from lafn_viz.core.arguments import a_flag, one_of, real, scalar, some_texts, takes, whole, wrong
from lafn_viz.core.messages import described, warn
from lafn_viz.datasets.arguments import Prompts, as_prompts
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.batching import Batch, batches
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.tokens import POSITIONS, Position

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Target = Literal["probability", "log_prob", "logit_difference"]


@reads_model
@takes(
    position=one_of(POSITIONS), tolerance=real(above=0), max_rows=whole(2), progress=a_flag
)  # fmt: skip
def attribute(
    model: "TransformerBridge",
    prompts: Prompts,
    *,
    method: Method = "integrated_gradients",
    position: Position = "all",
    target: Target = "probability",
    foil: str | Sequence[str] | None = None,
    baseline: Baseline | Tensor | np.ndarray = "auto",
    corpus: Prompts | None = None,
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
        position: where activations are taken: at "all" positions of the prompt together (separates
            facts best), at all positions "from_subject" on (from its first token), at "answer" (the
            last prompt token or the first mask, as in the papers), or at "subject_last". Examples
            before a prompt are read and not attributed. What stands before the first of these
            positions runs once for a prompt, so fewer positions take less time.
        target: the answer's probability, its log-probability (nats), or "logit_difference":
            log-probability of the answer minus that of the foil (for single tokens the difference
            of their logits).
        foil: another answer, for all prompts or one for each; for logit_difference.
        baseline: where integrated_gradients and direct_effect begin (see `baselines`): "zero";
            "mean", the mean activations of each language over `corpus`; "other_facts", the mean
            over the prompts of `corpus` that ask other facts of the relation in the language; or a
            tensor [layer, neuron] or [prompt, layer, neuron], the same at every position. "auto" is
            "zero", but "other_facts" in a model whose layers normalise what their neurons write
            (Gemma 2 and 3, OLMo 2), if there are other facts.
        corpus: prompts for the means; by default the attributed prompts themselves.
        n_steps: points of the path, or "auto": as many as the tolerance needs, layer by layer
            (`amig_as_released` then takes its code's 20).
        quadrature: where a fixed number of points lies (see `quadrature`).
        tolerance: completeness error allowed, as a share (see `NeuronScores.relative_error`).
        max_rows: rows alive at once; bounds the memory whatever the number of prompts.
        progress: show a bar over the prompts.

    Returns:
        NeuronScores in the order of the prompts; the same model and prompts give the same scores.

    Raises:
        ValueError: for an unknown option, no prompts, an answer or subject without tokens, or a
            corpus that lacks what the mean needs.

    Warns:
        CompletenessWarning: when a complete method misses the tolerance somewhere.
        BaselineWarning: when a path begins at zero in a model where zero is no baseline.
    """
    prompts = as_prompts(prompts)
    corpus = None if corpus is None else as_prompts(corpus, "corpus")
    n_steps = check_options(method, target, foil, n_steps, quadrature)
    shape = capabilities(model).shape
    score = partial(
        _attribute,
        model,
        method=method,
        baselines=find_baselines(
            model, prompts, method=method, baseline=baseline, corpus=corpus, position=position
        ),
        position=position,
        steps=Steps(n_steps, quadrature, tolerance),
        shape=shape,
        max_rows=max_rows,
        progress=progress,
    )
    if target == "logit_difference":
        foils = _foil_of_each(foil, len(prompts))
        # F is a difference, so its gradients are too. What a prompt's positions hold does not
        # depend on the answer that it is asked for.
        against = [replace(p, answer=f) for p, f in zip(prompts, foils, strict=True)]
        right, wrong = (score(asked, target="log_prob") for asked in (prompts, against))
        scores = _difference(right, wrong, foils) if METHODS[method].uses_target else right
    else:
        scores = score(prompts, target=target)
    if METHODS[method].complete:
        _warn_of_incompleteness(scores, tolerance, n_steps)
    return scores


def check_options(
    method: str,
    target: str,
    foil: Any = None,
    n_steps: Any = "auto",
    quadrature: Any = "gauss_legendre",
) -> "int | Literal['auto']":
    """Return the number of steps, or "auto".

    Raises:
        ValueError: for options that `attribute` does not take, naming those that it takes.
    """
    one_of(METHODS)("method", method)
    one_of(get_args(Target))("target", target)
    one_of(get_args(Quadrature))("quadrature", quadrature)
    if not (isinstance(n_steps, str) and n_steps == "auto"):
        steps = scalar(n_steps)
        if steps is None or not (steps >= 1 and steps == steps // 1):
            raise wrong("n_steps", n_steps, '"auto" or a number of 1 or more')
        n_steps = int(steps)
    if (target == "logit_difference") != (foil is not None):
        raise ValueError(
            f"target={target!r} with foil={described(foil)}; a foil belongs to "
            "target='logit_difference', and to no other"
        )
    return n_steps


def _foil_of_each(foil: str | Sequence[str] | None, n_prompts: int) -> list[str]:
    """The foil of each prompt."""
    foils = [foil] * n_prompts if isinstance(foil, str) else list(some_texts("foil", foil))
    if len(foils) != n_prompts:
        raise ValueError(
            f"{len(foils)} foils for {n_prompts} prompts; give one for all (foil='Rome') or "
            "a list with one for each"
        )
    return foils


def _attribute(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    target: AnswerTarget,
    method: Method,
    baselines: Baselines,
    position: Position,
    steps: Steps,
    shape: tuple[int, int],
    max_rows: int,
    progress: bool,
) -> NeuronScores:
    """Run a method over the prompts, batch by batch, for one target."""
    spec, n = METHODS[method], len(prompts)
    site = spec.site(model)
    values = torch.zeros(n, *shape)
    target_prob, known = torch.zeros(n), torch.zeros(n, dtype=torch.bool)
    error, relative, change = torch.zeros(3, n, shape[0])
    n_points = torch.zeros(n, shape[0], dtype=torch.long)
    with tqdm(total=n, disable=not progress, desc=method, unit="prompt") as bar:
        for batch in _batches(model, prompts, position, spec, steps, shape[0], max_rows):
            rows = batch.index
            run = OnePass(model, batch, target, max_rows=max_rows, site=site)
            integral = spec.integral(run, baselines.of(run), steps)
            target_prob[rows], known[rows] = run.log_prob.exp().cpu(), run.known.cpu()
            values[rows], change[rows] = integral.values.cpu(), integral.change.cpu()
            error[rows], n_points[rows] = integral.error.cpu(), integral.n_points.cpu()
            relative[rows] = (integral.error.abs() / integral.scale).cpu()
            bar.update(len(rows))
    options: dict[str, Any] = {"position": position, "target": target}
    if spec.follows_path:
        options |= steps.options()
    if spec.takes_baseline:
        options |= {"baseline": baselines.name}
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


def _batches(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    position: Position,
    spec: MethodSpec,
    steps: Steps,
    n_layers: int,
    max_rows: int,
) -> Iterator[Batch]:
    """Batches of prompts that are likely to run in one pass, with the rows that a method adds."""
    for batch in batches(model, prompts, position=position, max_prompts=max_rows - 1):
        n_tokens = batch.text[1] - batch.text[0]
        size = max(1, max_rows // spec.rows_per_prompt(steps, n_layers, n_tokens))
        yield from batch.split(size)


def _difference(right: NeuronScores, wrong: NeuronScores, foils: list[str]) -> NeuronScores:
    """Scores of log P(answer) - log P(foil)."""
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


def _warn_of_incompleteness(scores: NeuronScores, tolerance: float, n_steps: int | str) -> None:
    share = scores.relative_error
    missed = int((share > tolerance).sum())
    if missed:
        prompt, layer = divmod(int(share.argmax()), share.shape[1])
        remedy = (
            'look at target="log_prob", or leave these layers out'
            if n_steps == "auto"
            else 'use n_steps="auto" or more steps'
        )
        warn(
            f"{missed} of {share.numel()} (prompt, layer) pairs miss the completeness tolerance of "
            f"{tolerance:g}: their scores do not sum to what the layer does. The largest relative "
            f"error is {share.max():.3g}, in layer {layer} of {scores.prompts[prompt].text!r}; "
            f"{remedy}",
            CompletenessWarning,
        )
