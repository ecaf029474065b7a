"""Readers of the public sets of facts, from your own copy, as a `FactSet`.

- **mLAMA** (Kassner, Dufter and Schütze 2021, "Multilingual LAMA", arXiv 2102.00894): a folder for
  each language with `P36.jsonl` (`sub_label`, `obj_label`, `sub_uri`, `obj_uri`) and
  `templates.jsonl` (`relation`, `template`).
- **mParaRel** (Fierro and Søgaard 2022, "Factual Consistency of Multilingual Pretrained Language
  Models", arXiv 2203.11552): `patterns/en/P36.jsonl` (`pattern`) and `tuples/en/P36.jsonl`, with
  the fields of mLAMA.

A pattern holds [X] for the subject and [Y] for the object. A causal model is asked by what stands
before the object, so only those patterns can be used that name the subject once and end with the
object, set off as the language sets off words. The others are skipped, counted in a log message,
and listed by `lint_patterns`. That leaves languages with the verb at the end with few: mind it
when you compare them.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lafn_viz.core.json_records import FactError, inside_of, is_folder, record_text, records
from lafn_viz.core.messages import quoted
from lafn_viz.core.options import require_one_of
from lafn_viz.datasets.facts import Fact, FactSet, Paraphrases
from lafn_viz.datasets.languages import code_or_tag, language_code, separator_of
from lafn_viz.datasets.text import shows_answer, without_ends

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

Set = Literal["mlama", "mpararel"]


class _Files(NamedTuple):
    """Where the patterns and the facts of one language stand, by relation."""

    patterns: dict[str, list[str]]
    facts: dict[str, Path]


def load_mlama(
    folder: str | Path,
    *,
    relations: str | Iterable[str] | None = None,
    languages: str | Iterable[str] | None = None,
) -> FactSet:
    """Read the facts of mLAMA, with the one pattern it has for each relation and language.

    Records of the same subject and object ids (without them: of the same `lineid`) are one fact. A
    fact told twice in a language keeps the first names. `leaks` is filled in as for the embedded
    facts: `filter(leaking=False)` leaves out what can be read off the subject.

    Args:
        folder: the one that holds a folder for each language (mlama1.1).
        relations: as in "P36", all by default.
        languages: all by default; "zh-cn" and "zh-hans" become "zh".

    Raises:
        FactError: naming file, line and field of the first record that cannot be used, or when no
            pattern can be.
        FileNotFoundError: for a folder that is not there.
        ValueError: for a relation or language that the folder does not have.
    """
    return _load("mlama", folder, relations, languages)


def load_mpararel(
    folder: str | Path,
    *,
    relations: str | Iterable[str] | None = None,
    languages: str | Iterable[str] | None = None,
) -> FactSet:
    """Read the facts of mParaRel with its paraphrases; arguments and errors as in `load_mlama`.

    `folder` is the one that holds `patterns` and `tuples`.
    """
    return _load("mpararel", folder, relations, languages)


def lint_patterns(
    folder: str | Path,
    *,
    relations: str | Iterable[str] | None = None,
    languages: str | Iterable[str] | None = None,
) -> "pd.DataFrame":
    """The patterns of mLAMA or mParaRel that are skipped, and why.

    One row a reason and language: `count` patterns, `of` all in the language, their `share`, and up
    to three `examples`. Errors as in `load_mlama`.
    """
    import pandas as pd

    folder = Path(folder)
    source: Set = "mpararel" if is_folder(folder / "patterns") else "mlama"
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    of: dict[str, int] = defaultdict(int)
    for language, files in _chosen(source, folder, relations, languages).items():
        for patterns in files.patterns.values():
            for pattern in patterns:
                of[language] += 1
                if (why := _prefix(pattern, language)[1]) is not None:
                    found[why, language].append(pattern)
    rows = [
        (why, language, len(some), of[language], len(some) / of[language], some[:3])
        for (why, language), some in sorted(found.items())
    ]
    return pd.DataFrame(rows, columns=["check", "language", "count", "of", "share", "examples"])


def _prefix(pattern: str, language: str) -> tuple[str, str | None]:
    """(what stands before the object, why it cannot be used or None)."""
    if pattern.count("[X]") != 1 or "{subject}" in pattern:
        return "", "subject not named once"
    if pattern.count("[Y]") != 1:
        return "", "object not named once"
    before, after = pattern.split("[Y]")
    if without_ends(after) or "[X]" not in before:
        return "", "object not last"
    if separator_of(language) and not before[-1].isspace():
        return "", "object joined to a word"
    return before.rstrip().replace("[X]", "{subject}"), None


def _load(
    source: Set,
    folder: str | Path,
    relations: str | Iterable[str] | None,
    languages: str | Iterable[str] | None,
) -> FactSet:
    paraphrases: dict[tuple[str, str], Paraphrases] = {}
    names: dict[tuple[str, str, str], dict[str, tuple[str, str]]] = defaultdict(dict)
    skipped = read = repeated = 0
    for language, files in _chosen(source, Path(folder), relations, languages).items():
        for relation, patterns in files.patterns.items():
            texts = [_prefix(pattern, language)[0] for pattern in patterns]
            read, skipped = read + len(texts), skipped + texts.count("")
            usable = tuple(dict.fromkeys(text for text in texts if text))
            if not usable or relation not in files.facts:
                continue
            paraphrases[relation, language] = Paraphrases(relation, language, (), usable)
            for where, record in records(files.facts[relation]):
                labels = record_text(where, record, "sub_label"), _object(where, record)
                told = names[relation, *_ids(where, record)].setdefault(language, labels)
                repeated += told != labels
    if not names:
        raise FactError(
            f"{folder}: no fact with a pattern that ends with its object ({skipped} of {read} "
            "patterns are skipped); see lint_patterns()"
        )
    if skipped or repeated:
        log.warning(
            "%s: %d of %d patterns skipped (see lint_patterns), %d facts told again otherwise",
            folder,
            skipped,
            read,
            repeated,
        )
    return FactSet(
        facts=tuple(_fact(source, *key, told) for key, told in names.items()),
        paraphrases=paraphrases,
    )


def _fact(
    source: Set, relation: str, subject: str, answer: str, told: Mapping[str, tuple[str, str]]
) -> Fact:
    return Fact(
        id=f"{relation}/{subject}/{answer}",
        relation=relation,
        subject_id=subject,
        object_id=answer,
        source=source,
        leaks=tuple(lang for lang, labels in told.items() if shows_answer(*labels)),
        held_out=(),
        subject={lang: labels[0] for lang, labels in told.items()},
        object={lang: labels[1] for lang, labels in told.items()},
    )


def _object(where: str, record: Mapping[str, Any]) -> str:
    """The object's label; the first where there are several."""
    label = record.get("obj_label")
    first = label[0] if isinstance(label, list) and label else label
    return record_text(where, {"obj_label": first}, "obj_label")


