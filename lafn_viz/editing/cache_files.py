"""Write edits to a folder and read them back.

1. `edits.json` holds everything but the values: a format number, the records of the edits, their
   checksum and that of the values.
2. `values.safetensors` holds the values of edit i under the name "i", and the weights of its gate,
   if it has one, under "i.gate".

Both are plain data; reading them runs no code. A folder is written whole or not at all, and is
refused when a checksum or a field is wrong.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lafn_viz.core.files import checksum, checksum_of, whole_folder
from lafn_viz.core.json_records import (
    FactError,
    as_object,
    decoded,
    parsed,
    read_as,
    read_bytes,
    value_of,
)
from lafn_viz.core.messages import in_one_line, quoted, with_kind
from lafn_viz.datasets.prompts import Prompt
from lafn_viz.editing.edit import Edit, EditError
from lafn_viz.editing.gate import RelationGate

FORMAT, UNGATED = 2, 1  # versions before gates read 1, and so do caches in which no edit has one
EDITS, VALUES = "edits.json", "values.safetensors"


def save_edits(folder: Path, edits: Sequence[Edit]) -> None:
    """Write edits to a folder, in place of those that it holds.

    Raises:
        EditError: if the folder exists and holds no edits.
    """
    from safetensors.torch import save_file

    if folder.exists() and not (folder / EDITS).is_file():
        raise EditError(f"{folder} is there and holds no {EDITS}; give another folder")
    with whole_folder(folder) as new:
        # Clones, because edits may share their memory and tensors in a safetensors file may not.
        tensors = {str(i): edit.values.clone() for i, edit in enumerate(edits)}
        gates = {f"{i}.gate": x.gate.weights.clone() for i, x in enumerate(edits) if x.gate}
        save_file(tensors | gates, new / VALUES)
        records = [_to_record(edit) for edit in edits]
        content = {
            "format": FORMAT if gates else UNGATED,
            "values": checksum(new / VALUES),
            "edits_checksum": checksum_of(canonical(records)),
            "edits": records,
        }
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (new / EDITS).write_text(text, encoding="utf-8")


def load_edits(folder: Path) -> list[Edit]:
    """Read the edits that `save_edits` wrote to a folder.

    Raises:
        FileNotFoundError: naming the missing file.
        EditError: for a file that is damaged, of another format, or changed by hand.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    records, raw_values = _checked(folder)
    try:
        values = load(raw_values)
        places = [f"{folder / EDITS}, edit {i + 1}" for i in range(len(records))]
        gated = [i for i, x in enumerate(records) if "gate" in as_object(places[i], x)]
        names = {*map(str, range(len(records))), *(f"{i}.gate" for i in gated)}
        if set(values) != names:
            raise ValueError(
                f"values of {len(names)} edits and gates should be there, and are of {len(values)}"
            )
        return [
            _from_record(places[i], record, values[str(i)], values.get(f"{i}.gate"))
            for i, record in enumerate(records)
        ]
    except SafetensorError as error:
        raise unusable(folder, in_one_line(error)) from None
    except ValueError as error:
        raise unusable(folder, str(error)) from None


def unusable(folder: Path, reason: str) -> EditError:
    """The error to raise for a folder whose files are whole but do not hold a cache."""
    return EditError(f"{folder} does not hold what a cache holds ({reason}); make the edits anew")


def canonical(records: Any) -> str:
    """The JSON text of records that their checksum is computed from."""
    return json.dumps(records, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _checked(folder: Path) -> tuple[list[Any], bytes]:
    """The records of the edits and the bytes of their values, if format and checksums are right."""
    path, give = folder / EDITS, "a folder that EditCache.save() wrote"
    try:
        text = decoded(str(path), read_bytes(path, give=give))
        raw_values = read_bytes(folder / VALUES, give=give)
        content = as_object(str(path), parsed(str(path), text))
        number = value_of(str(path), content, "format", int)
    except FactError as error:
        raise EditError(f"{path} is damaged ({error}); save the cache again") from None
    if number not in (UNGATED, FORMAT):
        raise EditError(
            f"{path} has format {quoted(number)}, this version reads {UNGATED} and {FORMAT}; "
            "update lafn_viz, or make the edits anew"
        )
    try:
        records: list[Any] = value_of(str(path), content, "edits", list)
        checksums = {  # by file: as it is now, and as it was saved
            VALUES: (checksum_of(raw_values), value_of(str(path), content, "values", str)),
            EDITS: (
                checksum_of(canonical(records)),
                value_of(str(path), content, "edits_checksum", str),
            ),
        }
    except (ValueError, RecursionError) as error:
        raise EditError(f"{path} is damaged ({with_kind(error)}); save the cache again") from None
    for name, (now, saved) in checksums.items():
        if now != saved:
            raise EditError(
                f"{folder / name} was changed or damaged since it was saved (its checksum "
                "differs); copy it again, or make the edits anew"
            )
    return records, raw_values


def _to_record(edit: Edit) -> dict[str, Any]:
    """An edit as JSON holds it, without its values and the weights of its gate."""
    record = {
        field.name: getattr(edit, field.name)
        for field in fields(Edit)
        if field.name not in ("values", "gate")
    }
    if edit.gate is not None:
        record["gate"] = {name: getattr(edit.gate, name) for name in ("bias", "step", "n_prompts")}
    record["prompts"] = [_prompt_record(prompt) for prompt in edit.prompts]
    record["provenance"] = asdict(edit.provenance)
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def _prompt_record(prompt: Prompt) -> dict[str, Any]:
    record = asdict(prompt)
    if not prompt.examples:  # an older version reads a prompt without them
        del record["examples"]
    return record


def _from_record(where: str, record: Any, values: Tensor, gate: Tensor | None) -> Edit:
    """The edit of a record. Raises FactError, naming the field that is wrong.

    Args:
        gate: the weights of its gate, if it has one.
    """
    ungated = {name: value for name, value in record.items() if name != "gate"}
    edit: Edit = read_as(where, ungated, Edit, values=values, gate=None)
    if gate is not None:
        place = f"{where}, field 'gate'"
        if gate.ndim != 1 or not gate.is_floating_point():
            raise FactError(f"{place}: its weights are not a one-dimensional float tensor")
        probe = read_as(place, record["gate"], RelationGate, weights=gate)
        edit = replace(edit, gate=probe)
    for field, content in (
        ("neurons", edit.neurons),
        ("names", edit.names and min(map(len, edit.names.values()))),
        ("new", edit.new),
        ("curve", edit.curve),
    ):
        if not content:
            raise FactError(f"{where}, field {field!r}: empty, but it must hold something")
    if len(set(edit.neurons)) < len(edit.neurons) or min(map(min, edit.neurons)) < 0:
        raise FactError(f"{where}, field 'neurons': one stands twice or has a negative number")
    fits = values.shape == (len(edit.neurons),) and values.is_floating_point()
    if not fits or not torch.isfinite(values).all():
        raise FactError(
            f"{where}: {len(edit.neurons)} neurons, but values of shape {tuple(values.shape)} and "
            f"{values.dtype}, or some that are not finite"
        )
    return edit
