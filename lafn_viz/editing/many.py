"""Make many edits one after the other, and resume after being killed.

1. Cases that the folder's cache has already are skipped; the others are edited in order.
2. The cache is written to its folder every `SAVE_EVERY` seconds and at the end, whole or not at
   all, so that a process that is killed loses some seconds of work.

Each edit is made on the model without the other edits. In the cache, only edits of one subject add
up. A case that cannot be edited is left out and named in a warning; called again with the same
folder once it is mended, only its edit is made.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from lafn_viz.core.arguments import a_flag, a_path, or_none, some_languages, takes
from lafn_viz.core.skipped import Skipped
from lafn_viz.datasets.arguments import Cases, as_cases
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.edit import Edit, EditError
from lafn_viz.editing.optimise import EDIT_OPTIONS, EditOptions, edit_case
from lafn_viz.models.calls import reads_model
from lafn_viz.models.capabilities import weights_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

SAVE_EVERY = 10.0  # seconds


@reads_model
@takes(**EDIT_OPTIONS, languages=or_none(some_languages), folder=or_none(a_path), progress=a_flag)
def edit_cases(
    model: "TransformerBridge",
    cases: Cases,
    *,
    folder: str | Path | None = None,
    progress: bool = True,
    **options: Unpack[EditOptions],
) -> EditCache:
    """Edit every case, and return the edits in a cache.

    Args:
        folder: of a cache to resume from, and to save to.
        progress: whether to show a progress bar.
        options: those of `edit_case`.

    Raises:
        EditError: for a folder that holds no cache, edits of another model, or edits of these cases
            with other answers; and if two cases edit one relation of one subject.
        Exception: that of the first case, if none can be edited.

    Warns:
        SkippedWarning: naming the cases that cannot be edited, with the reason.
    """
    from tqdm.auto import tqdm

    cases = as_cases(cases)
    place = None if folder is None else Path(folder)
    cache = EditCache() if place is None or not place.exists() else EditCache.load(place)
    _require_same_model(place, cache, weights_of(model))
    done = {edit.key: edit for edit in cache}
    cases_by_key = _by_key(cases)
    for key, case in cases_by_key.items():
        if key in done:
            _require_same_answers(place, done[key], case)
    rest = [case for key, case in cases_by_key.items() if key not in done]
    saved, skipped = time.monotonic(), Skipped("case")
    bar = tqdm(
        rest, initial=len(cases_by_key) - len(rest), total=len(cases_by_key),
        disable=not progress, desc="edits", unit="edit",
    )  # fmt: skip
    try:
        for case in bar:
            with skipped.unless_it_fails(case.id):
                cache.add(edit_case(model, case, progress=progress, **options))
            if place is not None and time.monotonic() - saved > SAVE_EVERY:
                cache.save(place)
                saved = time.monotonic()
    finally:
        if place is not None:
            cache.save(place)
    skipped.report(len(cases_by_key))
    return cache


def _by_key(cases: Iterable[EditCase]) -> dict[tuple[str, str], EditCase]:
    """The cases by subject and relation; refuse two that have both in common."""
    by_key: dict[tuple[str, str], EditCase] = {}
    for case in cases:
        if case.key in by_key:
            raise EditError(
                f"cases {by_key[case.key].id!r} and {case.id!r} both edit {case.key}; leave one out"
            )
        by_key[case.key] = case
    return by_key


def _require_same_model(place: Path | None, cache: EditCache, weights: str) -> None:
    """Refuse a cache with edits of another model."""
    for edit in cache:
        if edit.provenance.weights != weights:
            raise EditError(
                f"{place} holds edits of another model, {edit.provenance.model!r} "
                f"({edit.provenance.weights[:8]}, not {weights[:8]}); give another folder"
            )


def _require_same_answers(place: Path | None, edit: Edit, case: EditCase) -> None:
    """Refuse a case whose new object is another than that of its edit in the cache."""
    new = case.new
    if any(new.get(language, name) != name for language, name in edit.new.items()):
        raise EditError(
            f"{place} has {edit!r} already, with another new object than case {case.id!r}; "
            "give another folder, or remove that edit"
        )
