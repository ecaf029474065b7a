"""Readers of the public sets of edits, from your own copy: nothing is fetched or comes with this.

`load_edit_cases` reads these as `EditCase` objects:

- **MzsRE** (Wang et al. 2023, "Retrieval-augmented Multilingual Knowledge Editing", arXiv
  2312.13040): a file for each pair of languages, `mzsre_test_duplicate_enfr.json`.
- **Bi-ZsRE** (Wang et al. 2023, "Cross-Lingual Knowledge Editing in Large Language Models", arXiv
  2309.08952): one file, English and Chinese. Both: `{"en": {"subject", "src", "rephrase", "alt",
  "loc", "loc_ans", "portability": {"New Question", "New Answer"}}, "fr": {...}}`.
- **BMIKE-53** (Nie et al. 2024, arXiv 2406.17764): the same with `port`, `port_ans`, `old` and
  `case_id`.
- **MLaKE** (Wei et al. 2024, arXiv 2404.04990): a file for each language, single-hop edits
  (`question`, `o_answer`, `e_answer`, aliases) and multi-hop questions that name their edit by
  `e_prompt`. Subjects are not given.

The sets of facts (mLAMA, mParaRel) are read in `probes`.

The sets hold gaps and faults. What is missing or empty is left out, counted in a log message and
found again by `lint`; what is of the wrong kind raises FactError with file, record and field.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from lafn_viz.core.json_records import (
    FactError,
    as_object,
    as_text,
    inside_of,
    is_folder,
    parsed,
    read_text,
    records,
)
from lafn_viz.core.messages import quoted, shown
from lafn_viz.core.options import require_one_of
from lafn_viz.datasets.edit_cases import EditCase, EditSet
from lafn_viz.datasets.facts import Prompt
from lafn_viz.datasets.languages import code_or_tag, language_code, separator_of
from lafn_viz.datasets.text import normal

log = logging.getLogger(__name__)

Schema = Literal["auto", "mzsre", "bizsre", "bmike53", "mlake"]

_MLAKE_LANGUAGES = ("en", "zh", "ja", "fr", "de")
_CODE = re.compile(r"[a-z]{2,3}([-_][A-Za-z]{2,4})?")
_NQ = re.compile(r"^\s*nq question:\s*", re.IGNORECASE)


def load_edit_cases(
    path: str | Path | Iterable[str | Path],
    *,
    schema: Schema = "auto",
    languages: str | Iterable[str] | None = None,
) -> EditSet:
    """Read the edits of MzsRE, Bi-ZsRE, BMIKE-53 or MLaKE.

    Files of several language pairs become one case each with all their languages: records are the
    same edit if they have the same `case_id` and English question (where a file asks a question
    more than once, the same time it is asked), in MLaKE the same number. What they say twice must
    have the same subject and new answer; beyond that the first file counts. A multi-hop question
    of MLaKE becomes portability of the case whose statement it repeats, whatever its language, so
    give the English single-hop file beside those of other languages.

    Args:
        path: a file (a JSON array or JSON lines), a folder of them, or several of either.
        schema: what the files are; "auto" tells by their fields.
        languages: the ones to keep, all by default. "cz", "du", "zh-cn" become "cs", "nl", "zh".

    Raises:
        FactError: naming file, record and field of the first that cannot be used.
        FileNotFoundError: for a path that is not there.
        ValueError: for an unknown schema or a language that no case has.
    """
    require_one_of("schema", schema, get_args(Schema))
    drafts = _Drafts()
    hops: list[tuple[str, Path, dict[str, Any]]] = []
    for file in _files(path):
        asked: Counter[str] = Counter()
        singles = 0
        empty = True
        for where, record in _array(file):
            empty = False
            found = "mlake" if "question" in record else _pair_schema(file, record)
            if schema != "auto" and (schema == "mlake") != (found == "mlake"):
                field_name = "question" if schema == "mlake" else "src"
                raise FactError(
                    f"{where}, field {field_name!r}: missing, so this is no record of {schema!r}; "
                    f"it looks like {found!r}"
                )
            if found != "mlake":
                _pair(drafts, where, record, found if schema == "auto" else schema, asked)
            elif "e_answer" in record and "o_answer" in record:
                singles += 1
                _single_hop(drafts, where, file, record, singles)
            else:
                hops.append((where, file, record))
        if empty:
            raise FactError(f"{file} holds no record; it needs a JSON array or JSON lines")
        if singles:
            drafts.singles[str(file)] = singles
    _multi_hop(drafts, hops)
    cases = drafts.cases()
    if languages is None:
        return cases
    wanted = [languages] if isinstance(languages, str) else languages
    return cases.filter(languages=[code_or_tag(lang) for lang in wanted])


@dataclass
class _Draft:
    """What is read of one case in one language."""

    where: str
    edit: Prompt
    old: str
    rephrased: list[Prompt] = field(default_factory=list)
    locality: list[Prompt] = field(default_factory=list)
    portability: list[Prompt] = field(default_factory=list)
    statement: str = ""


@dataclass
class _Drafts:
    """The cases so far: by id, then language."""

    found: dict[str, dict[str, _Draft]] = field(default_factory=dict)
    ids: dict[tuple[str, ...], str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    singles: dict[str, int] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def id_of(self, source: str, key: tuple[str, ...], name: str | None, where: str) -> str:
        """The id of a case that is known by `key`; `name` is what the set calls it."""
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

    def add(self, id: str, draft: _Draft) -> None:
        """One language of a case. Raises FactError if it is there already and says otherwise."""
        known_already = self.found.setdefault(id, {}).setdefault(draft.edit.language, draft)
        for name in ("subject", "answer"):
            here, there = getattr(draft.edit, name), getattr(known_already.edit, name)
            if normal(here) != normal(there):
                raise FactError(
                    f"{draft.where}: the {name} is "
                    f"{quoted(here)}, but {quoted(there)} at {known_already.where}; "
                    "what is told twice must agree"
                )

    def cases(self) -> EditSet:
        """All of them. Raises FactError if there are none, or MLaKE files differ in length."""
        if not self.found:
            raise FactError(
                "there is no edit in these files; MLaKE's multi-hop questions need its single-hop "
                "files beside them"
            )
        if len(set(self.singles.values())) > 1:
            told = ", ".join(f"{file} {count}" for file, count in self.singles.items())
            raise FactError(
                f"MLaKE's edits are matched by number, but the files hold different numbers of "
                f"them ({told}); give files of one split"
            )
        if left_out := +self.left_out:
            said = ", ".join(f"{count} {what}" for what, count in left_out.items())
            log.warning("left out: %s", said)
        return EditSet(tuple(_case(id, parts) for id, parts in self.found.items()))


def _case(id: str, parts: Mapping[str, _Draft]) -> EditCase:
    return EditCase(
        id=id,
        source=id.split("/")[0],
        subject={lang: part.edit.subject for lang, part in parts.items() if part.edit.subject},
        old={lang: part.old for lang, part in parts.items() if part.old},
        edit={lang: (part.edit,) for lang, part in parts.items()},
        rephrased={lang: tuple(part.rephrased) for lang, part in parts.items() if part.rephrased},
        locality={lang: tuple(part.locality) for lang, part in parts.items() if part.locality},
        portability={
            lang: tuple(part.portability) for lang, part in parts.items() if part.portability
        },
    )


def _files(path: str | Path | Iterable[str | Path]) -> list[Path]:
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(one) for one in path]
    found: list[Path] = []
    for one in paths:
        if is_folder(one):
            inside = [x for x in inside_of(one) if x.suffix in (".json", ".jsonl")]
            if not inside:
                raise FactError(f"the folder {one} holds no .json or .jsonl file")
            found += inside
        else:
            found.append(one)
    return found


def _array(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, record) of a JSON array, or of JSON lines."""
    text = read_text(path)
    if not text.lstrip().startswith("["):
        yield from records(path)
        return
    for number, record in enumerate(parsed(str(path), text), 1):
        where = f"{path}, record {number}"
        yield where, as_object(where, record)


