"""Keep the answers of an evaluation on disk, case by case, so that a stopped one can resume.

The file is JSON lines. The first line holds the model's weights and the options of the evaluation;
each further line holds one case: its id, a checksum of its contents, and its answers. Answers are
used again only for a case with the same id and contents. A case that has changed is evaluated anew
and appended; the old line stays, and counts again when the case is given as it was.

Lines are appended whole. A process that is killed while it writes leaves a line without an end,
which is cut off when the file is opened again.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lafn_viz.core.arguments import a_path, takes
from lafn_viz.core.files import checksum_of, write_whole
from lafn_viz.core.json_records import (
    FactError,
    as_object,
    decoded,
    parsed,
    read_bytes,
    record_text,
    value_of,
)
from lafn_viz.core.messages import listed, quoted
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.editing.evaluation.answers import Answered, Evaluation

# What the file calls two fields of `Answered`.
MODEL = "model"  # the field of the first line that has the model's name
_NAMES_ON_DISK = {"token_accuracy_before": "right_before", "token_accuracy": "right"}


class EvaluationJournal:
    """The answers of the cases that are evaluated already, in memory and in a file if one is given.

    Args:
        file: JSON lines, begun if it does not exist.
        source: the provenance of the evaluation; a file of another one is refused.
        edited_with: the cases that are edited at once with every case. The answers to a case then
            depend on the contents of them all.

    Raises:
        ValueError: for a file of another evaluation.
        FactError: for a line that cannot be read, or one without a checksum.
        FileNotFoundError: for a folder in place of the file.
    """

    def __init__(
        self, file: Path | None, source: Provenance, *, edited_with: Sequence[EditCase] = ()
    ) -> None:
        self._file, self.source = file, source
        self._edited_with = [_contents(case) for case in edited_with]
        self._answers: dict[tuple[str, str], list[Answered]] = {}
        if file is not None:
            head = {MODEL: source.model, "weights": source.weights, **source.options}
            self._open(file, head)

    def answers_of(self, case: EditCase) -> list[Answered] | None:
        """The answers to a case, or None if it has still to be evaluated."""
        return self._answers.get((case.id, self._checksum(case)))

    def latest(self, cases: Sequence[str]) -> tuple[Answered, ...]:
        """All answers to some cases, by their ids; to a case that has changed the last ones."""
        by_id = {case: answers for (case, _), answers in self._answers.items()}
        return tuple(answer for case in cases for answer in by_id.get(case, ()))

    def add(self, case: EditCase, answers: list[Answered]) -> None:
        """Keep the answers to a case, in the file too."""
        checksum = self._checksum(case)
        self._answers[case.id, checksum] = answers
        if self._file is not None:
            records = [_to_record(answer) for answer in answers]
            line = {"case": case.id, "checksum": checksum, "answers": records}
            with self._file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _checksum(self, case: EditCase) -> str:
        """What identifies the contents of a case and of all cases that are edited with it."""
        if not self._edited_with:
            return _contents(case)
        return checksum_of(" ".join([_contents(case), *self._edited_with]))

    def _open(self, file: Path, options: dict[str, Any]) -> None:
        head = json.loads(json.dumps(options))
        if not file.exists() or (file.is_file() and not file.stat().st_size):
            first = json.dumps(head, ensure_ascii=False) + "\n"
            write_whole(file, lambda beside: beside.write_text(first, encoding="utf-8"))
            return
        raw = read_bytes(file, give="a file to keep what is done in")
        *lines, unfinished = raw.split(b"\n")
        _require_head(file, lines[0] if lines else None, head)
        for number, line in enumerate(lines[1:], 2):
            self._read(f"{file}, line {number}", line)
        if unfinished:
            os.truncate(file, len(raw) - len(unfinished))

    def _read(self, where: str, line: bytes) -> None:
        """Take in the case of one line."""
        try:
            record = as_object(where, parsed(where, decoded(where, line)))
            case = record_text(where, record, "case")
            checksum = record_text(where, record, "checksum") if "checksum" in record else None
            renamed = {"answers": _renamed(record.get("answers"))}
            answers = value_of(where, renamed, "answers", tuple[Answered, ...])
            if other := [answer.case for answer in answers if answer.case != case]:
                raise FactError(f"{where}: an answer is of {quoted(other[0])}, not {quoted(case)}")
        except FactError as error:
            raise FactError(f"{error}; remove this line, and its case is done anew") from None
        if checksum is None:
            raise FactError(
                f"{where} has no checksum: an earlier version wrote it, which did not record what "
                "the cases held; give another file, and all cases are evaluated anew"
            )
        self._answers[case, checksum] = list(answers)


def _require_head(file: Path, line: bytes | None, head: dict[str, Any]) -> None:
    """Refuse a file whose first line is not that of this evaluation."""
    try:
        first_line = None if line is None else parsed(str(file), decoded(str(file), line))
    except FactError:
        first_line = None
    given = first_line if isinstance(first_line, dict) else {}
    # The weights say which model it is; earlier versions did not keep its name.
    compared = [name for name in {**head, **given} if name != MODEL]
    differing = [name for name in compared if given.get(name) != head.get(name)]
    if differing or not given:
        raise ValueError(
            f"{file} holds another evaluation (its {listed(differing) or 'options'} differ); "
            "give another file, or evaluate as before"
        )


def _contents(case: EditCase) -> str:
    """The SHA-256 of everything that a case holds, in its order: that of its questions."""
    return checksum_of(json.dumps(asdict(case)))


def _to_record(answer: Answered) -> dict[str, Any]:
    """An answer as the file holds it."""
    return {_NAMES_ON_DISK.get(name, name): value for name, value in asdict(answer).items()}


def _renamed(answers: Any) -> Any:
    """The answers of a line with the names that `Answered` has; all else as it is."""
    if not isinstance(answers, list):
        return answers
    names = {on_disk: name for name, on_disk in _NAMES_ON_DISK.items()}
    return [
        {names.get(key, key): value for key, value in answer.items()}
        if isinstance(answer, dict)
        else answer
        for answer in answers
    ]


@takes(file=a_path)
def load_evaluation(file: str | Path) -> Evaluation:
    """Read the answers that `evaluate(..., file=...)` has kept, for as many cases as are done.

    Raises:
        FileNotFoundError: if there is no such file.
        FactError: for a file that holds something else, or a line that cannot be read.
    """
    path = Path(file)
    raw = read_bytes(path, give="a file that evaluate() kept its answers in")
    first, *lines = raw.split(b"\n")
    where = f"{path}, line 1"
    head = as_object(where, parsed(where, decoded(where, first)))
    editor = record_text(where, head, "editor")
    weights = record_text(where, head, "weights")
    cases = value_of(where, head, "cases", tuple[str, ...])
    options = {name: value for name, value in head.items() if name not in ("weights", MODEL)}
    model = str(head.get(MODEL) or f"weights {weights[:12]}")
    journal = EvaluationJournal(None, Provenance(model, weights, "evaluate", options))
    for number, line in enumerate(lines[:-1], 2):
        journal._read(f"{path}, line {number}", line)
    return Evaluation(editor, journal.latest(cases), journal.source)