def _ids(where: str, record: Mapping[str, Any]) -> tuple[str, str]:
    """The ids of subject and object, which are the same in every language."""
    if "sub_uri" in record and "obj_uri" in record:
        return record_text(where, record, "sub_uri"), record_text(where, record, "obj_uri")
    line = record.get("lineid")
    if type(line) is not int:
        raise FactError(
            f"{where}, field 'lineid': {quoted(line)}, but without ids it must be a number"
        )
    return f"line {line}", f"line {line}"


def _chosen(
    source: Set,
    folder: Path,
    relations: str | Iterable[str] | None,
    languages: str | Iterable[str] | None,
) -> dict[str, _Files]:
    """What there is in the languages and relations asked for."""
    inside = folder / "patterns" if source == "mpararel" else folder
    if not is_folder(inside):
        raise FileNotFoundError(f"there is no folder {inside}; give the one that holds the data")
    found: dict[str, Path] = {}
    for one in inside_of(inside):
        # What is no folder of a language is not meant (mLAMA comes with others).
        if not is_folder(one) or (source == "mlama" and not (one / "templates.jsonl").exists()):
            continue
        if language_code(one.name) in found:
            raise FactError(f"{one} and {found[language_code(one.name)]} are the same language")
        found[language_code(one.name)] = one
    wanted = [languages] if isinstance(languages, str) else languages
    chosen = (
        tuple(found)
        if wanted is None
        else require_one_of("language", map(code_or_tag, wanted), [*found])
    )
    files = {language: _files(source, folder, found[language]) for language in chosen}
    there = tuple(dict.fromkeys(name for some in files.values() for name in some.patterns))
    kept = there if relations is None else require_one_of("relation", relations, there)
    return {
        language: _Files({x: some.patterns[x] for x in kept if x in some.patterns}, some.facts)
        for language, some in files.items()
    }


def _files(source: Set, folder: Path, inside: Path) -> _Files:
    patterns: dict[str, list[str]] = defaultdict(list)
    if source == "mlama":
        for where, record in records(inside / "templates.jsonl"):
            relation = record_text(where, record, "relation")
            patterns[relation].append(record_text(where, record, "template"))
        of = inside
    else:
        for path in sorted(inside.glob("*.jsonl")):
            for where, record in records(path):
                patterns[path.stem].append(record_text(where, record, "pattern"))
        of = folder / "tuples" / inside.name
    return _Files(dict(patterns), {path.stem: path for path in sorted(of.glob("*.jsonl"))})
