"""What a pass of an edited model reads: whole texts, of which a cache may hold a part.

1. What is in a key/value cache is known from earlier passes within the context (`read_texts`), or
   from a call of `generate` that was given the whole prompt (`generate_calls`).
2. In `generate` the prompt is known as a whole, even while its first piece is read.
3. After the pass the cache keeps what was read, and which edits acted.

What cannot be told is refused.
"""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lafn_viz.editing.edit import Edit, EditError
from lafn_viz.models.generate_calls import GenerateCall, generate_call
from lafn_viz.models.read_texts import ReadTexts, real_tokens, recall, remember, was_remembered

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from lafn_viz.models.plain import PlainModel

# An edit by its signature, and the position in a row from which on it acts.
Acted = tuple[int, int]


@dataclass(frozen=True)
class Reading:
    """A pass of the model.

    `texts` is all that is read by its end; `n_cached` positions of it are in `cache` before.
    `prompt` is the whole prompt in a call of `generate`, which may be longer or shorter.
    """

    texts: ReadTexts
    n_cached: int
    cache: Any
    prompt: ReadTexts | None

    @property
    def n_read(self) -> int:
        """How many positions have been read by the end of the pass."""
        return int(self.texts.tokens.shape[1])

    def finish(self, output: Any, acted: Iterable[tuple[int, Acted]]) -> None:
        """Keep with the cache what was read, and which edits acted in which rows."""
        cache = self.cache if self.cache is not None else _cache_of(output)
        if cache is None or _n_cached(cache) != self.n_read:
            return
        # Other edits that are applied too may have noted this pass already.
        rows = [set(row) for row in (recall(cache) or self.texts).acted]
        for row, one in acted:
            rows[row].add(one)
        n_prompt = None if self.prompt is None else self.prompt.tokens.shape[1]
        acted_in_rows = tuple(frozenset(row) for row in rows)
        remember(cache, replace(self.texts, acted=acted_in_rows, prompt=n_prompt))

    def require_as_read(
        self, asked: Iterable[tuple[int, Acted, Edit]], others: Iterable[int]
    ) -> None:
        """Refuse a cache that was read with other edits than its texts ask for.

        Args:
            asked: the edits that the texts ask for, by row.
            others: the signatures of more edits that are applied to the model.
        """
        wanted: list[dict[Acted, Edit]] = [{} for _ in self.texts.acted]
        for row, one, edit in asked:
            if one[1] < self.n_cached:
                wanted[row][one] = edit
        others = set(others)
        for in_row, acted in zip(wanted, self.texts.acted, strict=True):
            for missing in in_row.keys() - acted:
                raise EditError(
                    f"token {missing[1]} is in the key/value cache already, read without "
                    f"{in_row[missing]!r}, which acts there; read the whole text within the "
                    "context, from an empty cache and in one pass or by generate()"
                )
            for signature, position in acted - in_row.keys():
                if signature not in others:
                    raise EditError(
                        f"an edit acted on the key/value cache from token {position} on, but "
                        "does not act there in the text as it now stands; read the whole text "
                        "again, from an empty cache and in one pass or by generate()"
                    )


def begin(
    model: "TransformerBridge | PlainModel",
    module: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Reading:
    """What a pass reads.

    Raises:
        EditError: where the texts of its rows are not known.
    """
    names = list(inspect.signature(module.forward).parameters) if args else []
    given: Mapping[str, Any] = {**dict(zip(names, args, strict=False)), **kwargs}
    tokens, cache = given.get("input_ids"), given.get("past_key_values")
    if tokens is None:
        raise EditError("edits are found in tokens; give the model input_ids, not embeddings")
    call, n_cached = generate_call(model), _n_cached(cache)
    known = _known(cache, n_cached, tokens, call) if n_cached else None
    read = tokens if known is None else torch.cat([known.tokens.to(tokens), tokens], 1)
    whole = None if call is None else call.whole_prompt(read, n_cached)
    if call is not None and whole is not None and call.mask is not None:
        # A static cache makes a mask of its own from the one that `generate` was given.
        given = {**given, "attention_mask": call.real(read)}
    real = real_tokens(given, known)
    if real is None:
        raise EditError(
            "edits act in the text that names their subject, and a row here holds several texts, "
            "or one that is not read from left to right; give each text a row of its own, with an "
            "attention mask [row, position] of all that is read and cached"
        )
    texts = replace(known or ReadTexts.unchanged(tokens), tokens=read, real=real)
    prompt = None if call is None or whole is None else _prompt_of(call, whole, texts)
    return Reading(texts, n_cached, cache, prompt)


def _n_cached(cache: Any) -> int:
    """How many positions a key/value cache holds."""
    if cache is None:
        return 0
    if not hasattr(cache, "get_seq_length"):
        raise EditError(
            f"past_key_values is a {type(cache).__name__}; give a Cache of transformers, which "
            "says how much of the text it holds"
        )
    return int(cache.get_seq_length())


def _cache_of(output: Any) -> Any:
    """The key/value cache that a pass returns; None if there is none."""
    if isinstance(output, tuple):
        return next((item for item in output if hasattr(item, "get_seq_length")), None)
    cache = getattr(output, "past_key_values", None)
    return cache if hasattr(cache, "get_seq_length") else None


def _known(cache: Any, n_cached: int, tokens: Tensor, call: GenerateCall | None) -> ReadTexts:
    """The texts that a cache holds."""
    known = recall(cache)
    if known is None and call is not None and not was_remembered(cache):
        cached = call.cached_tokens(len(tokens), n_cached, tokens)
        known = None if cached is None else ReadTexts.unchanged(cached, call.real(cached))
    if known is None or len(known) < len(tokens):
        raise EditError(
            f"{n_cached} tokens of {len(tokens)} rows are in a key/value cache that was not read "
            "with these edits, or was changed since; read the prompts inside the context too, or "
            "give generate() the whole text"
        )
    # Attribution keeps a prefix for all rows, of which a pass may begin with the first ones.
    return known.rows(range(len(tokens)))


def _prompt_of(call: GenerateCall, whole: Tensor, texts: ReadTexts) -> ReadTexts:
    """The whole prompt of a call of `generate`, of which a part is read or all has been."""
    if call.is_assistant and texts.prompt is not None:
        # What the other model has written since is no prompt.
        whole = whole[:, : texts.prompt]
    rest = call.real(whole)[:, texts.tokens.shape[1] :]
    return ReadTexts.unchanged(whole, torch.cat([texts.real, rest], 1)[:, : whole.shape[1]])
