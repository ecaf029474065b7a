"""Readers of the public sets of facts, from your own copy, as a `FactSet`: nothing is downloaded.

- **mLAMA** (Kassner, Dufter and Schütze 2021, "Multilingual LAMA", arXiv 2102.00894): a folder for
  each language with `P36.jsonl` (`sub_label`, `obj_label`, `sub_uri`, `obj_uri`) and
  `templates.jsonl` (`relation`, `template`).
- **mParaRel** (Fierro and Søgaard 2022, "Factual Consistency of Multilingual Pretrained Language
  Models", arXiv 2203.11552): `patterns/en/P36.jsonl` (`pattern`) and `tuples/en/P36.jsonl`, with
  the fields of mLAMA.

A pattern holds [X] for the subject and [Y] for the object. A causal model reads what stands before
the object, so a pattern can be used if it names the subject once and ends with the object, as a
word of its own. The others are skipped, counted in a log message, and listed by `lint_patterns`.
Languages with the verb at the end keep few patterns: mind this when you compare languages.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import regex

from lafn_viz.core.arguments import a_path, or_none, some_texts, takes
from lafn_viz.core.json_records import FactError, inside_of, is_folder, record_text, records
from lafn_viz.core.messages import quoted
from lafn_viz.core.options import require_one_of
from lafn_viz.datasets.fact import Fact, Paraphrases
from lafn_viz.datasets.facts import FactSet
from lafn_viz.datasets.languages import language_code, require_languages, separator_of
from lafn_viz.datasets.text import shows_answer

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# What may follow the object. A closing quote or bracket may not: it opens before the object.
_SENTENCE_END = regex.compile(r"[\s\p{Terminal_Punctuation}·\u0f0b\u0df4]*")

Set = Literal["mlama", "mpararel"]


class _Files(NamedTuple):
    """The patterns and the files of facts of one language, by relation."""

    patterns: dict[str, list[str]]
    facts: dict[str, Path]


@takes(folder=a_path, relations=or_none(some_texts), languages=or_none(some_texts))
def load_mlama(
    folder: str | Path,
    *,
    relations: str | Iterable[str] | None = None,
    languages: str | Iterable[str] | None = None,
) -> FactSet:
    """Read the facts of mLAMA, with the one pattern it has for each relation and language.

    Records with the same ids of subject and object (without them: the same `lineid`) are one fact.
    A fact that stands twice in a language keeps the first names. `leaks` names the languages in
    which the subject gives the answer away (see `shows_answer`): `filter(leaking=False)` leaves
    them out.

    Args:
        folder: the one that holds a folder for each language (mlama1.1).
        relations: as in "P36", all by default.
        languages: all by default, in any form of a tag; "zh-cn" and "zh-hans" become "zh".

    Raises:
        FactError: naming file, line and field of the first record that cannot be used, or when no
            pattern can be.
        FileNotFoundError: for a folder that does not exist.
        ValueError: for a relation or language that the folder does not have.
    """
    return _load("mlama", folder, relations, languages)


@takes(folder=a_path, relations=or_none(some_texts), languages=or_none(some_texts))
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


@takes(folder=a_path, relations=or_none(some_texts), languages=or_none(some_texts))
def lint_patterns(
    folder: str | Path,
    *,
    relations: str | Iterable[str] | None = None,
    languages: str | Iterable[str] | None = None,
) -> "pd.DataFrame":
    """List the patterns of mLAMA or mParaRel that are skipped, and why.

    One row for each reason and language: `count` patterns, `of` all in the language, their `share`,
    and up to three `examples`. Arguments and errors as in `load_mlama`.
    """
    import pandas as pd

    folder = Path(folder)
    source: Set = "mpararel" if is_folder(folder / "patterns") else "mlama"
    skipped: dict[tuple[str, str], list[str]] = defaultdict(list)
    n_patterns: dict[str, int] = defaultdict(int)
    for language, files in _chosen(source, folder, relations, languages).items():
        for patterns in files.patterns.values():
            for pattern in patterns:
                n_patterns[language] += 1
                if (reason := _prefix(pattern, language)[1]) is not None:
                    skipped[reason, language].append(pattern)
    rows = [
        (
            reason,
            language,
            len(texts),
            n_patterns[language],
            len(texts) / n_patterns[language],
            texts[:3],
        )
        for (reason, language), texts in sorted(skipped.items())
    ]
    return pd.DataFrame(rows, columns=["check", "language", "count", "of", "share", "examples"])


def _prefix(pattern: str, language: str) -> tuple[str, str | None]:
    """Return the text before the object, and the reason why a pattern is skipped, or None."""
    if pattern.count("[X]") != 1 or "{subject}" in pattern:
        return "", "subject not named once"
    if pattern.count("[Y]") != 1:
        return "", "object not named once"
    before, after = pattern.split("[Y]")
    if not _SENTENCE_END.fullmatch(after) or "[X]" not in before:
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
    n_patterns = n_skipped = n_repeated = 0
    for language, files in _chosen(source, Path(folder), relations, languages).items():
        for relation, patterns in files.patterns.items():
            texts = [_prefix(pattern, language)[0] for pattern in patterns]
            n_patterns, n_skipped = n_patterns + len(texts), n_skipped + texts.count("")
            usable = tuple(dict.fromkeys(text for text in texts if text))
            if not usable or relation not in files.facts:
                continue
            paraphrases[relation, language] = Paraphrases(relation, language, (), usable)
            for where, record in records(files.facts[relation]):
                labels = record_text(where, record, "sub_label"), _object(where, record)
                first = names[relation, *_ids(where, record)].setdefault(language, labels)
                n_repeated += first != labels
    if not names:
        raise FactError(
            f"{folder}: no fact with a pattern that ends with its object ({n_skipped} of "
            f"{n_patterns} patterns are skipped); see lint_patterns()"
        )
    if n_skipped or n_repeated:
        log.warning(
            "%s: %d of %d patterns skipped (see lint_patterns), %d facts repeated with other names",
            folder,
            n_skipped,
            n_patterns,
            n_repeated,
        )
    return FactSet(
        facts=tuple(_fact(source, *key, by_language) for key, by_language in names.items()),
        paraphrases=paraphrases,
    )


def _fact(
    source: Set, relation: str, subject: str, answer: str, names: Mapping[str, tuple[str, str]]
) -> Fact:
    return Fact(
        id=f"{relation}/{subject}/{answer}",
        relation=relation,
        subject_id=subject,
        object_id=answer,
        source=source,
        leaks=tuple(language for language, labels in names.items() if shows_answer(*labels)),
        held_out=(),
        subject={language: labels[0] for language, labels in names.items()},
        object={language: labels[1] for language, labels in names.items()},
    )


def _object(where: str, record: Mapping[str, Any]) -> str:
    """The object's label; the first where there are several."""
    label = record.get("obj_label")
    first = label[0] if isinstance(label, list) and label else label
    return record_text(where, {"obj_label": first}, "obj_label")