def _said(where: str, record: Mapping[str, Any], name: str) -> str:
    """The text of a field, a number as text; "" for what is missing, null or blank."""
    return _text(f"{where}, field {name!r}", record.get(name))


def _text(where: str, value: Any) -> str:
    if value is None:
        return ""
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    # A gap in a table is written as NaN: an answer "nan" would be edited and asked for.
    if not plain or value in (float("inf"), float("-inf")) or value != value:
        raise FactError(f"{where}: {quoted(value)}, but it must be a text or a number")
    return as_text(where, _NQ.sub("", str(value), count=1)).strip()


def _several(where: str, record: Mapping[str, Any], name: str) -> list[str]:
    """The texts of a field that holds one or a list of them."""
    value = record.get(name)
    if not isinstance(value, list):
        return [text for text in [_said(where, record, name)] if text]
    texts = [_text(f"{where}, field {name!r}", one) for one in value]
    return [text for text in texts if text]


def _prompt(
    case: str, number: int, text: str, answer: str, language: str, subject: str = "", **more: Any
) -> Prompt:
    start = text.find(subject) if subject else -1
    return Prompt(
        fact_id=case,
        relation=case.split("/")[0],
        language=language,
        paraphrase=number,
        text=text,
        answer=answer,
        subject=subject,
        subject_span=None if start < 0 else (start, start + len(subject)),
        separator=separator_of(language),
        **more,
    )


def _pair_schema(file: Path, record: Mapping[str, Any]) -> str:
    blocks = [block for block in record.values() if isinstance(block, dict)]
    if any("port" in block or "case_id" in block for block in blocks):
        return "bmike53"
    return "bizsre" if "bizsre" in file.name.lower() else "mzsre"


