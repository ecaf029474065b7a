"""Prompts side by side, so that one pass of the model runs many of them.

1. `batches` groups prompts with the same number of tokens, the same number of answer tokens and the
   same positions acted on. Nothing is padded, and one slice addresses a position in every row. This
   is what scoring, attribution and ablation use.
2. `padded` sorts prompts by length, puts neighbours together and pads the shorter ones at their
   end. A causal model never looks there, the attention mask hides it from a masked model, and every
   token keeps its position. The 72 prompts of one fact make some 20 batches of equal length but 3
   padded ones; this is for work on a few prompts, where the number of passes counts and not that
   of tokens.
3. `prefix_cache` gives rows the keys and values of positions that were run before.

Edits pad prompts in a way of their own, behind a shared prefix and with gradients (see
`lafn_viz.editing.forward`).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lafn_viz.datasets.prompts import Prompt
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.read_texts import ReadTexts, remember
from lafn_viz.models.tokens import POSITIONS, Encoded, Position, encode_all
from lafn_viz.models.weights import device_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Batch:
    """Prompts of equal length, without padding: their `Encoded` fields side by side.

    `index` numbers the prompts as they were given. `predicts` and `text` are as in `Encoded`; `at`
    is the run of positions acted on. All three are the same in every row.
    """

    index: Int[Tensor, " prompt"]
    tokens: Int[Tensor, "prompt pos"]
    answers: Int[Tensor, "prompt answer"]
    predicts: int
    text: tuple[int, int]
    at: slice

    @property
    def predicted(self) -> slice:
        """Positions whose logits predict the tokens of the answer."""
        return slice(self.predicts, self.predicts + self.answers.shape[1])

    def kept_at_start(self, *, masked: bool) -> int:
        """How many of the positions acted on are special tokens at the start of a text.

        In a causal model they are the same in all prompts, so they say nothing of any of them.
        """
        return 0 if masked else max(0, self.text[0] - self.at.start)

    def split(self, size: int) -> Iterator["Batch"]:
        """Parts of at most `size` prompts, in order."""
        for start in range(0, len(self.index), size):
            rows = slice(start, start + size)
            yield replace(
                self,
                index=self.index[rows],
                tokens=self.tokens[rows],
                answers=self.answers[rows],
            )


def batches(
    model: "TransformerBridge",
    prompts: Sequence[Prompt],
    *,
    position: Position = "all",
    max_prompts: int = 256,
) -> Iterator[Batch]:
    """Group prompts of equal length and equal positions acted on, at most `max_prompts` in each.

    Raises:
        ValueError: for an unknown position, no prompts, or as `encode` and `Encoded.acted_on`.
    """
    if position not in POSITIONS:
        raise ValueError(f"unknown position {position!r}; there are {', '.join(POSITIONS)}")
    yield from batches_of(
        model, encode_all(model, prompts), position=position, max_prompts=max_prompts
    )


def batches_of(
    model: "TransformerBridge",
    encoded: Sequence[Encoded],
    *,
    position: Position = "all",
    max_prompts: int = 256,
) -> Iterator[Batch]:
    """Group encoded prompts as `batches` does."""
    masked = capabilities(model).masked
    groups: dict[tuple[int, int, int, int], list[tuple[int, Encoded]]] = defaultdict(list)
    for number, item in enumerate(encoded):
        first = item.acted_on(position, masked=masked).start
        groups[len(item.read), len(item.answer), first, item.text[0]].append((number, item))
    device = device_of(model.original_model)
    for group in groups.values():
        like = group[0][1]
        for start in range(0, len(group), max_prompts):
            members = group[start : start + max_prompts]
            yield Batch(
                index=torch.tensor([number for number, _ in members]),
                tokens=torch.tensor([item.read for _, item in members], device=device),
                answers=torch.tensor([item.answer for _, item in members], device=device),
                predicts=like.predicts,
                text=like.text,
                at=like.acted_on(position, masked=masked),
            )


def require_readable(
    model: "TransformerBridge", prompts: Sequence[Prompt], *, position: Position = "all"
) -> None:
    """Raise for the first prompt that cannot be put into a batch, as `batches` does."""
    for _ in batches(model, prompts, position=position):
        pass


@dataclass(frozen=True)
class Padded:
    """Prompts of different lengths, padded at their end to rows of one length.

    `index` numbers the prompts as they were given. `mask` is 1 where a row has tokens. `prompt`
    marks the positions of the prompt: all but those where a causal model reads the answer. The
    logits at `predicts` predict the answer's first token. `row`, `at` and `answers` list the tokens
    of all answers: the row and the position whose logits predict each, and the token itself.
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
        """All rows `times` times, one block after the other."""
        n = len(self.tokens)
        block = torch.arange(times, device=self.row.device).repeat_interleave(len(self.row))
        return Padded(
            index=self.index.repeat(times),
            tokens=self.tokens.repeat(times, 1),
            mask=self.mask.repeat(times, 1),
            prompt=self.prompt.repeat(times, 1),
            predicts=self.predicts.repeat(times),
            row=self.row.repeat(times) + block * n,
            at=self.at.repeat(times),
            answers=self.answers.repeat(times),
        )


def padded(
    model: "TransformerBridge", prompts: Sequence[Prompt], *, max_prompts: int = 32
) -> Iterator[Padded]:
    """Put prompts of similar length together, at most `max_prompts` in each batch.

    Raises:
        ValueError: for no prompts, or as `encode`.
    """
    encoded = encode_all(model, prompts)
    order = sorted(range(len(encoded)), key=lambda number: len(encoded[number].read))
    n_batches = -(-len(order) // max(1, max_prompts))
    size = -(-len(order) // n_batches)
    for start in range(0, len(order), size):
        index = order[start : start + size]
        yield _side_by_side(model, index, [encoded[number] for number in index])


def _side_by_side(
    model: "TransformerBridge", index: Sequence[int], encoded: Sequence[Encoded]
) -> Padded:
    device = device_of(model.original_model)
    masked = capabilities(model).masked
    shape = len(encoded), max(len(item.read) for item in encoded)
    # Nothing looks at the padding, so any token does; that for padding may have no row of weights.
    tokens = torch.zeros(shape, dtype=torch.long)
    mask, prompt = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool)
    answer_tokens = []
    for row, item in enumerate(encoded):
        tokens[row, : len(item.read)] = torch.tensor(item.read)
        mask[row, : len(item.read)] = 1
        prompt[row, item.acted_on("all", masked=masked)] = True
        answer_tokens += [(row, item.predicts + k, token) for k, token in enumerate(item.answer)]
    rows, at, answers = torch.tensor(answer_tokens, device=device).unbind(1)
    return Padded(
        index=torch.tensor(index),
        tokens=tokens.to(device),
        mask=mask.to(device),
        prompt=prompt.to(device),
        predicts=torch.tensor([item.predicts for item in encoded], device=device),
        row=rows,
        at=at,
        answers=answers,
    )


def prefix_cache(
    prefix: list[tuple[Tensor, Tensor]], owner: Int[Tensor, " row"], texts: ReadTexts
) -> Any:
    """Cache that gives each row of a batch the prefix of the prompt it comes from.

    Args:
        prefix: keys and values of each layer, [prompt, head, position, d_head].
        owner: the prompt of each row. A batch that grows layer by layer uses the first rows.
        texts: the prefixes themselves.
    """
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

    cache = Cache(layers=[PrefixLayer(keys, values) for keys, values in prefix])
    remember(cache, texts.rows(owner.tolist()))
    return cache
