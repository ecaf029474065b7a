"""`sweep.json`: what a folder holds, compared with what a sweep wants to write to it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lafn_viz.core.files import write_json
from lafn_viz.experiments.schema import SCHEMA
from lafn_viz.experiments.store import StoreError, read_head


def write_head(folder: Path, head: Mapping[str, Any], n_shards: int) -> None:
    """Write `sweep.json`."""
    write_json(folder / "sweep.json", {"schema": SCHEMA, **head, "shards": n_shards})


def compare_head(folder: Path, head: Mapping[str, Any], n_shards: int, *, may_mend: bool) -> bool:
    """Require that a folder is empty or holds this sweep. Returns whether its items were mended.

    Args:
        may_mend: let a store pass whose facts or edits are as many and have other contents.

    Raises:
        StoreError: for a folder that holds another sweep or something else.
    """
    existing = read_head(folder)
    if existing is None:
        others = [path.name for path in folder.iterdir() if path.name != ".lock"]
        if others:
            raise StoreError(
                f"{folder} is not empty and holds no sweep ({sorted(others)[0]}, ...); give "
                "another folder"
            )
        write_head(folder, head, n_shards)
        return False
    expected = json.loads(json.dumps({"schema": SCHEMA, **head, "shards": n_shards}))
    differences = list(_differences(existing, expected))
    contents = [name for name in differences if name.startswith(("facts.", "cases."))]
    mended = contents == differences and not {"facts.count", "cases.count"} & set(contents)
    if differences and not (mended and may_mend):
        raise StoreError(
            f"{folder} holds another sweep (its {', '.join(differences)} differ); give another "
            "folder, or sweep with the same model, facts and options as before"
            + (", or retry (--retry) if you mended what failed" if mended else "")
        )
    return bool(differences)


def _differences(existing: Any, expected: Any, name: str = "") -> Iterator[str]:
    """Yield the names of the fields that differ, such as options.seed."""
    if isinstance(existing, dict) and isinstance(expected, dict):
        for key in dict.fromkeys([*expected, *existing]):
            inner = f"{name}.{key}".strip(".")
            yield from _differences(existing.get(key), expected.get(key), inner)
    elif existing != expected:
        yield name
