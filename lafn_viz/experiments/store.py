"""What a sweep found, on disk: tidy tables that need no code of this package to be read.

    FOLDER/sweep.json               model, weights, options, facts, versions, schema version
    FOLDER/TABLE/00000.parquet      one file a shard; pandas.read_parquet("FOLDER/TABLE") reads all
    FOLDER/dense/00012.safetensors  all scores of one fact, where they were asked for
    FOLDER/shards/00000.json        which items a shard holds, and the checksums of its files

A shard is a few facts of one relation, or a few edits. It counts from the moment that its file in
`shards` is there, which is written last, so nothing half written is ever taken for a result.
`Store` only reads; `journal` writes.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from lafn_viz.core.files import checksum
from lafn_viz.core.json_records import (
    FactError,
    as_object,
    parsed,
    quoted,
    read_text,
    shown,
    value_of,
)
from lafn_viz.core.options import require_one_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap
from lafn_viz.datasets.languages import SCRIPTS
from lafn_viz.editing.evaluation.answers import Answered, Evaluation
from lafn_viz.experiments.schema import MEASURED, SCHEMA, TABLES, schema, sets_of
from lafn_viz.neurons.neuron_sets import NeuronSet

if TYPE_CHECKING:
    import pandas as pd


class StoreError(ValueError):
    """A folder that cannot be read or written as a store; the message says what to do."""


_FILE = re.compile(r"[a-z]{1,20}/[0-9]{1,20}\.(parquet|safetensors)")
# What every sweep.json says, and of which kind it is.
_HEAD: dict[str, dict[str, Any]] = {
    "model": {"name": str, "weights": str, "n_layers": int, "d_mlp": int},
    "options": {"seed": int, "methods": tuple[str, ...], "editors": tuple[str, ...]},
    "facts": {"count": int},
    "cases": {"count": int},
}


def read_head(folder: Path) -> dict[str, Any] | None:
    """What `sweep.json` says; None where there is none.

    Raises:
        StoreError: if it is damaged, or of a later schema than this version reads.
    """
    file = folder / "sweep.json"
    if not file.exists():
        return None
    try:
        head = _read_object(file)
        version = value_of(str(file), head, "schema", int)
        if version != SCHEMA:
            raise StoreError(
                f"{file} is of schema {version}, and this version of lafn_viz reads schema "
                f"{SCHEMA}; install the version that wrote it, or read its tables with pandas"
            )
        value_of(str(file), head, "shards", int)
        value_of(str(file), head, "versions", Mapping[str, str])
        for name, fields in _HEAD.items():
            part = as_object(f"{file}, field {name!r}", head.get(name))
            for field_name, kind in fields.items():
                value_of(f"{file}, field {name!r}", part, field_name, kind)
    except (FactError, FileNotFoundError) as error:
        raise StoreError(f"{error}; give another folder, or sweep into a new one") from None
    return head


def _read_object(file: Path) -> dict[str, Any]:
    return as_object(str(file), parsed(str(file), read_text(file)))


class Store:
    """The results in a folder. Nothing is read before it is asked for.

    Args:
        folder: what `sweep` was given; it may still be written to.

    Raises:
        StoreError: if the folder holds no sweep, or one of another schema.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        head = read_head(self.folder)
        if head is None:
            raise StoreError(
                f"{self.folder} holds no sweep (no sweep.json); give a folder that sweep() wrote"
            )
        self.head: Mapping[str, Any] = head
        self.shards = tuple(sorted((self.folder / "shards").glob("[0-9]*.json")))

    def __repr__(self) -> str:
        done = sum(len(self._shard(file)["items"]) for file in self.shards)
        count = self.head["facts"]["count"] + self.head["cases"]["count"]
        said = self.provenance
        return (
            f"Store({str(self.folder)!r}: {done} of {count} items of {said.model} "
            f"{said.weights[:8]}, {self.failures['item'].nunique()} failed)"
        )

    @property
    def provenance(self) -> Provenance:
        """Model, weights, options and versions."""
        model = self.head["model"]
        return Provenance(
            model=model["name"],
            weights=model["weights"],
            method="sweep",
            options=self.head["options"],
            seed=self.head["options"]["seed"],
            versions=self.head["versions"],
        )

    @property
    def complete(self) -> bool:
        """Whether every fact and edit is there (or recorded as failed)."""
        return len(self.shards) == self.head["shards"]

    @property
    def failures(self) -> "pd.DataFrame":
        """What could not be done, a row an item and stage, with the reason."""
        return self.read("failures")

    def read(self, table: str, *, columns: Iterable[str] | None = None) -> "pd.DataFrame":
        """One table, whole; `parts` reads one that is larger than the memory.

        Raises:
            ValueError: for a table or column that does not exist.
        """
        import pandas as pd

        require_one_of("table", table, tuple(TABLES))
        wanted = list(TABLES[table]) if columns is None else list(columns)
        require_one_of("column", wanted, tuple(TABLES[table]))
        parts = list(self.parts(table, columns=wanted))
        return pd.concat(parts, ignore_index=True) if parts else schema(table).empty_table().select(
            wanted
        ).to_pandas()  # fmt: skip

    def parts(
        self, table: str, *, columns: Iterable[str] | None = None
    ) -> Iterator["pd.DataFrame"]:
        """The table shard by shard; no more than one is in memory."""
        import pyarrow.parquet as pq

        chosen = None if columns is None else list(columns)
        for shard in self.shards:
            file = self.folder / table / f"{shard.stem}.parquet"
            # A shard of facts has no table of edits.
            if f"{table}/{file.name}" not in self._shard(shard)["files"]:
                continue
            try:
                part = pq.read_table(file, columns=chosen, schema=schema(table))
            except (OSError, ValueError) as error:
                raise StoreError(
                    f"{file} cannot be read ({shown(str(error))}); delete {shard} "
                    "and sweep again: its items are done anew"
                ) from None
            yield part.to_pandas()

    def dense(self, fact_id: str) -> dict[str, Tensor]:
        """All scores of a fact by method: [prompt, layer, neuron], rows as `prompts.row` says.

        Raises:
            ValueError: if the sweep kept none of this fact.
        """
        from safetensors.torch import load_file

        for part in self.parts("prompts", columns=["fact_id", "dense"]):
            files = part.loc[part["fact_id"] == fact_id, "dense"].dropna()
            if len(files):
                return load_file(self.folder / files.iloc[0])
        raise ValueError(
            f"{self.folder} has no dense scores of {fact_id!r}; sweep with dense=True, and name a "
            "fact that it holds"
        )

    def neuron_sets(
        self, *, method: str | None = None, facts: Iterable[str] | None = None
    ) -> list[NeuronSet]:
        """The neurons of each fact and language, as `select_neurons` gives them: for `overlap`,
        `significance` and the figures.

        Args:
            method: needed where the sweep has several.
            facts: only these, for a sweep that does not fit the memory.
        """
        chosen = self._method(method)
        wanted = None if facts is None else set(facts)
        found: list[NeuronSet] = []
        for sets, neurons in zip(self.parts("sets"), self.parts("neurons"), strict=True):
            mine = [of[of["method"] == chosen] for of in (sets, neurons)]
            if wanted is not None:
                mine = [of[of["fact_id"].isin(wanted)] for of in mine]
            found += sets_of(*mine, shape=self._shape, provenance=self.provenance)
        return found

    def evaluation(self, editor: str | None = None) -> Evaluation:
        """Every answer after every edit of an editor (to be named where there are several)."""
        editors = tuple(self.head["options"]["editors"])
        if not editors:
            raise ValueError(f"{self.folder} has no edits; sweep with cases=")
        (chosen,) = require_one_of("editor", _only("editor", editor, editors), editors)
        answers = []
        for part in self.parts("answers"):
            mine = part[part["editor"] == chosen]
            answers += [
                Answered(
                    case=row["case"], edited_in=row["edited_in"], metric=row["metric"],
                    language=row["language"], text=row["text"], reference=row["reference"],
                    aliases=tuple(row["aliases"]), before=row["before"], after=row["after"],
                    right_before=row["token_accuracy_before"], right=row["token_accuracy"],
                )
                for row in mine.to_dict("records")
            ]  # fmt: skip
        return Evaluation(chosen, tuple(answers), self.provenance)

    def summary(self, *, draws: int = 2000, seed: int = 0) -> "pd.DataFrame":
        """One row a figure: mean over facts (or edits) with its 95% bootstrap interval.

        Every figure stands beside its controls: the same neurons on another fact, other facts'
        neurons, random neurons. Reads one shard after the other.
        """
        import pandas as pd

        values: dict[tuple[str, str], list[np.ndarray]] = {}

        def take(of: str, name: str, some: "pd.Series | np.ndarray") -> None:
            values.setdefault((of, name), []).append(np.asarray(some, dtype=float))

        for part in self.parts("sets"):
            for method, mine in part[part["known"]].groupby("method", sort=False):
                fact = mine.groupby("fact_id", sort=False)
                several = fact["language"].size() > 1
                take(str(method), "agnostic neurons a fact", fact["n_agnostic"].first()[several])
        for part in self.parts("overlap"):
            for method, mine in part.groupby("method", sort=False):
                _overlaps(str(method), mine, take)
        for part in self.parts("effects"):
            for method, mine in part[part["set"] == "agnostic"].groupby("method", sort=False):
                _effects(str(method), mine, take)
        rows = []
        for (of, name), some in values.items():
            found = np.concatenate(some)
            found = found[np.isfinite(found)]
            mean = float(found.mean()) if len(found) else np.nan
            rows.append((of, name, mean, *bootstrap(found, draws=draws, seed=seed), len(found)))
        for editor in self.head["options"]["editors"] if self.head["cases"]["count"] else ():
            for row in self.evaluation(editor).summary().to_dict("records"):
                told = (row["metric"], row["mean"], row["low"], row["high"], row["cases"])
                rows.append((editor, *told))
        return pd.DataFrame(rows, columns=["of", "figure", "mean", "low", "high", "items"])

    def check(self) -> None:
        """Compare every file with its checksum.

        Raises:
            StoreError: naming the first file that is missing or was changed.
        """
        for shard in self.shards:
            for name, said in self._shard(shard)["files"].items():
                file = self.folder / name
                if not file.is_file() or checksum(file) != said:
                    state = "was changed or damaged" if file.is_file() else "is missing"
                    raise StoreError(
                        f"{file} {state}; delete {shard} and sweep again: its items are done anew"
                    )

    def _shard(self, file: Path) -> dict[str, Any]:
        try:
            record = _read_object(file)
            value_of(str(file), record, "items", tuple[str, ...])
            for name in value_of(str(file), record, "files", Mapping[str, str]):
                if not _FILE.fullmatch(name):
                    raise FactError(f"{file}, field 'files': {quoted(name)} is no file of a store")
        except (FactError, FileNotFoundError) as error:
            raise StoreError(
                f"{error}; delete it and sweep again: its items are done anew"
            ) from None
        return record

    @property
    def _shape(self) -> tuple[int, int]:
        return self.head["model"]["n_layers"], self.head["model"]["d_mlp"]

    def _method(self, method: str | None) -> str:
        methods = tuple(self.head["options"]["methods"])
        return require_one_of("method", _only("method", method, methods), methods)[0]


