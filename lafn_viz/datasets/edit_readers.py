"""Readers of the public sets of edits, from your own copy: the package downloads and holds none.

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

`fact_readers` reads the sets of facts (mLAMA, mParaRel).

The sets hold gaps and faults. A missing or empty part is left out and counted in a log message, and
`lint` finds it again; a part of the wrong kind raises FactError with file, record and field.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from lafn_viz.core.arguments import a_path, in_order, one_of, or_none, some_texts, takes, wrong
from lafn_viz.core.json_records import (
    FactError,
    as_object,
    inside_of,
    is_folder,
    parsed,
    read_text,
    records,
)
from lafn_viz.core.messages import quoted, shown
from lafn_viz.datasets.edit_drafts import Draft, Drafts, field_text, field_texts, make_prompt
from lafn_viz.datasets.edit_sets import EditSet
from lafn_viz.datasets.languages import language_code
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.datasets.text import normal

Schema = Literal["auto", "mzsre", "bizsre", "bmike53", "mlake"]

# The languages of MLaKE; the name of a file holds one of them, beside other short words.
_MLAKE_LANGUAGES = ("en", "zh", "ja", "fr", "de")
# The form of a language tag: other fields of a record are no language's part.
_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z]{2,4})*")


@takes(schema=one_of(get_args(Schema)), languages=or_none(some_texts))
def load_edit_cases(
    path: str | Path | Iterable[str | Path],
    *,
    schema: Schema = "auto",
    languages: str | Iterable[str] | None = None,
) -> EditSet:
    """Read the edits of MzsRE, Bi-ZsRE, BMIKE-53 or MLaKE.

    Files of several language pairs become one case for each edit, with all its languages. Records
    are the same edit if they have the same `case_id` and English question (if a file asks a
    question more than once, the same time it is asked), in MLaKE the same number. They must agree
    on the subject and new answer; for everything else the first file counts. A multi-hop question
    of MLaKE becomes portability of the case whose statement it repeats, whatever its language, so
    give the English single-hop file beside those of other languages.

    Args:
        path: a file (a JSON array or JSON lines), a folder of them, or several of either.
        schema: what the files are; "auto" tells by their fields.
        languages: the ones to keep, all by default, in any form of a tag: "cz", "zh-CN".

    Raises:
        FactError: naming file, record and field of the first that cannot be used.
        FileNotFoundError: for a path that does not exist.
        ValueError: for an unknown schema or a language that no case has.
    """
    drafts = Drafts()
    multi_hops: list[tuple[str, Path, dict[str, Any]]] = []
    files = _files(path)
    for file in files:
        multi_hops += _read_file(drafts, file, schema)
    _add_multi_hops(drafts, multi_hops)
    cases = drafts.cases(files)
    return cases if languages is None else cases.filter(languages=languages)


def _read_file(
    drafts: Drafts, file: Path, schema: Schema
) -> list[tuple[str, Path, dict[str, Any]]]:
    """Add the records of a file. Returns MLaKE's multi-hop questions, which need all edits."""
    multi_hops = []
    times_asked: Counter[str] = Counter()
    n_records = n_single_hops = 0
    for where, record in _array(file):
        n_records += 1
        source = "mlake" if "question" in record else _pair_schema(file, record)
        if schema != "auto" and (schema == "mlake") != (source == "mlake"):
            name = "question" if schema == "mlake" else "src"
            raise FactError(
                f"{where}, field {name!r}: missing, so this is no record of {schema!r}; "
                f"it looks like {source!r}"
            )
        if source != "mlake":
            _add_pair(drafts, where, record, source if schema == "auto" else schema, times_asked)
        elif "e_answer" in record and "o_answer" in record:
            n_single_hops += 1
            _add_single_hop(drafts, where, file, record, n_single_hops)
        else:
            multi_hops.append((where, file, record))
    if not n_records:
        raise FactError(f"{file} holds no record; it needs a JSON array or JSON lines")
    if n_single_hops:
        drafts.single_hops[str(file)] = n_single_hops
    return multi_hops


def _files(path: str | Path | Iterable[str | Path]) -> list[Path]:
    paths = [path] if isinstance(path, str | Path) else in_order(path)
    if not paths:
        raise wrong("path", path, "the path of a file or folder, or a list of one or more")
    files: list[Path] = []
    for file_or_folder in [a_path("path", item) for item in paths]:
        if not is_folder(file_or_folder):
            files.append(file_or_folder)
            continue
        inside = [x for x in inside_of(file_or_folder) if x.suffix in (".json", ".jsonl")]
        if not inside:
            raise FactError(f"the folder {file_or_folder} holds no .json or .jsonl file")
        files += inside
    return files


