"""Prompts of any length side by side, for work that costs a few milliseconds a pass.

`batches` keeps equal lengths together and needs no padding, but the 72 prompts of one fact make
some 20 batches, and a small model spends its time on passes, not on tokens. Here prompts are sorted
by length, some go together, and the shorter ones are filled up at their end, where a causal model
does not look, and where the attention mask hides it from a masked one. Positions stay what they
were. (`reading` does this for edits of causal models, again and again and with gradients.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.datasets.facts import Prompt
from lafn_viz.models.loading import HOOK_HEAD, traits
from lafn_viz.models.scoring import Encoded, Hooks, encode

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Logits that exist at once.
LOGITS = 2**22


@dataclass(frozen=True)
class Padded:
    """Prompts in rows of one length.

    `mask` is 1 where a row has tokens. `prompt` marks the positions that belong to the prompt (all
    but what a causal model reads of the answer). The logits at `predicts` are about the answer's
    first token. `row`, `at` and `answers` say for each token of an answer where its logits stand,
    and which token it is.
    """

    index: Int[Tensor, " prompt"]
    tokens: Int[Tensor, "prompt pos"]
    mask: Int[Tensor, "prompt pos"]
    prompt: Bool[Tensor, "prompt pos"]
    predicts: Int[Tensor, " prompt"]
    row: Int[Tensor, " token"]
    at: Int[Tensor, " token"]
    answers: Int[Tensor, " token"]

    def repeated(self, times: int) -> "Padded":
        """The same rows several times, one block after the other."""
        n = len(self.tokens)
        blocks = torch.arange(times, device=self.row.device).repeat_interleave(len(self.row))
        return Padded(
            index=self.index.repeat(times),
            tokens=self.tokens.repeat(times, 1),
            mask=self.mask.repeat(times, 1),
            prompt=self.prompt.repeat(times, 1),
            predicts=self.predicts.repeat(times),
            row=self.row.repeat(times) + blocks * n,
            at=self.at.repeat(times),
            answers=self.answers.repeat(times),
        )


def padded(
    model: "TransformerBridge", prompts: Sequence[Prompt], *, max_prompts: int = 32
) -> Iterator[Padded]:
    """All prompts, those of like length together.

    Raises:
        ValueError: for no prompts, or as `encode`.
    """
    if not prompts:
        raise ValueError("there are no prompts; give at least one (facts.prompts())")
    read = [encode(model, prompt) for prompt in prompts]
    order = sorted(range(len(read)), key=lambda number: len(read[number].read))
    parts = -(-len(order) // max(1, max_prompts))
    size = -(-len(order) // parts)
    for start in range(0, len(order), size):
        some = order[start : start + size]
        yield _side_by_side(model, some, [read[number] for number in some])


def _side_by_side(
    model: "TransformerBridge", index: Sequence[int], read: Sequence[Encoded]
) -> Padded:
    device = next(model.original_model.parameters()).device
    masked, pad = traits(model).masked, model.tokenizer.pad_token_id
    shape = len(read), max(len(item.read) for item in read)
    tokens = torch.full(shape, pad if pad is not None else model.tokenizer.eos_token_id or 0)
    mask, prompt = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool)
    places = []
    for row, item in enumerate(read):
        tokens[row, : len(item.read)] = torch.tensor(item.read)
        mask[row, : len(item.read)] = 1
        prompt[row, item.acted_on("all", masked=masked)] = True
        places += [(row, item.predicts + k, token) for k, token in enumerate(item.answer)]
    row_of, at, answers = torch.tensor(places, device=device).unbind(1)
    return Padded(
        index=torch.tensor(index),
        tokens=tokens.to(device),
        mask=mask.to(device),
        prompt=prompt.to(device),
        predicts=torch.tensor([item.predicts for item in read], device=device),
        row=row_of,
        at=at,
        answers=answers,
    )


def log_prob_of(
    model: "TransformerBridge", batch: Padded, hooks: Hooks
) -> Float[Tensor, " prompt"]:
    """Log-probability (nats) of each row's whole answer, under some hooks; no gradient."""
    head = traits(model).head
    seen: list[Tensor] = []

    def take(value: Tensor, hook: Any) -> Tensor:
        seen.append(value[batch.row, batch.at])
        return value[:1, :1]

    more: Hooks = [] if head is None else [(HOOK_HEAD, take)]
    with torch.no_grad(), model.hooks(fwd_hooks=[*hooks, *more]):
        logits = model(batch.tokens, attention_mask=batch.mask)
    log_prob = torch.zeros(len(batch.tokens), device=batch.row.device)
    vocabulary = logits.shape[-1]
    for part in torch.arange(len(batch.row)).split(max(1, LOGITS // vocabulary)):
        if head is None:
            some = logits[batch.row[part], batch.at[part]].float()
        else:
            some = head.logits(seen[0][part])
        chosen = some.gather(-1, batch.answers[part, None])[:, 0] - some.logsumexp(-1)
        log_prob.index_add_(0, batch.row[part], chosen)
    return log_prob
