"""Prompts of any length side by side, for work that costs a few milliseconds a pass.

`batches` keeps equal lengths together and needs no padding, but the 72 prompts of one fact make
some 20 batches, and a small model spends its time on passes, not on tokens. Here prompts are sorted
by length, some go together, and the shorter ones are filled up at their end, where a causal model
does not look, and where the attention mask hides it from a masked one. Positions stay what they
were. (`reading` does this for edits of causal models, again and again and with gradients.)
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lafn_viz.datasets.facts import Prompt
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.tokens import POSITIONS, Encoded, Position, encode

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


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
    masked, pad = capabilities(model).masked, model.tokenizer.pad_token_id
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


@dataclass(frozen=True)
class Batch:
    """Prompts of equal length, without padding: their `Encoded` fields side by side.

    `at` is the run of positions acted on, the same in every row.
    """

    index: Int[Tensor, " prompt"]
    tokens: Int[Tensor, "prompt pos"]
    answers: Int[Tensor, "prompt answer"]
    predicts: int
    text: tuple[int, int]
    at: slice

    @property
    def predicted(self) -> slice:
        """The positions whose logits are about the answer."""
        return slice(self.predicts, self.predicts + self.answers.shape[1])


def batches(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    position: Position = "all",
    max_prompts: int = 256,
) -> Iterator[Batch]:
    """Group prompts of equal length (and equal positions acted on), unpadded."""
    if position not in POSITIONS:
        raise ValueError(f"unknown position {position!r}; there are {', '.join(POSITIONS)}")
    if not prompts:
        raise ValueError("there are no prompts; give at least one (facts.prompts())")
    masked = capabilities(model).masked
    groups: dict[tuple[int, int, int], list[tuple[int, Encoded]]] = defaultdict(list)
    for number, prompt in enumerate(prompts):
        item = encode(model, prompt)
        first = item.acted_on(position, masked=masked).start
        groups[len(item.read), len(item.answer), first].append((number, item))
    device = next(model.original_model.parameters()).device
    for items in groups.values():
        for start in range(0, len(items), max_prompts):
            part = items[start : start + max_prompts]
            some = part[0][1]
            yield Batch(
                index=torch.tensor([number for number, _ in part]),
                tokens=torch.tensor([x.read for _, x in part], device=device),
                answers=torch.tensor([x.answer for _, x in part], device=device),
                predicts=some.predicts,
                text=some.text,
                at=some.acted_on(position, masked=masked),
            )


def prefix_cache(prefix: list[tuple[Tensor, Tensor]], owner: Int[Tensor, " row"]) -> Any:
    """Keys and values of the prefix, given to each row of a batch by the prompt it comes from."""
    from transformers.cache_utils import Cache, DynamicLayer

    class PrefixLayer(DynamicLayer):
        def __init__(self, keys: Tensor, values: Tensor) -> None:
            super().__init__()
            self.lazy_initialization(keys, values)
            self.keys, self.values = keys, values

        def update(
            self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor]:
            rows = owner[: len(key_states)]
            if len(self.keys) == 1:
                keys, values = (x.expand(len(rows), -1, -1, -1) for x in (self.keys, self.values))
            else:
                keys, values = self.keys[rows], self.values[rows]
            return torch.cat([keys, key_states], -2), torch.cat([values, value_states], -2)

    return Cache(layers=[PrefixLayer(keys, values) for keys, values in prefix])
