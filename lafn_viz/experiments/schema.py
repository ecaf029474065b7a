"""The tables of a store: their columns and types, and conversions to and from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from lafn_viz.core.provenance import Provenance
from lafn_viz.editing.evaluation.metrics import ANSWER_METRICS
from lafn_viz.interventions.effects import MEASUREMENTS, Effects
from lafn_viz.neurons.neuron_sets import Neuron, NeuronSet

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SCHEMA = 3  # goes up when a table changes its columns or their meaning
_FACT = {"model": "string", "method": "string", "fact_id": "string", "relation": "string"}
_PROMPT = {**_FACT, "language": "string", "paraphrase": "int32"}
_EDIT = {"model": "string", "editor": "string", "case": "string"}
MEASURED = {f"{quantity}_{kind}": "double" for quantity in ("p", "log_p") for kind in MEASUREMENTS}
# The columns of each table and their types. docs/howto/sweep.md explains them.
FACT_TABLES: dict[str, dict[str, str]] = {
    "prompts": {
        **_PROMPT, "split": "string", "text": "string", "answer": "string",
        "probability": "float", "known": "bool", "relative_error": "float", "n_points": "int32",
        "dense": "string", "row": "int32",
    },
    "scores": {
        **_PROMPT, "place": "int32", "layer": "int32", "neuron": "int32", "score": "float",
    },
    "sets": {
        **_FACT, "language": "string", "subject": "string", "object": "string",
        "n_prompts": "int32", "n_known": "int32", "known": "bool", "n_neurons": "int32",
        "n_agnostic": "int32", "n_specific": "int32",
    },
    "neurons": {
        **_FACT, "language": "string", "layer": "int32", "neuron": "int32",
        "n_languages": "int32", "n_scripts": "int32", "agnostic": "bool", "specific": "bool",
    },
    "overlap": {
        **_FACT, "language": "string", "other_language": "string", "jaccard": "double",
        "other_fact": "double", "chance": "double", "coefficient": "double",
    },
    "effects": {
        **_FACT, "how": "string", "set": "string", "language": "string", "n_neurons": "int32",
        **MEASURED,
    },
    "lens": {
        "model": "string", "fact_id": "string", "relation": "string", "language": "string",
        "layer": "int32", "name": "string", "share": "double", "control": "double",
        "n_prompts": "int32",
    },
}  # fmt: skip
CASE_TABLES: dict[str, dict[str, str]] = {
    "edits": {
        **_EDIT, "subject_id": "string", "relation": "string", "position": "string",
        "layer": "int32", "neuron": "int32", "value": "float",
    },
    "answers": {
        **_EDIT, "edited_in": "string", "metric": "string", "language": "string", "text": "string",
        "reference": "string", "aliases": "list<string>", "before": "string", "after": "string",
        **dict.fromkeys(ANSWER_METRICS, "double"), "token_accuracy_before": "double",
    },
}  # fmt: skip
FAILURES = {
    "failures": {
        "model": "string", "item": "string", "stage": "string", "error": "string",
        "reason": "string",
    }
}  # fmt: skip
TABLES = {**FACT_TABLES, **CASE_TABLES, **FAILURES}
# The column that names the item of a row.
OWNER = {
    **dict.fromkeys(FACT_TABLES, "fact_id"), **dict.fromkeys(CASE_TABLES, "case"),
    "failures": "item",
}  # fmt: skip

Tables = Mapping[str, "pa.Table"]


@dataclass(frozen=True)
class ItemResult:
    """The result of one item: rows of some tables and, if kept, all scores by method.

    `inputs` are the checksums of what it comes from: its own record, then those of the other facts
    that were looked at.
    """

    tables: Tables
    dense: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()


def dense_file(number: int) -> str:
    """The file of the store that holds all scores of an item."""
    return f"dense/{number:05d}.safetensors"


def schema(table: str) -> "pa.Schema":
    """The columns of a table as an Arrow schema."""
    import pyarrow as pa

    kinds = {
        "string": pa.string(), "int32": pa.int32(), "float": pa.float32(), "double": pa.float64(),
        "bool": pa.bool_(), "list<string>": pa.list_(pa.string()),
    }  # fmt: skip
    return pa.schema([(name, kinds[kind]) for name, kind in TABLES[table].items()])


def table_of(name: str, frame: "pd.DataFrame", *, nulls: Iterable[str] = ()) -> "pa.Table":
    """Return a frame as a table of the store, with the columns in order and of their types.

    Args:
        nulls: the columns that the frame lacks on purpose; the table holds nulls there.

    Raises:
        ValueError: for a column that the table does not have, or one that the frame lacks.
    """
    import pyarrow as pa

    columns = schema(name)
    nulls = tuple(nulls)
    unknown = [column for column in (*frame.columns, *nulls) if column not in columns.names]
    missing = [column for column in columns.names if column not in (*frame.columns, *nulls)]
    if unknown:
        raise ValueError(
            f"the table {name!r} has no column {unknown[0]!r}; drop it, or use one of "
            f"{', '.join(columns.names)}"
        )
    if missing:
        raise ValueError(
            f"the frame for the table {name!r} lacks the column {missing[0]!r}; add it, or name it "
            f"in nulls= if it is empty on purpose; the columns are {', '.join(columns.names)}"
        )
    ordered = frame.reindex(columns=columns.names)
    table = pa.Table.from_pandas(ordered, schema=columns, preserve_index=False)
    return table.replace_schema_metadata(None)


def packed(table: "pa.Table") -> bytes:
    """A table as bytes, for the journal."""
    import pyarrow as pa

    table = table.replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def unpacked(content: bytes) -> "pa.Table":
    """The table that `packed` made bytes of."""
    import pyarrow as pa

    return pa.ipc.open_stream(content).read_all()


def sets_of(
    sets: "pd.DataFrame",
    neurons: "pd.DataFrame",
    *,
    shape: tuple[int, int],
    provenance: Provenance,
) -> list[NeuronSet]:
    """Return rows of `sets` and `neurons` (of one method) as neuron sets, in the rows' order."""
    members = {
        key: frozenset(Neuron(*pair) for pair in zip(rows["layer"], rows["neuron"], strict=True))
        for key, rows in neurons.groupby(["fact_id", "language"], sort=False)
    }
    return [
        NeuronSet(
            fact_id=row["fact_id"],
            relation=row["relation"],
            language=row["language"],
            neurons=members.get((row["fact_id"], row["language"]), frozenset()),
            n_prompts=row["n_prompts"],
            n_known=row["n_known"],
            shape=shape,
            provenance=provenance,
            subject=row["subject"],
        )
        for row in sets.to_dict("records")
    ]


def effects_of(frame: "pd.DataFrame", provenance: Provenance) -> Effects:
    """Return rows of `effects`, of one method and one way of ablation, as a result."""
    axes = [tuple(dict.fromkeys(frame[name])) for name in ("set", "fact_id", "language")]
    places = tuple(
        np.array([axis.index(value) for value in frame[name]])
        for axis, name in zip(axes, ("set", "fact_id", "language"), strict=True)
    )

    def table(column: str) -> np.ndarray:
        values = np.full([len(axis) for axis in axes], np.nan)
        values[places] = frame[column]
        return values

    sets, facts, languages = axes
    by_quantity = {
        quantity: np.stack([table(f"{quantity}_{kind}") for kind in MEASUREMENTS])
        for quantity in ("p", "log_p")
    }
    return Effects(
        sets=sets, facts=facts, languages=languages, n_neurons=table("n_neurons"),
        p=by_quantity["p"], log_p=by_quantity["log_p"], provenance=provenance,
    )  # fmt: skip
