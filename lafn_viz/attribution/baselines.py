"""Baselines: the activations at which the path of integrated gradients begins.

A baseline b asks what the activations w add that b in their place would not.

- **zero** asks what the neurons add to nothing.
- **mean** is the mean over all prompts of a corpus in the prompt's language.
- **other_facts** is the mean over the prompts of other facts of the same relation in the same
  language. What language, relation and wording have in common is in it, so the scores say what
  makes this fact differ from the others. Each fact has a mean without its own prompts.

Special tokens at the start of a text are the same in all prompts of a causal model. They are no
part of a mean, and their neurons keep their activations and have no score.

**Zero is no baseline where a norm follows the neurons** (Gemma 2 and 3, OLMo 2; `post_norm` finds
out). There F(a w) hardly changes until a is so small that the norm's epsilon shows. On this flat
part the gradient is dF/dw (a w) = dF/dw (w) / a, so the integral from a0 to 1 is
ln(1 / a0) w dF/dw (w): the scores carry the logarithm of an epsilon that says nothing about the
text, and what they sum to comes from the step at a0 alone. "auto" therefore takes zero where zero
means something and "other_facts" elsewhere, and `methods.IntegratedGradients` spaces the points of
a path from zero evenly in ln a there.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.attribution.mean_activations import (
    ActivationSum,
    require_languages,
    summed_activations,
)
from lafn_viz.attribution.methods import METHODS, Method, methods_with_baseline
from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.core.messages import described, warn
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.tokens import Position

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Baseline = Literal["auto", "zero", "mean", "other_facts"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
_HOW_TO_GIVE_OTHERS = (
    "give corpus=, prompts of other facts of the same relation in the same languages "
    "(such as load_facts().filter(relation=...).prompts())"
)


class BaselineWarning(UserWarning):
    """Warns of scores whose baseline is zero in a model where zero is no baseline."""


@dataclass(frozen=True)
class Baselines:
    """The baseline of each prompt, by the name under which the provenance of scores keeps it.

    `values` are None for zero. With `keeps_start`, positions keep their activations where
    `Batch.kept_at_start` says so.
    """

    name: str
    values: Float[Tensor, "prompt layer neuron"] | None = None
    keeps_start: bool = False

    def of(self, run: OnePass) -> Float[Tensor, "prompt layer at neuron"] | None:
        """The baselines at the positions of a batch; None for zero."""
        if self.values is None:
            return None
        rows = self.values[run.batch.index]
        n_kept = 0
        if self.keeps_start:
            n_kept = run.batch.kept_at_start(masked=run.capabilities.masked)
        layers = []
        for start, end in zip(rows.unbind(1), run.activations, strict=True):
            whole = start[:, None].to(end).expand_as(end)
            layers.append(torch.cat([end[:, :n_kept], whole[:, n_kept:]], 1))
        return torch.stack(layers, 1)


def find_baselines(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    method: Method,
    baseline: Baseline | Tensor | np.ndarray,
    corpus: Sequence[Prompt] | None,
    position: Position,
) -> Baselines:
    """Return the baseline of each prompt.

    Raises:
        ValueError: for an unknown baseline, one that the method does not take, a tensor of another
            shape, or a corpus that lacks what a mean needs.

    Warns:
        BaselineWarning: where the path begins at zero in a model where zero is no baseline.
    """
    if not isinstance(baseline, Tensor | np.ndarray | str) or (
        isinstance(baseline, str) and baseline not in BASELINES
    ):
        raise ValueError(
            f"unknown baseline {described(baseline)}; there are {', '.join(BASELINES)}, "
            "or a tensor (a baseline for each token is method='amig')"
        )
    takes_baseline = METHODS[method].takes_baseline
    if isinstance(baseline, str) and baseline == "auto":
        if not takes_baseline or not capabilities(model).scale_invariant:
            return Baselines("zero")
        if corpus is None and without_other_facts(prompts, prompts):
            _warn_of_zero("no prompt asks another fact of the relation, so the baseline is zero")
            return Baselines("zero")
        baseline = "other_facts"
    elif isinstance(baseline, str) and baseline == "zero":
        if takes_baseline and capabilities(model).scale_invariant:
            _warn_of_zero("the baseline is zero")
        return Baselines("zero")
    if not takes_baseline:
        raise ValueError(
            f"method={method!r} has no choice of baseline; leave it out, or use "
            f"{' or '.join(methods_with_baseline())}"
        )
    if not isinstance(baseline, str):
        return Baselines("tensor", _given(baseline, len(prompts), capabilities(model).shape))
    mean = _mean_of_language if baseline == "mean" else _mean_of_other_facts
    values = mean(model, prompts, corpus or prompts, position)
    return Baselines(str(baseline), values, keeps_start=True)


def _given(
    baseline: Tensor | np.ndarray, n_prompts: int, shape: tuple[int, int]
) -> Float[Tensor, "prompt layer neuron"]:
    """The baseline of each prompt from a tensor that the caller gives."""
    baseline = torch.as_tensor(baseline)
    full = (n_prompts, *shape)
    if tuple(baseline.shape) not in (full, shape):
        raise ValueError(
            f"baseline of shape {tuple(baseline.shape)}; give [layer, neuron] {shape} or "
            f"[prompt, layer, neuron] {full}"
        )
    if not torch.isfinite(baseline).all():
        raise ValueError("the baseline holds values that are not numbers; give finite ones")
    return baseline.float().expand(full)


def _mean_of_language(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    corpus: Sequence[Prompt],
    position: Position,
) -> Float[Tensor, "prompt layer neuron"]:
    """For each prompt: the mean over the corpus's prompts of its language."""
    require_languages(prompts, corpus, "a mean baseline")
    sums = summed_activations(
        model,
        corpus,
        by=lambda prompt: prompt.language,
        position=position,
        special_tokens=False,
    )
    means = {language: part.mean for language, part in sums.items()}
    return torch.stack([means[prompt.language] for prompt in prompts])


