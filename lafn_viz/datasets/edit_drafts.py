"""Drafts of edit cases while a public set is read, because a case lies in several files."""

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lafn_viz.core.json_records import FactError, as_text
from lafn_viz.core.messages import quoted, shown
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.edit_sets import EditSet
from lafn_viz.datasets.names import find_name
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.seam import separator_at
from lafn_viz.datasets.text import nfc, same_text

log = logging.getLogger("lafn_viz.datasets.edit_readers")

_NQ = re.compile(r"^\s*nq question:\s*", re.IGNORECASE)


@dataclass
class Draft:
    """One case in one language; `where` names its place in the files."""

    where: str
    edit: Prompt
    old: str
    rephrased: list[Prompt] = field(default_factory=list)
    locality: list[Prompt] = field(default_factory=list)
    portability: list[Prompt] = field(default_factory=list)
    statement: str = ""


@dataclass
class Drafts:
    """The cases that have been read so far.

    Attributes:
        by_id: the drafts of each case, by language.
        ids: the id of a case by its set and what identifies it there.
        places: where each id was given first.
        counts: how many cases were read of each set.
        single_hops: how many single-hop edits each file of MLaKE holds.
        left_out: how many parts of each kind were left out.
    """

    by_id: dict[str, dict[str, Draft]] = field(default_factory=dict)
    ids: dict[tuple[str, ...], str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    single_hops: dict[str, int] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def id_of(self, source: str, key: tuple[str, ...], name: str | None, where: str) -> str:
        """Return the id of the case that `key` identifies; `name` is the id in the set itself."""
        if (source, *key) not in self.ids:
            self.counts[source] += 1
            id = f"{source}/{self.counts[source] if name is None else name}"
            if id in self.places:
                raise FactError(
                    f"{where}, field 'case_id': {shown(str(name))} stands for another edit at "
                    f"{self.places[id]} too; load files of different sets one by one"
                )
            self.ids[source, *key] = id
            self.places[id] = where
        return self.ids[source, *key]

    def add(self, id: str, draft: Draft) -> None:
        """Add one language of a case, or raise FactError if an earlier file contradicts it."""
        first = self.by_id.setdefault(id, {}).setdefault(draft.edit.language, draft)
        for name in ("subject", "answer"):
            value, earlier = getattr(draft.edit, name), getattr(first.edit, name)
            if not same_text(value, earlier, draft.edit.language):
                raise FactError(
                    f"{draft.where}: the {name} is {quoted(value)}, but {quoted(earlier)} at "
                    f"{first.where}; both must be the same"
                )

    def cases(self, files: Sequence[Path]) -> EditSet:
        """Return all cases.

        Args:
            files: that they were read from, for messages.

        Raises:
            FactError: if there is none, or if files of MLaKE differ in length.
        """
        if not self.by_id:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            raise FactError(
                f"there is no edit in {files[0]}{more}; MLaKE's multi-hop "
                "questions need its single-hop files beside them"
            )
        if len(set(self.single_hops.values())) > 1:
            numbers = ", ".join(f"{file} {count}" for file, count in self.single_hops.items())
            raise FactError(
                f"MLaKE's edits are matched by number, but the files hold different numbers of "
                f"them ({numbers}); give files of one split"
            )
        if left_out := +self.left_out:
            parts = ", ".join(f"{count} {kind}" for kind, count in left_out.items())
            log.warning("left out: %s", parts)
        return EditSet(tuple(_case(id, drafts) for id, drafts in self.by_id.items()))


def _case(id: str, drafts: Mapping[str, Draft]) -> EditCase:
    def filled(name: str) -> dict[str, tuple[Prompt, ...]]:
        return {lang: tuple(getattr(x, name)) for lang, x in drafts.items() if getattr(x, name)}

    return EditCase(
        id=id,
        source=id.split("/")[0],
        subject={lang: x.edit.subject for lang, x in drafts.items() if x.edit.subject},
        old={lang: x.old for lang, x in drafts.items() if x.old},
        edit={lang: (x.edit,) for lang, x in drafts.items()},
        rephrased=filled("rephrased"),
        locality=filled("locality"),
        portability=filled("portability"),
    )


def field_text(where: str, record: Mapping[str, Any], name: str) -> str:
    """Return the text of a field, a number as text; "" if it is missing, null or blank."""
    return _text(f"{where}, field {name!r}", record.get(name))


def _text(where: str, value: Any) -> str:
    if value is None:
        return ""
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    # A gap in a table is written as NaN: an answer "nan" would be edited and asked for.
    if not is_plain or value in (float("inf"), float("-inf")) or value != value:
        raise FactError(f"{where}: {quoted(value)}, but it must be a text or a number")
    return as_text(where, _NQ.sub("", str(value), count=1)).strip()


def field_texts(where: str, record: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts of a field that holds one or a list of them."""
    value = record.get(name)
    items = value if isinstance(value, list) else [value]
    texts = [_text(f"{where}, field {name!r}", item) for item in items]
    return [text for text in texts if text]


def make_prompt(
    case: str, number: int, text: str, answer: str, language: str, subject: str = "", **more: Any
) -> Prompt:
    """Return a prompt of a case; its subject has a span where the text names it."""
    text, subject = nfc(text), nfc(subject)
    return Prompt(
        fact_id=case,
        relation=case.split("/")[0],
        language=language,
        paraphrase=number,
        text=text,
        answer=answer,
        subject=subject,
        subject_span=find_name(text, subject, language),
        separator=separator_at(text, answer, language),
        **more,
    )
