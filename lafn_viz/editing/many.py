"""Many edits, one after the other: with a progress bar, and able to go on after being killed.

The cache is written to its folder every `EVERY` seconds and at the end, whole or not at all, so
that what is killed loses some seconds of work. Called again with the same folder, only what is not
there is done. Each edit is made on the model without the others: in the cache they add up only
where two have one subject.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.editing.cache import EditCache, EditError
from lafn_viz.editing.optimise import EditOptions, edit_case
from lafn_viz.models.capabilities import capabilities

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

EVERY = 10.0  # seconds between two saves


def edit_cases(
    model: "TransformerBridge",
    cases: Iterable[EditCase],
    *,
    folder: str | Path | None = None,
    progress: bool = True,
    **options: Unpack[EditOptions],
) -> EditCache:
    """A cache with an edit of each case.

    Args:
        folder: to keep the cache in, and to go on from.
        options: those of `edit_case`.

    Raises:
        EditError: if the folder holds edits of another model, of these cases with other answers, or
            no cache, or if two cases edit one relation of one subject.
    """
    from tqdm.auto import tqdm

    place = None if folder is None else Path(folder)
    cache = EditCache() if place is None or not place.exists() else EditCache.load(place)
    there = {edit.key: edit for edit in cache}
    weights = capabilities(model).weights
    for edit in cache:
        if edit.provenance.weights != weights:
            raise EditError(
                f"{place} holds edits of another model, {edit.provenance.model!r} "
                f"({edit.provenance.weights[:8]}, not {weights[:8]}); give another folder"
            )
    todo: dict[tuple[str, str], EditCase] = {}
    for case in cases:
        if case.key in todo:
            raise EditError(
                f"cases {todo[case.key].id!r} and {case.id!r} both edit {case.key}; leave one out"
            )
        todo[case.key] = case
        made = there.get(case.key)
        new = {language: asked[0].answer for language, asked in case.edit.items()}
        if made is not None and any(new.get(lang, name) != name for lang, name in made.new.items()):
            raise EditError(
                f"{place} has {made!r} already, with another new object than case {case.id!r}; "
                "give another folder, or remove that edit"
            )
    rest = [case for key, case in todo.items() if key not in there]
    saved = time.monotonic()
    bar = tqdm(rest, initial=len(todo) - len(rest), total=len(todo), disable=not progress,
               desc="edits", unit="edit")  # fmt: skip
    try:
        for case in bar:
            cache.add(edit_case(model, case, **options))
            if place is not None and time.monotonic() - saved > EVERY:
                cache.save(place)
                saved = time.monotonic()
    finally:
        if place is not None:
            cache.save(place)
    return cache
