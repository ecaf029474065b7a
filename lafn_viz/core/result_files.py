"""Results as JSON files: where those that come along are, and tables as JSON."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lafn_viz.core.json_records import FactError, as_object, as_text, is_file, parsed, read_text
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
    where: str,
    record: Mapping[str, Any],
    columns: Collection[str] = (),
    *,
    texts: Collection[str] = (),
) -> "pd.DataFrame":
    """The table of such a record.

    Args:
        columns: that it must have.
        texts: those of them that hold texts; the others hold numbers.

    Raises:
        FactError: if it is no table, lacks a column, or one holds something else.
    """
    import pandas as pd

    names, rows = record.get("columns"), record.get("data")
    if (
        not isinstance(rows, list)
        or not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) < len(names)
        or not all(isinstance(row, list) and len(row) == len(names) for row in rows)
        or not all(isinstance(x, str | int | float | None) for row in rows for x in row)
    ):
        raise FactError(
            f"{where}: a table cannot be read: it is not a list of columns and one of rows with a "
            "text or a number for each"
        )
    for cell in (*names, *(x for row in rows for x in row if isinstance(x, str))):
        as_text(f"{where}: a table", cell)
    table = pd.DataFrame(rows, columns=names)
    if missing := [column for column in columns if column not in names]:
        raise FactError(
            f"{where}: a table has no column {quoted(missing[0])}; it needs {listed(columns)}"
        )
    for column in columns:
        if column not in texts and table[column].isna().all():
            table[column] = table[column].astype(float)
        holds_texts = all(isinstance(x, str) for x in table[column])
        if not (holds_texts if column in texts else pd.api.types.is_numeric_dtype(table[column])):
            wanted = "texts" if column in texts else "numbers"
            raise FactError(f"{where}: column {quoted(column)} of a table holds not only {wanted}")
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
