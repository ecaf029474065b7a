"""The records that a cache of edits writes to its folder and reads from it."""

import json
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor

from lafn_viz.core.json_records import FactError, read_as
from lafn_viz.editing.edit import Edit


def _plain(records: Any) -> str:
    return json.dumps(records, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _to_record(edit: Edit) -> dict[str, Any]:
    """An edit without its values, as JSON holds it."""
    record = {
        field.name: getattr(edit, field.name) for field in fields(Edit) if field.name != "values"
    }
    record["prompts"] = [asdict(prompt) for prompt in edit.prompts]
    record["provenance"] = asdict(edit.provenance)
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def _from_record(where: str, record: Any, values: Tensor) -> Edit:
    """The edit that a record says. Raises FactError, naming the field that cannot be."""
    edit: Edit = read_as(where, record, Edit, values=values)
    for field, at_least_one in (
        ("neurons", edit.neurons),
        ("names", edit.names and min(map(len, edit.names.values()))),
        ("new", edit.new),
        ("curve", edit.curve),
    ):
        if not at_least_one:
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