def _ids(where: str, record: Mapping[str, Any]) -> tuple[str, str]:
    """Return the ids of subject and object, which are the same in every language."""
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
    """The files of the chosen languages, with the patterns of the chosen relations."""
    folders = _language_folders(source, folder)
    if languages is not None:
        wanted = require_languages(languages, [*folders])
        folders = {language: folders[language] for language in wanted}
    files = {language: _files(source, folder, path) for language, path in folders.items()}
    known = tuple(dict.fromkeys(name for x in files.values() for name in x.patterns))
    kept = known if relations is None else require_one_of("relation", relations, known)
    return {
        language: _Files({name: x.patterns[name] for name in kept if name in x.patterns}, x.facts)
        for language, x in files.items()
    }


def _language_folders(source: Set, folder: Path) -> dict[str, Path]:
    """The folder of each language, by its code."""
    inside = folder / "patterns" if source == "mpararel" else folder
    if not is_folder(inside):
        raise FileNotFoundError(f"there is no folder {inside}; give the one that holds the data")
    folders: dict[str, Path] = {}
    for path in inside_of(inside):
        # mLAMA comes with folders that are no language's.
        if not is_folder(path) or (source == "mlama" and not (path / "templates.jsonl").exists()):
            continue
        try:
            code = language_code(path.name)
        except ValueError as error:
            raise FactError(f"the folder {path}: {error}") from None
        if code in folders:
            raise FactError(f"{path} and {folders[code]} are the same language; keep one of them")
        folders[code] = path
    return folders


def _files(source: Set, folder: Path, inside: Path) -> _Files:
    patterns: dict[str, list[str]] = defaultdict(list)
    facts = inside
    if source == "mlama":
        for where, record in records(inside / "templates.jsonl"):
            relation = record_text(where, record, "relation")
            patterns[relation].append(record_text(where, record, "template"))
    else:
        facts = folder / "tuples" / inside.name
        for path in sorted(inside.glob("*.jsonl")):
            for where, record in records(path):
                patterns[path.stem].append(record_text(where, record, "pattern"))
    return _Files(dict(patterns), {path.stem: path for path in sorted(facts.glob("*.jsonl"))})
