"""Prompts that begin alike, read so that their common beginning runs once.

Prompts in the same words differ from their subject on: the special tokens, the examples and the
first words of the question are the same tokens, and a causal model makes the same of them.

1. The **beginning** of a prompt ends before its subject (or its text, where that names none). Each
   is run once, those of one length together, and its keys and values are kept.
2. The **rest** of each prompt, up to its answer, is run behind its own beginning. Prompts of all
   lengths are side by side, padded at their end, where a causal model does not look.
3. The un-embedding sees only the positions that predict a token of an answer, a few at a time.

Fewer tokens and fewer passes pay on models in which a token costs much, or behind long beginnings.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lafn_viz.models.batching import prefix_cache
from lafn_viz.models.calls import all_modules
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import HOOK_UNEMBED, Hooks, hooked, no_logits
from lafn_viz.models.read_texts import ReadTexts
from lafn_viz.models.tokens import Encoded
from lafn_viz.models.weights import device_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

T = TypeVar("T")
LARGE = 2**26  # parameters of a model in which a token costs more than the bookkeeping
KEPT = 2**10  # positions of beginnings whose keys and values are alive at once
_LIBRARIES = ("transformer_lens", "transformers")  # their hooks look at no positions
UNEMBEDDED = 64  # positions whose logits are alive at once


def can_share(model: "TransformerBridge", encoded: Sequence[Encoded]) -> bool:
    """Whether beginnings of these prompts may be read apart, and whether that pays.

    A hook of the caller's or of an edit may count positions, so it sees whole prompts.
    """
    caps = capabilities(model)
    if not is_large(model) and not any(item.first for item in encoded):
        return False
    longest = max(len(item.read) for item in encoded)
    in_window = caps.window is None or longest < caps.window
    return not caps.masked and caps.unembedding is not None and in_window and not _is_hooked(model)


def is_large(model: "TransformerBridge") -> bool:
    """Whether a token costs more than the bookkeeping around it."""
    return sum(weight.numel() for weight in model.original_model.parameters()) >= LARGE


def _is_hooked(model: "TransformerBridge") -> bool:
    """Whether a pass of the model runs hooks of anybody but the libraries that it is made of."""
    return any(point.fwd_hooks for point in model.hook_dict.values()) or any(
        _package(hook) not in _LIBRARIES
        for module in all_modules(model)
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
    )


def _package(hook: Any) -> str:
    """The package that a hook comes from."""
    hook = getattr(hook, "func", hook)  # of a partial
    return str(getattr(hook, "__module__", "")).split(".")[0]


def answer_logits(
    model: "TransformerBridge", encoded: Sequence[Encoded], *, max_rows: int
) -> Iterator[tuple[Int[Tensor, " token"], Int[Tensor, " token"], Float[Tensor, "token vocab"]]]:
    """Read prompts behind their beginnings, and yield the logits that predict their answers.

    Args:
        max_rows: prompts side by side.

    Yields:
        For some tokens of the answers: the number of the prompt, the token, and its logits.
    """
    by_length: dict[int, dict[tuple[int, ...], list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, item in enumerate(encoded):
        start = item.subject[0] if item.subject is not None else item.text[0]
        by_length[min(start, item.predicts)][item.read[:start]].append(number)
    for length, numbers in sorted(by_length.items()):
        for beginnings in _parts([*numbers], max(1, min(max_rows, KEPT // max(1, length)))):
            prefix, texts = _keys_and_values(model, beginnings)
            owners = {n: owner for owner, b in enumerate(beginnings) for n in numbers[b]}
            # Prompts that differ in the answer's last token alone are read as one.
            rows: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for number in sorted(owners, key=lambda n: len(encoded[n].read)):
                rows[encoded[number].read].append(number)
            for part in _parts([*rows.values()], max_rows):
                owner = texts.tokens.new_tensor([owners[same[0]] for same in part])
                cache = prefix_cache(prefix, owner, texts) if length else None
                yield from _logits_of(model, encoded, part, length, cache)


def _keys_and_values(
    model: "TransformerBridge", beginnings: Sequence[tuple[int, ...]]
) -> tuple[list[tuple[Tensor, Tensor]], ReadTexts]:
    """Keys and values of each layer for beginnings of one length, and the beginnings themselves."""
    device = device_of(model.original_model)
    tokens = torch.tensor(beginnings, dtype=torch.long, device=device)
    texts = ReadTexts.unchanged(tokens)
    if not tokens.numel():
        return [], texts
    with torch.no_grad(), hooked(model, [(HOOK_UNEMBED, no_logits)]):
        _, cache = model(tokens, return_type="logits_and_cache", use_cache=True)
    return [(layer.keys, layer.values) for layer in cache.layers], texts


def _logits_of(
    model: "TransformerBridge",
    encoded: Sequence[Encoded],
    rows: Sequence[Sequence[int]],
    start: int,
    cache: Any,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Read the rest of some prompts; `rows` are the numbers of those that are read as one."""
    unembedding = capabilities(model).unembedding
    assert unembedding is not None  # see `can_share`
    tokens = torch.zeros(len(rows), max(len(encoded[same[0]].read) for same in rows) - start)
    tokens = tokens.to(device_of(model.original_model), torch.long)
    predicted = []
    for i, same in enumerate(rows):
        read = encoded[same[0]].read[start:]
        tokens[i, : len(read)] = tokens.new_tensor(read)
        for number in same:
            at = encoded[number].predicts - start
            predicted += [(number, i, at + k, t) for k, t in enumerate(encoded[number].answer)]
    numbers, row, place, answer = tokens.new_tensor(predicted).unbind(1)
    hidden: list[Tensor] = []

    def take(value: Tensor, hook: Any) -> Tensor:
        hidden.append(value[row, place])
        return no_logits(value)

    last: Hooks = [(HOOK_UNEMBED, take)]
    with torch.no_grad(), hooked(model, last):
        model(tokens, **({} if cache is None else {"past_key_values": cache}))
    for part in torch.arange(len(row), device=row.device).split(UNEMBEDDED):
        yield numbers[part], answer[part], unembedding.logits(hidden[0][part])


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in parts of at most `size`, in order."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
