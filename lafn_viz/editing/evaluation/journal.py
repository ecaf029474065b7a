"""Keep the cases of an evaluation on disk as they are done, so that it can resume."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from lafn_viz.core.json_records import (
    FactError,
    as_object,
    decoded,
    parsed,
    read_bytes,
    record_text,
    value_of,
)
from lafn_viz.core.provenance import Provenance
from lafn_viz.editing.evaluation.answers import Answered


class _Done:
    """What is evaluated already, by case: in memory, and on disk if there is a file."""

    def __init__(self, file: Path | None, source: Provenance) -> None:
        self.file, self.of = file, dict[str, list[Answered]]()
        if file is None:
            return
        head = json.loads(json.dumps({"weights": source.weights, **source.options}))
        if not file.exists() or (file.is_file() and not file.stat().st_size):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(head, ensure_ascii=False) + "\n", encoding="utf-8")
            return
        raw = read_bytes(file, give="a file to keep what is done in")
        # Whoever is killed while writing leaves a line without an end: that case is done anew.
        *whole, cut = raw.split(b"\n")
        try:
            there = parsed(str(file), decoded(str(file), whole[0])) if whole else None
        except FactError:
            there = None
        if not isinstance(there, dict) or there != head:
            told = there if isinstance(there, dict) else {}
            differs = [name for name in head if told.get(name) != head[name]]
            raise ValueError(
                f"{file} holds another evaluation (its {', '.join(differs) or 'options'} differ); "
                "give another file, or evaluate as before"
            )
        for number, line in enumerate(whole[1:], 2):
            where = f"{file}, line {number}"
            try:
                record = as_object(where, parsed(where, decoded(where, line)))
                case = record_text(where, record, "case")
                self.of[case] = [*value_of(where, record, "answers", tuple[Answered, ...])]
            except FactError as error:
                raise FactError(f"{error}; remove this line, and its case is done anew") from None
        if cut:
            os.truncate(file, len(raw) - len(cut))

    def add(self, case: str, answers: list[Answered]) -> None:
        self.of[case] = answers
        if self.file is not None:
            line = json.dumps(
                {"case": case, "answers": [asdict(one) for one in answers]}, ensure_ascii=False
            )
            with self.file.open("a", encoding="utf-8") as out:
                out.write(line + "\n")
