"""Which tokens a key/value cache holds, kept with the cache itself.

A cache knows how many positions it holds, but not of which tokens. `remember` writes the texts on
the cache, where they are copied with it. From then on, whatever reorders its rows (beams), repeats
or selects them, or crops it does the same to the texts. `recall` returns them, or None for a cache
that was read or changed in another way, so that nobody acts on the wrong row or position.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

_KEPT = "_lafn_texts"  # the attribute of a cache
_FOLLOWING: dict[type, type] = {}  # by class of caches, the same with texts that follow


@dataclass(frozen=True)
class ReadTexts:
    """The tokens of rows that were read side by side.

    `real` is False at padding. `acted` holds for each row what was changed while it was read, with
    the position from which on. `prompt` is the number of positions of the prompt, where `generate`
    has said so.
    """

    tokens: Int[Tensor, "row pos"]
    real: Bool[Tensor, "row pos"]
    acted: tuple[frozenset[tuple[Hashable, int]], ...]
    prompt: int | None = None

    @classmethod
    def unchanged(
        cls, tokens: Int[Tensor, "row pos"], real: Bool[Tensor, "row pos"] | None = None
    ) -> "ReadTexts":
        """Texts that were read by the model as it is; all of them tokens unless `real` is given."""
        real = torch.ones_like(tokens, dtype=torch.bool) if real is None else real
        return cls(tokens, real, (frozenset(),) * len(tokens))

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, index: Iterable[int]) -> "ReadTexts":
        """Some rows, in this order."""
        index = list(index)
        acted = tuple(self.acted[i] for i in index)
        return replace(self, tokens=self.tokens[index], real=self.real[index], acted=acted)

    def first(self, n_positions: int) -> "ReadTexts":
        """The first positions of all rows."""
        acted = tuple(
            frozenset((what, position) for what, position in row if position < n_positions)
            for row in self.acted
        )
        tokens, real = self.tokens[:, :n_positions], self.real[:, :n_positions]
        return replace(self, tokens=tokens, real=real, acted=acted)


def remember(cache: Any, texts: ReadTexts) -> None:
    """Keep the texts that a cache holds with it."""
    if not isinstance(cache, _Follows):
        cache.__class__ = _following(type(cache))
    vars(cache)[_KEPT] = texts, _keys(cache)


def recall(cache: Any) -> ReadTexts | None:
    """The texts that a cache holds; None where they are not known."""
    texts, keys = vars(cache).get(_KEPT, (None, None))
    if texts is None or keys is not _keys(cache):
        return None
    return texts if texts.tokens.shape[1] == int(cache.get_seq_length()) else None


def was_remembered(cache: Any) -> bool:
    """Whether a cache held texts that were known once."""
    return _KEPT in vars(cache)


def _keys(cache: Any) -> Tensor | None:
    """The keys of the first layer that has some: whatever changes a cache replaces them."""
    layers = getattr(cache, "layers", ())
    keys = (getattr(layer, "keys", None) for layer in layers)
    return next((key for key in keys if isinstance(key, Tensor)), None)


class _Follows:
    """Mixed into the class of a cache: its texts follow what is done to it."""

    def _change(
        self, change: Callable[[Any], Any], given: Any, texts: Callable[[ReadTexts], ReadTexts]
    ) -> None:
        known = recall(self)
        change(given)
        if known is not None:
            remember(self, texts(known))

    def reorder_cache(self, beam_idx: Tensor) -> None:
        self._change(super().reorder_cache, beam_idx, lambda x: x.rows(beam_idx.tolist()))  # type: ignore[misc]

    def batch_select_indices(self, indices: Tensor) -> None:
        self._change(
            super().batch_select_indices,  # type: ignore[misc]
            indices,
            lambda x: x.rows(torch.arange(len(x))[torch.as_tensor(indices).cpu()].tolist()),
        )

    def batch_repeat_interleave(self, repeats: int) -> None:
        self._change(
            super().batch_repeat_interleave,  # type: ignore[misc]
            repeats,
            lambda x: x.rows(torch.arange(len(x)).repeat_interleave(repeats).tolist()),
        )

    def crop(self, tokens_to_remove: int) -> None:
        self._change(
            super().crop,  # type: ignore[misc]
            tokens_to_remove,
            lambda x: x.first(int(self.get_seq_length())),  # type: ignore[attr-defined]
        )

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _new, (type(self).__mro__[2],), vars(self)


def _following(kind: type) -> type:
    """A class of caches, with texts that follow."""
    if kind not in _FOLLOWING:
        members = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        _FOLLOWING[kind] = type(kind.__name__, (_Follows, kind), members)
    return _FOLLOWING[kind]


def _new(kind: type) -> Any:
    """An empty cache of such a class, to copy or load into."""
    return object.__new__(_following(kind))


def real_tokens(
    given: Mapping[str, Any], known: ReadTexts | None
) -> Bool[Tensor, "row pos"] | None:
    """Where a pass reads tokens and not padding, from the first position that is in the cache.

    Args:
        given: the arguments of the pass.
        known: what the cache holds.

    Returns:
        None where a row holds several texts, or a text that is not read from left to right.
    """
    n_cached = 0 if known is None else known.tokens.shape[1]
    mask, tokens = _widest(given.get("attention_mask")), given["input_ids"]
    n_rows, width = tokens.shape
    if given.get("cu_seq_lens_q") is not None or given.get("cu_seq_lens_k") is not None:
        return None
    new: Tensor | None = torch.ones_like(tokens, dtype=torch.bool)
    cached_real = torch.ones_like(tokens[:, :0], dtype=torch.bool)
    if known is not None:
        cached_real = known.real.to(tokens.device)
    if isinstance(mask, Tensor) and mask.ndim == 2:
        if mask.shape[1] < n_cached + width or bool((mask > 1).any()):
            return None
        both = mask[:, : n_cached + width].to(tokens.device).bool().expand(n_rows, -1)
        cached_real, new = both[:, :n_cached], both[:, n_cached:]
    elif mask is not None:
        new = _attended(mask, cached_real, width)
    if new is None or _starts_anew(given.get("position_ids"), new):
        return None
    return torch.cat([cached_real, new], 1)


def _widest(mask: Any) -> Any:
    """The mask of full attention, where there is one for each kind of layer."""
    if isinstance(mask, dict):
        masks = [m for m in mask.values() if m is not None]
        return max(masks, key=lambda m: m.shape[-1]) if masks else None
    return mask


def _attended(
    mask: Any, cached: Bool[Tensor, "row cached"], width: int
) -> Bool[Tensor, "row new"] | None:
    """The new positions that are tokens, by a mask [row, head, query, key].

    None where a token attends to later ones, or not to the one before it.
    """
    n_cached = cached.shape[1]
    if not isinstance(mask, Tensor) or mask.ndim != 4 or mask.shape[2] != width:
        return None
    if mask.shape[3] < n_cached + width:
        return None
    allowed = mask if mask.dtype == torch.bool else mask >= 0
    allowed = allowed[:, 0, :, : n_cached + width].expand(len(cached), -1, -1)
    later = torch.ones_like(allowed[0]).triu(n_cached + 1)
    itself, ahead = allowed.diagonal(n_cached, 1, 2), (allowed & later).any(-1)
    real = itself & ~ahead
    last_and_new = torch.cat([cached[:, -1:], real], 1)
    neighbours = last_and_new[:, 1:] & last_and_new[:, :-1]
    attends_before = allowed.diagonal(n_cached - 1, 1, 2)
    if bool((itself & ahead).any()) or bool((neighbours & ~attends_before).any()):
        return None
    return real


def _starts_anew(position_ids: Any, real: Bool[Tensor, "row pos"]) -> bool:
    """Whether positions do not increase along a row, so that it holds several texts."""
    if not isinstance(position_ids, Tensor) or position_ids.ndim != 2:
        return False
    if position_ids.shape[1] != real.shape[1]:
        return False
    pairs = real[:, 1:] & real[:, :-1]
    steps = position_ids.to(real.device).diff(dim=1).expand(len(real), -1)
    return bool((pairs & (steps <= 0)).any())
