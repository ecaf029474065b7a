"""Read facts and their paraphrases from files, the embedded ones or your own.

A file holds JSON lines, one record a line, so that a person can read and mend it. An error names
file, line and field of the first record that cannot be used, and then nothing is read (see
`json_records`).
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

from lafn_viz.core.arguments import a_path, or_none, takes
from lafn_viz.core.json_records import (
    FactError,
    only_fields,
    record_list,
    record_names,
    record_text,
    records,
)
from lafn_viz.core.messages import listed, quoted
from lafn_viz.core.paths import data_folder
from lafn_viz.datasets.fact import Fact, Paraphrases
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.languages import by_code, code_or_tag, language_code


@takes(facts=or_none(a_path), paraphrases=or_none(a_path))
def load_facts(
    facts: str | Path | None = None, *, paraphrases: str | Path | None = None
) -> FactSet:
    """Read and check a set of facts; without arguments the embedded one.

    Args:
        facts: JSON lines with the fields of `Fact`; `source`, `leaks` and `held_out` may be left
            out.
        paraphrases: JSON lines with `relation`, `language`, `texts` (each with one `{subject}`)
            and optionally `held_out`. Without it the embedded paraphrases are used.

    Languages may have any form of a tag ("zh-CN", "zho"); the facts have the code ("zh").

    Raises:
        FactError: naming file, line and field of the first record that cannot be used.
        FileNotFoundError: naming the missing file.
    """
    facts = Path(facts) if facts is not None else data_folder() / "facts.jsonl"
    if paraphrases is None:
        paraphrases = data_folder() / "paraphrases.jsonl"
    texts: dict[tuple[str, str], Paraphrases] = {}
    for where, record in records(Path(paraphrases)):
        row = _paraphrases(where, record)
        if (row.relation, row.language) in texts:
            raise FactError(
                f"{where}, field 'relation': a second line for {quoted(row.relation)} in "
                f"{row.language!r}; put its texts into the first one"
            )
        texts[row.relation, row.language] = row
    by_id: dict[str, Fact] = {}
    for where, record in records(facts):
        fact = _fact(where, record)
        if fact.id in by_id:
            raise FactError(f"{where}, field 'id': {quoted(fact.id)} stands on an earlier line too")
        by_id[fact.id] = fact
    if not by_id:
        raise FactError(f"{facts} holds no fact; give a file with one JSON object a line")
    return FactSet(facts=tuple(by_id.values()), paraphrases=texts)


def _fact(where: str, record: dict[str, Any]) -> Fact:
    only_fields(where, record, (field.name for field in fields(Fact)))
    subject, answer = (_names(where, record, field) for field in ("subject", "object"))
    if unequal := sorted(set(subject) ^ set(answer)):
        raise FactError(
            f"{where}, field 'object': its languages differ from the subject's "
            f"({listed(unequal)}); give both names in the same languages"
        )
    marks = {name: record_list(where, record, name, str) for name in ("leaks", "held_out")}
    for name, languages in marks.items():
        for language in languages:
            if code_or_tag(language) not in subject:
                raise FactError(
                    f"{where}, field {name!r}: {quoted(language)} is not a language of this fact"
                )
    return Fact(
        id=record_text(where, record, "id"),
        relation=record_text(where, record, "relation"),
        subject_id=record_text(where, record, "subject_id"),
        object_id=record_text(where, record, "object_id"),
        source=record_text(where, record, "source") if "source" in record else "own",
        subject=subject,
        object=answer,
        **marks,
    )


def _names(where: str, record: dict[str, Any], field: str) -> dict[str, str]:
    """A name by the code of its language."""
    names = record_names(where, record, field)
    try:
        return by_code(names)
    except ValueError as error:
        raise FactError(f"{where}, field {field!r}: {error}") from None


def _paraphrases(where: str, record: dict[str, Any]) -> Paraphrases:
    only_fields(where, record, (field.name for field in fields(Paraphrases)))
    texts = record_list(where, record, "texts", str)
    if not texts:
        raise FactError(f"{where}, field 'texts': empty, but it needs at least one text")
    for text in texts:
        if text.count("{subject}") != 1:
            raise FactError(
                f"{where}, field 'texts': {quoted(text)} must hold '{{subject}}' exactly once"
            )
    held_out = record_list(where, record, "held_out", int)
    if any(not 0 <= number < len(texts) for number in held_out):
        raise FactError(
            f"{where}, field 'held_out': {quoted(held_out)}, but numbers go from 0 to "
            f"{len(texts) - 1}"
        )
    try:
        language = language_code(record_text(where, record, "language"))
    except FactError:
        raise
    except ValueError as error:
        raise FactError(f"{where}, field 'language': {error}") from None
    return Paraphrases(
        relation=record_text(where, record, "relation"),
        language=language,
        held_out=held_out,
        texts=texts,
    )