def _mean_of_other_facts(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    corpus: Sequence[Prompt],
    position: Position,
) -> Float[Tensor, "prompt layer neuron"]:
    """For each prompt: the mean over the corpus's other facts of its relation and language."""
    alone = without_other_facts(prompts, corpus)
    if alone:
        raise ValueError(
            f"the corpus has no other fact of {alone[0].relation!r} in {alone[0].language!r} than "
            f"{alone[0].fact_id!r}, so there is no mean of other facts; {_HOW_TO_GIVE_OTHERS}"
        )
    asked = {_group(prompt) for prompt in prompts}
    sums = summed_activations(
        model,
        [prompt for prompt in corpus if _group(prompt) in asked],
        by=lambda prompt: (*_group(prompt), prompt.fact_id),
        position=position,
        special_tokens=False,
    )
    totals: dict[tuple[str, str], ActivationSum] = defaultdict(ActivationSum)
    for (relation, language, _), part in sums.items():
        totals[relation, language] += part
    means: dict[tuple[str, str, str], Tensor] = {}
    for prompt in prompts:
        key = (*_group(prompt), prompt.fact_id)
        if key not in means:
            means[key] = (totals[_group(prompt)] - sums.get(key, ActivationSum())).mean
    return torch.stack([means[*_group(prompt), prompt.fact_id] for prompt in prompts])


def _group(prompt: Prompt) -> tuple[str, str]:
    return prompt.relation, prompt.language


def without_other_facts(
    prompts: Sequence[Prompt],
    corpus: Iterable[Prompt],
    *,
    by: Callable[[Prompt], Hashable] = _group,
) -> list[Prompt]:
    """The prompts for whose group (relation and language) the corpus has no other fact."""
    facts: dict[Hashable, set[str]] = defaultdict(set)
    for prompt in corpus:
        facts[by(prompt)].add(prompt.fact_id)
    return [prompt for prompt in prompts if not facts[by(prompt)] - {prompt.fact_id}]


def _warn_of_zero(reason: str) -> None:
    warn(
        f"{reason} in a model whose layers normalise what their neurons write: scaling the neurons "
        "changes nothing until the norm's epsilon shows, so the scores carry its logarithm and say "
        "what would bring back the direction of a layer's output, not what is particular to the "
        f"fact; take baseline='other_facts', and {_HOW_TO_GIVE_OTHERS}",
        BaselineWarning,
    )
