"""The tables of a store: their columns, and what goes into them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from lafn_viz.core.provenance import Provenance
from lafn_viz.neurons.neuron_sets import Neuron, NeuronSet

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SCHEMA = 1  # goes up when a table changes its columns or their meaning
_FACT = {"model": "string", "method": "string", "fact_id": "string", "relation": "string"}
_PROMPT = {**_FACT, "language": "string", "paraphrase": "int32"}
_EDIT = {"model": "string", "editor": "string", "case": "string"}
MEASURED = {
    f"{of}_{kind}": "double"
    for of in ("p", "log_p")
    for kind in ("before", "after", "random", "other_before", "other")
}
# The columns of each table and their types. What they mean is told in docs/howto/sweep.md.
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
        **_FACT, "language": "string", "n_prompts": "int32", "n_known": "int32", "known": "bool",
        "n_neurons": "int32", "n_agnostic": "int32", "n_specific": "int32",
    },
    "neurons": {
        **_FACT, "language": "string", "layer": "int32", "neuron": "int32",
        "n_languages": "int32", "agnostic": "bool", "specific": "bool",
    },
    "overlap": {
        **_FACT, "language": "string", "other_language": "string", "jaccard": "double",
        "other_fact": "double", "chance": "double", "coefficient": "double",
    },
    "effects": {
        **_FACT, "set": "string", "language": "string", "n_neurons": "int32", **MEASURED,
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
        "exact_match": "double", "starts_with": "double", "token_f1": "double", "remake": "double",
        "token_accuracy": "double", "token_accuracy_before": "double",
    },
}  # fmt: skip
FAILURES = {
    "failures": {
        "model": "string", "item": "string", "stage": "string", "error": "string",
        "reason": "string",
    }
}  # fmt: skip
TABLES = {**FACT_TABLES, **CASE_TABLES, **FAILURES}
# The column that names what a row belongs to.
OWNER = {
    **dict.fromkeys(FACT_TABLES, "fact_id"), **dict.fromkeys(CASE_TABLES, "case"),
    "failures": "item",
}  # fmt: skip

Tables = Mapping[str, "pa.Table"]


@dataclass(frozen=True)
class ItemResult:
    """What was found about one item: rows of some tables, and all scores by method if wanted."""

    tables: Tables
    dense: Mapping[str, Tensor] = field(default_factory=dict)


def dense_file(number: int) -> str:
    """Where all scores of an item lie in the store."""
    return f"dense/{number:05d}.safetensors"


def schema(table: str) -> "pa.Schema":
    """The columns of a table as Arrow knows them."""
    import pyarrow as pa

    kinds = {
        "string": pa.string(), "int32": pa.int32(), "float": pa.float32(), "double": pa.float64(),
        "bool": pa.bool_(), "list<string>": pa.list_(pa.string()),
    }  # fmt: skip
    return pa.schema([(name, kinds[kind]) for name, kind in TABLES[table].items()])


def table_of(name: str, frame: "pd.DataFrame") -> "pa.Table":
    """A frame as a table of the store, its columns in order and of their types."""
    import pyarrow as pa

    wanted = schema(name)
    made = pa.Table.from_pandas(
        frame.reindex(columns=wanted.names), schema=wanted, preserve_index=False
    )
    return made.replace_schema_metadata(None)


def sets_of(
    sets: "pd.DataFrame",
    neurons: "pd.DataFrame",
    *,
    shape: tuple[int, int],
    provenance: Provenance,
) -> list[NeuronSet]:
    """Rows of `sets` and `neurons` (of one method) as neuron sets, in the order of the rows."""
    held = {
        key: frozenset(Neuron(*pair) for pair in zip(mine["layer"], mine["neuron"], strict=True))
        for key, mine in neurons.groupby(["fact_id", "language"], sort=False)
    }
    return [
        NeuronSet(
            fact_id=row["fact_id"],
            relation=row["relation"],
            language=row["language"],
            neurons=held.get((row["fact_id"], row["language"]), frozenset()),
            n_prompts=row["n_prompts"],
            n_known=row["n_known"],
            shape=shape,
            provenance=provenance,
        )
        for row in sets.to_dict("records")
    ]
