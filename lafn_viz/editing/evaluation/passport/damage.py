"""How far an edit changes what a model expects to read, in texts that have nothing to do with it.

Whole distributions are compared, not likeliest answers: an edit may leave every answer as it was
and still move all probabilities. The measure is the Kullback-Leibler divergence of the next token
from that before the edit, KL(before, after), as a mean over the tokens of a text, in nats. Texts
about the edited subject are measured apart: an editor that finds subjects acts there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.editing.evaluation.passport.facts_around import FactsAround
from lafn_viz.editing.evaluation.passport.questions import About, DamageText, Firing
from lafn_viz.models.capabilities import context_length
from lafn_viz.models.tokenizing import tokenize
from lafn_viz.models.weights import device_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

TEXTS = 12  # neutral texts of each language
LOGITS_KEPT = 2**24  # from before the edits; bounds the memory

Applied = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class DamageProbe:
    """A text to read; `item` is the fact that it tells."""

    about: About
    language: str
    item: str
    text: str


def damage_probes(
    case: EditCase, facts: FactsAround, texts: Mapping[str, Sequence[str]] | None
) -> list[DamageProbe]:
    """Neutral texts, given or made from unrelated facts, and questions about the subject."""
    if texts is not None:
        probes = [
            DamageProbe("neutral texts", language, f"{i}", text)
            for language, of_one in texts.items()
            for i, text in enumerate(of_one)
        ]
    else:
        probes = [
            DamageProbe("neutral texts", language, fact.id, prompts[-1].text)
            for fact in facts.unrelated(TEXTS)
            for language, prompts in facts.wordings(fact).items()
        ]
    if not probes:
        facts.left_out["neutral texts"] = (
            "the facts hold no other facts in all languages of the case; give texts="
        )
    first = {  # one wording of each other relation and language
        (prompt.language, prompt.fact_id): prompt.text for prompt in case.prompts("keep")[::-1]
    }
    about_subject = [DamageProbe("texts about the subject", *key, first[key]) for key in first]
    return probes + about_subject[::-1]


def measure_damage(
    model: "TransformerBridge",
    probes: Sequence[DamageProbe],
    edits: Mapping[str, Applied],
    fires: Callable[[Sequence[int]], Mapping[str, tuple[Firing, ...]]],
    step: Callable[[int], None],
) -> Iterator[DamageText]:
    """Read every text before the edits and after each of them.

    Args:
        fires: from tokens to where each edit finds its subject.
        step: called with the number of texts that were read.
    """
    limit = context_length(model)
    rows = [tokenize(model, probe.text).tokens[:limit] for probe in probes]
    vocabulary = model.original_model.config.vocab_size
    start = 0
    while start < len(rows):
        stop, kept = start + 1, len(rows[start])
        while stop < len(rows) and (kept + len(rows[stop])) * vocabulary <= LOGITS_KEPT:
            kept += len(rows[stop])
            stop += 1
        tokens = rows[start:stop]
        before = [_log_probs(model, row) for row in tokens]
        step(len(tokens))
        found: dict[str, list[tuple[float, float]]] = {}
        for name, applied in edits.items():
            with applied():
                found[name] = [
                    _moved(old, _log_probs(model, row))
                    for old, row in zip(before, tokens, strict=True)
                ]
            step(len(tokens))
        for i, (probe, row) in enumerate(zip(probes[start:stop], tokens, strict=True)):
            yield DamageText(
                probe.about, probe.language, probe.item, probe.text, len(row),
                {name: moved[i][0] for name, moved in found.items()},
                {name: moved[i][1] for name, moved in found.items()},
                fires(row),
            )  # fmt: skip
        start = stop


def _log_probs(model: "TransformerBridge", tokens: Sequence[int]) -> Float[Tensor, "token vocab"]:
    """Log-probabilities (nats) of the token after each token of a text."""
    with torch.no_grad():
        logits = model(torch.tensor([list(tokens)], device=device_of(model.original_model)))[0]
    return logits.float().log_softmax(-1)


def _moved(
    before: Float[Tensor, "token vocab"], after: Float[Tensor, "token vocab"]
) -> tuple[float, float]:
    """The mean of KL(before, after), and the share of tokens with another likeliest successor."""
    divergence = (before.exp() * (before - after)).nan_to_num(0.0).sum(-1)  # 0 * log 0 is 0
    changed = before.argmax(-1) != after.argmax(-1)
    return max(0.0, float(divergence.mean())), float(changed.float().mean())