def _only(what: str, given: str | None, there: tuple[str, ...]) -> str:
    if given is None and len(there) > 1:
        raise ValueError(f"there are several: {', '.join(there)}; name one with {what}=")
    return there[0] if given is None else given


_Take = Callable[[str, str, "pd.Series | np.ndarray"], None]


def _overlaps(method: str, pairs: "pd.DataFrame", take: _Take) -> None:
    """The index and its controls, all pairs and across scripts: a value a fact."""
    one, other = (pairs[x].map(_script) for x in ("language", "other_language"))
    for where, mine in (("", pairs), (" across scripts", pairs[one != other])):
        means = mine.groupby("fact_id", sort=False)[["jaccard", "other_fact", "chance"]].mean()
        take(method, f"Jaccard{where}, same fact", means["jaccard"])
        take(method, f"Jaccard{where}, other fact (control)", means["other_fact"])
        take(method, f"Jaccard{where}, chance (control)", means["chance"])


def _effects(method: str, measured: "pd.DataFrame", take: _Take) -> None:
    """Relative change of P(correct), mean of the languages, and of the controls: a value a fact."""
    of_p = [name for name in MEASURED if name.startswith("p_")]
    p = measured.groupby("fact_id", sort=False)[of_p].mean()
    elsewhere = measured[measured["language"].map(_script) != "Latin"]
    q = elsewhere.groupby("fact_id", sort=False)[of_p].mean()
    take(method, "P(correct), agnostic changed", p["p_after"] / p["p_before"] - 1)
    take(method, "P(correct) outside Latin script", q["p_after"] / q["p_before"] - 1)
    take(method, "P(correct), random changed (control)", p["p_random"] / p["p_before"] - 1)
    other = p["p_other"] / p["p_other_before"] - 1
    take(method, "P(correct) of another fact (control)", other)


def _script(language: str) -> str:
    return SCRIPTS.get(language, "Latin")