def _array(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the record, of a JSON array or of JSON lines."""
    text = read_text(path)
    if not text.lstrip().startswith("["):
        yield from records(path)
        return
    for number, record in enumerate(parsed(str(path), text), 1):
        where = f"{path}, record {number}"
        yield where, as_object(where, record)


def _pair_schema(file: Path, record: Mapping[str, Any]) -> str:
    blocks = [block for block in record.values() if isinstance(block, dict)]
    if any("port" in block or "case_id" in block for block in blocks):
        return "bmike53"
    return "bizsre" if "bizsre" in file.name.lower() else "mzsre"


def _blocks(where: str, record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The part of a record in each language."""
    blocks: dict[str, dict[str, Any]] = {}
    for key, block in record.items():
        if not _TAG.fullmatch(key) or block is None:
            continue
        if not isinstance(block, dict):
            if key.lower() == "id" or isinstance(block, int | float):  # a number of the record
                continue
            raise FactError(
                f"{where}, field {key!r}: {quoted(block)}, but a language's part is an object"
            )
        try:
            language = language_code(key)
        except ValueError as error:
            if "src" not in block:
                continue
            raise FactError(f"{where}, field {key!r}: {error}") from None
        if language in blocks:
            raise FactError(f"{where}, field {key!r}: a second part in {language!r}")
        blocks[language] = block
    return blocks


def _add_pair(
    drafts: Drafts,
    where: str,
    record: Mapping[str, Any],
    source: str,
    times_asked: Counter[str],
) -> None:
    """Add a record of MzsRE, Bi-ZsRE or BMIKE-53."""
    blocks = _blocks(where, record)
    usable = {
        language: block
        for language, block in blocks.items()
        if field_text(f"{where}, language {language!r}", block, "src")
        and field_text(f"{where}, language {language!r}", block, "alt")
    }
    if not usable:
        raise FactError(
            f"{where}, field 'src': no language with a question 'src' and a new answer 'alt'"
        )
    drafts.left_out["parts without a question or answer"] += len(blocks) - len(usable)
    if len(blocks) < 2:
        drafts.left_out["second languages of a record"] += 1
    first = next(iter(usable.values()))
    name = field_text(where, first, "case_id") or None
    question = normal(field_text(where, blocks.get("en", {}), "src"))
    key = (name or "", question or where)
    times_asked["\n".join(key)] += 1
    times = times_asked["\n".join(key)]
    if name is not None and times > 1:
        raise FactError(f"{where}, field 'case_id': {shown(name)} stands in an earlier record too")
    id = drafts.id_of(source, (*key, str(times)), name, where)
    for language, block in usable.items():
        drafts.add(id, _draft(f"{where}, language {language!r}", id, language, block))


def _draft(where: str, id: str, language: str, block: Mapping[str, Any]) -> Draft:
    def text(name: str) -> str:
        return field_text(where, block, name)

    def questions(role: str, pairs: list[tuple[str, str]], subject: str = "") -> list[Prompt]:
        return [
            make_prompt(f"{id}/{role}", number, question, answer, language, subject)
            for number, (question, answer) in enumerate(pairs)
            if question and answer
        ]

    subject, answer = text("subject"), text("alt")
    portability = [(text("port"), text("port_ans")), *_portability(where, block)]
    return Draft(
        where=where,
        edit=make_prompt(id, 0, text("src"), answer, language, subject),
        old=text("old"),
        rephrased=[
            make_prompt(id, number, question, answer, language, subject)
            for number, question in enumerate(field_texts(where, block, "rephrase"), 1)
        ],
        locality=questions("locality", [(text("loc"), text("loc_ans"))]),
        portability=questions("portability", portability, subject),
    )


def _portability(where: str, block: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the (question, answer) pairs of the field 'portability', which holds one or a list."""
    value = block.get("portability")
    place = f"{where}, field 'portability'"
    for item in value if isinstance(value, list) else [value]:
        if item is not None and not isinstance(item, dict):
            raise FactError(
                f"{place}: {quoted(item)}, but it must hold 'New Question' and 'New Answer'"
            )
        yield (
            field_text(place, item or {}, "New Question"),
            field_text(place, item or {}, "New Answer"),
        )


def _mlake_language(where: str, file: Path) -> str:
    languages = [x for x in re.split(r"[^a-z]+", file.stem.lower()) if x in _MLAKE_LANGUAGES]
    if not languages:
        raise FactError(
            f"{where}: MLaKE's language stands in the file's name, as in fr_qa.json, but not in "
            f"{file.name}; there are {', '.join(_MLAKE_LANGUAGES)}"
        )
    return languages[-1]


def _answer(where: str, record: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    """(question, new answer, its aliases) of a record of MLaKE; "" for what is missing."""
    question, answer = field_text(where, record, "question"), field_text(where, record, "e_answer")
    return question, answer, tuple(field_texts(where, record, "e_answer_aliases"))


def _add_single_hop(
    drafts: Drafts, where: str, file: Path, record: Mapping[str, Any], number: int
) -> None:
    language = _mlake_language(where, file)
    question, answer, aliases = _answer(where, record)
    if not question or not answer:
        drafts.left_out["parts without a question or answer"] += 1
        return
    id = f"mlake/{number}"
    edit = make_prompt(id, 0, question, answer, language, aliases=aliases)
    old = field_text(where, record, "o_answer")
    drafts.add(id, Draft(where, edit, old, statement=field_text(where, record, "e_prompt")))


def _add_multi_hops(drafts: Drafts, multi_hops: Iterable[tuple[str, Path, dict[str, Any]]]) -> None:
    """Add MLaKE's questions over several facts to the portability of the edits they name."""
    id_of: dict[str, str] = {}
    for id, by_language in drafts.by_id.items():
        for draft in by_language.values():
            if draft.statement:
                id_of.setdefault(normal(draft.statement), id)
    for where, file, record in multi_hops:
        language = _mlake_language(where, file)
        question, answer, aliases = _answer(where, record)
        id = id_of.get(normal(field_text(where, record, "e_prompt")), "")
        edited = drafts.by_id.get(id, {}).get(language)
        if "e_answer" not in record:
            drafts.left_out["multi-hop questions about the time before the edit"] += 1
        elif not question or not answer or edited is None:
            drafts.left_out["multi-hop questions of no edit here"] += 1
        else:
            number = len(edited.portability)
            edited.portability.append(
                make_prompt(
                    f"{id}/portability", number, question, answer, language, aliases=aliases
                )
            )
