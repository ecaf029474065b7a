"""Results as JSON files: where those that come along are, and tables as JSON."""

import json
from collections.abc import Collection, Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lafn_viz.core.json_records import FactError, as_object, is_file, parsed, read_text
from lafn_viz.core.messages import listed, quoted
from lafn_viz.core.paths import data_folder

if TYPE_CHECKING:
    import pandas as pd


def table_record(table: "pd.DataFrame", *, digits: int) -> dict[str, Any]:
    """A table as a JSON record of its columns and rows, rounded."""
    text = table.to_json(orient="split", index=False, double_precision=digits)
    record: dict[str, Any] = json.loads(text)
    return record


def table_of(
    where: str, record: Mapping[str, Any], columns: Collection[str] = ()
) -> "pd.DataFrame":
    """The table of such a record. Raises FactError if it is none, or lacks a column."""
    import pandas as pd

    try:
        table = pd.read_json(StringIO(json.dumps(record)), orient="split")
    except (ValueError, TypeError, AttributeError) as error:
        raise FactError(f"{where}: a table cannot be read: {error}") from None
    if missing := [column for column in columns if column not in table.columns]:
        raise FactError(
            f"{where}: a table has no column {quoted(missing[0])}; it needs {listed(columns)}"
        )
    return table


def read_result(
    source: str | Path, *, folder: str, what: str, written_by: str
) -> tuple[str, dict[str, Any]]:
    """Read a result's file, or that of a model by its name from those that come along.

    Args:
        folder: of the results that come along, below the package's data.
        what, written_by: of the file, for messages.

    Returns:
        The path, for messages, and the record.

    Raises:
        FileNotFoundError: if there is no such file and no result of such a model.
        FactError: for a file that holds no JSON object.
    """
    shipped = data_folder() / folder / f"{source}.json"
    path = shipped if is_file(shipped) else Path(source)
    if not is_file(path):
        there = sorted(file.stem for file in shipped.parent.glob("*.json"))
        named = f", or one of {', '.join(there)}" if there else ""
        raise FileNotFoundError(
            f"there is no {what} {quoted(str(source))}; give the path of a file that "
            f"{written_by} wrote{named}"
        )
    where = str(path)
    return where, as_object(where, parsed(where, read_text(path)))