def _blocks(where: str, record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a record says in each language."""
    found: dict[str, dict[str, Any]] = {}
    for key, block in record.items():
        if not _CODE.fullmatch(key) or block is None:
            continue
        if not isinstance(block, dict):
            if key == "id" or isinstance(block, int | float):  # a number of the record
                continue
            raise FactError(
                f"{where}, field {key!r}: {quoted(block)}, but a language's part is an object"
            )
        language = language_code(key)
        if language in found:
            raise FactError(f"{where}, field {key!r}: a second part in {language!r}")
        found[language] = block
    return found


def _pair(
    drafts: _Drafts, where: str, record: Mapping[str, Any], source: str, asked: Counter[str]
) -> None:
    """A record of MzsRE, Bi-ZsRE or BMIKE-53."""
    blocks = _blocks(where, record)
    usable = {
        lang: block
        for lang, block in blocks.items()
        if _said(f"{where}, language {lang!r}", block, "src")
        and _said(f"{where}, language {lang!r}", block, "alt")
    }
    if not usable:
        raise FactError(
            f"{where}, field 'src': no language with a question 'src' and a new answer 'alt'"
        )
    drafts.left_out["parts without a question or answer"] += len(blocks) - len(usable)
    if len(blocks) < 2:
        drafts.left_out["second languages of a record"] += 1
    first = next(iter(usable.values()))
    name = _said(where, first, "case_id") or None
    question = normal(_said(where, blocks.get("en", {}), "src"))
    key = (name or "", question or where)
    asked["\n".join(key)] += 1
    times = asked["\n".join(key)]
    if name is not None and times > 1:
        raise FactError(f"{where}, field 'case_id': {shown(name)} stands in an earlier record too")
    id = drafts.id_of(source, (*key, str(times)), name, where)
    for lang, block in usable.items():
        drafts.add(id, _part(f"{where}, language {lang!r}", id, lang, block))


def _part(where: str, id: str, language: str, block: Mapping[str, Any]) -> _Draft:
    def said(name: str) -> str:
        return _said(where, block, name)

    subject, answer = said("subject"), said("alt")
    loc = [(said("loc"), said("loc_ans"))]
    port = [(said("port"), said("port_ans"))]
    further = block.get("portability")
    for one in further if isinstance(further, list) else [further]:
        if one is not None and not isinstance(one, dict):
            raise FactError(
                f"{where}, field 'portability': {quoted(one)}, but it must hold "
                "'New Question' and 'New Answer'"
            )
        place = f"{where}, field 'portability'"
        port.append(
            (_said(place, one or {}, "New Question"), _said(place, one or {}, "New Answer"))
        )

    def follow(role: str, pairs: list[tuple[str, str]], subject: str = "") -> list[Prompt]:
        return [
            _prompt(f"{id}/{role}", number, text, answer, language, subject)
            for number, (text, answer) in enumerate(pairs)
            if text and answer
        ]

    return _Draft(
        where=where,
        edit=_prompt(id, 0, said("src"), answer, language, subject),
        old=said("old"),
        rephrased=[
            _prompt(id, number, text, answer, language, subject)
            for number, text in enumerate(_several(where, block, "rephrase"), 1)
        ],
        locality=follow("locality", loc),
        portability=follow("portability", port, subject),
    )


def _mlake_language(where: str, file: Path) -> str:
    named = [x for x in re.split(r"[^a-z]+", file.stem.lower()) if x in _MLAKE_LANGUAGES]
    if not named:
        raise FactError(
            f"{where}: MLaKE's language stands in the file's name, as in fr_qa.json, but not in "
            f"{file.name}; there are {', '.join(_MLAKE_LANGUAGES)}"
        )
    return named[-1]


def _answer(where: str, record: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    """(question, new answer, its aliases) of a record of MLaKE; "" for what is missing."""
    question, answer = _said(where, record, "question"), _said(where, record, "e_answer")
    return question, answer, tuple(_several(where, record, "e_answer_aliases"))


def _single_hop(
    drafts: _Drafts, where: str, file: Path, record: Mapping[str, Any], number: int
) -> None:
    language = _mlake_language(where, file)
    question, answer, aliases = _answer(where, record)
    if not question or not answer:
        drafts.left_out["parts without a question or answer"] += 1
        return
    id = f"mlake/{number}"
    edit = _prompt(id, 0, question, answer, language, aliases=aliases)
    old = _said(where, record, "o_answer")
    drafts.add(id, _Draft(where, edit, old, statement=_said(where, record, "e_prompt")))


def _multi_hop(drafts: _Drafts, hops: Iterable[tuple[str, Path, dict[str, Any]]]) -> None:
    """MLaKE's questions over several facts, to the portability of the edit they name."""
    edits: dict[str, str] = {}
    for id, parts in drafts.found.items():
        for part in parts.values():
            if part.statement:
                edits.setdefault(normal(part.statement), id)
    for where, file, record in hops:
        language = _mlake_language(where, file)
        question, answer, aliases = _answer(where, record)
        named = edits.get(normal(_said(where, record, "e_prompt")), "")
        draft = drafts.found.get(named, {}).get(language)
        if "e_answer" not in record:
            drafts.left_out["multi-hop questions about the time before the edit"] += 1
        elif not question or not answer or draft is None:
            drafts.left_out["multi-hop questions of no edit here"] += 1
        else:
            count = len(draft.portability)
            draft.portability.append(
                _prompt(f"{named}/portability", count, question, answer, language, aliases=aliases)
            )
