"""Results of `evidence` as files: tables that a notebook, a page or another program can read.

One JSON file per model holds where the result comes from, the facts of both halves and every table.
The package ships those of the models in its README, so that they can be shown without hours of
computing; `lafn-viz evidence` makes them anew.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lafn_viz.core.arguments import a_result, takes
from lafn_viz.core.files import write_json
from lafn_viz.core.json_records import read_as, value_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.result_files import read_result, table_of, table_record
from lafn_viz.experiments.evidence import Evidence

DIGITS = 6  # after the decimal point


@dataclass(frozen=True)
class SavedEvidence:
    """Evidence as it was saved: its tables (see `Evidence.tables`) and what they rest on.

    The options of each of the `halves`, a `criterion` and a `fraction` of neurons, were chosen on
    the other half. `tables` are pandas DataFrames by name.
    """

    model: str
    halves: tuple[tuple[str, ...], tuple[str, ...]]
    criterion: tuple[str, str]
    fraction: tuple[float, float]
    n_prompts: int
    n_known: int
    n_choosing: int
    n_measured: int
    provenance: Provenance
    tables: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"SavedEvidence({len(self.facts)} facts in {self.model})"

    @property
    def facts(self) -> tuple[str, ...]:
        """The ids of the facts that take part, those of the first half first."""
        return self.halves[0] + self.halves[1]


@takes(evidence=a_result(Evidence))
def save_evidence(evidence: Evidence, path: str | Path) -> None:
    """Write evidence to a JSON file, which is there as a whole or not at all."""
    parts, known = evidence.examinations, evidence.answers.known
    record: dict[str, Any] = {
        "model": evidence.model,
        "halves": evidence.halves,
        "criterion": [str(part.overlap.criterion) for part in parts],
        "fraction": [options["fraction"] for options in evidence.chosen],
        "n_prompts": len(known),
        "n_known": int(known.sum()),
        "n_choosing": sum(part.n_choosing for part in parts),
        "n_measured": evidence.n_measured,
        "provenance": asdict(parts[0].scores.provenance),
        "tables": {
            name: table_record(frame, digits=DIGITS) for name, frame in evidence.tables().items()
        },
    }
    write_json(Path(path), record)


def load_evidence(source: str | Path) -> SavedEvidence:
    """Read evidence from a file, or that of a model by its name from those that come along.

    Raises:
        FileNotFoundError: if there is no such file and no result of such a model.
        FactError: for a file that does not hold evidence.
    """
    where, record = read_result(
        source, folder="results", what="evidence", written_by="`lafn-viz evidence`"
    )
    given = value_of(where, record, "tables", Mapping[str, Any])
    tables = {name: table_of(where, table) for name, table in given.items()}
    about = {name: value for name, value in record.items() if name != "tables"}
    saved: SavedEvidence = read_as(where, about, SavedEvidence, tables=tables)
    return saved
