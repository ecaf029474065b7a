"""The results of a sweep on disk: tidy tables that can be read without this package.

    FOLDER/sweep.json               model, weights, options, facts, versions, schema version
    FOLDER/TABLE/00000.parquet      one file a shard; pandas.read_parquet("FOLDER/TABLE") reads all
    FOLDER/dense/00012.safetensors  all scores of one fact, if the sweep keeps them
    FOLDER/shards/00000.json        the items of a shard, and the checksums of its files

A shard is a few facts of one relation, or a few edits. It counts as soon as its file in `shards` is
there. That file is written last, so nothing half written is ever taken for a result. `Store` only
reads; `store_writer` writes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lafn_viz.core.arguments import (
    a_path,
    a_seed,
    a_text,
    bootstrap_draws,
    one_of,
    or_none,
    some_texts,
    takes,
)
from lafn_viz.core.files import checksum
from lafn_viz.core.json_records import FactError, as_object, parsed, read_text, value_of
from lafn_viz.core.messages import in_one_line, quoted
from lafn_viz.core.options import require_one_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.editing.evaluation.answers import Answered, Evaluation
from lafn_viz.experiments.schema import SCHEMA, TABLES, effects_of, schema, sets_of
from lafn_viz.experiments.store_summary import summarise_facts
from lafn_viz.interventions.effects import Effects
from lafn_viz.neurons.criterion import Criterion
from lafn_viz.neurons.neuron_sets import NeuronSet
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.neurons.overlaps import overlap

if TYPE_CHECKING:
    import pandas as pd


_FILE = re.compile(r"[a-z]{1,20}/[0-9]{1,20}\.(parquet|safetensors)")
# The fields that every sweep.json has, and their types.
_HEAD: dict[str, dict[str, Any]] = {
    "model": {"name": str, "weights": str, "n_layers": int, "d_mlp": int},
    "options": {"seed": int, "methods": tuple[str, ...], "editors": tuple[str, ...]},
    "facts": {"count": int},
    "cases": {"count": int},
}


class StoreError(ValueError):
    """A folder that cannot be read or written as a store; the message says what to do."""


def read_head(folder: Path) -> dict[str, Any] | None:
    """Return the content of `sweep.json`, or None if the folder has none.

    Raises:
        StoreError: if it is damaged, or of another schema than this version reads.
    """
    file = folder / "sweep.json"
    if not file.exists():
        return None
    try:
        head = _read_object(file)
        version = value_of(str(file), head, "schema", int)
        if version != SCHEMA:
            raise StoreError(
                f"{file} is of schema {version}, but this version of lafn_viz reads schema "
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
    """The results in a folder; a table is read when it is asked for.

    Args:
        folder: the folder that `sweep` was given; a sweep may still be writing to it.

    Raises:
        StoreError: if the folder holds no sweep, or one of another schema.
    """

    @takes(folder=a_path)
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
        model = self.head["model"]
        return (
            f"Store({str(self.folder)!r}: {done} of {count} items of {model['name']} "
            f"{model['weights'][:8]}, {self.failures['item'].nunique()} failed)"
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
    def criterion(self) -> Criterion:
        """What makes a neuron agnostic."""
        options = self.head["options"]
        return Criterion(options["min_languages"], options["min_scripts"])

    @property
    def complete(self) -> bool:
        """Whether every fact and edit has its results (or is recorded as failed)."""
        return len(self.shards) == self.head["shards"]

    @property
    def failures(self) -> "pd.DataFrame":
        """The stages that failed, one row per item and stage, with the reason."""
        return self.read("failures")

    @takes(table=one_of(TABLES), columns=or_none(some_texts))
    def read(self, table: str, *, columns: str | Iterable[str] | None = None) -> "pd.DataFrame":
        """Read a whole table. Use `parts` for one that is larger than the memory.

        Raises:
            ValueError: for a table or column that does not exist.
        """
        import pandas as pd

        wanted = list(TABLES[table]) if columns is None else list(columns)
        require_one_of("column", wanted, tuple(TABLES[table]))
        parts = list(self.parts(table, columns=wanted))
        if not parts:
            return schema(table).empty_table().select(wanted).to_pandas()
        return pd.concat(parts, ignore_index=True)

    @takes(table=one_of(TABLES), columns=or_none(some_texts))
    def parts(
        self, table: str, *, columns: str | Iterable[str] | None = None
    ) -> Iterator["pd.DataFrame"]:
        """Read a table shard by shard, so that no more than one is in memory."""
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
                raise _unreadable(file, error, shard) from None
            yield part.to_pandas()

    @takes(fact_id=a_text)
    def dense(self, fact_id: str) -> dict[str, Tensor]:
        """Read all scores of a fact by method: [prompt, layer, neuron].

        The column `row` of the table `prompts` numbers the prompts.

        Raises:
            ValueError: if the store has no dense scores of this fact.
            StoreError: if their file is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        for part in self.parts("prompts", columns=["fact_id", "dense"]):
            files = part.loc[part["fact_id"] == fact_id, "dense"].dropna()
            if len(files):
                name = str(files.iloc[0])
                try:
                    return load_file(self.folder / name)
                except (OSError, SafetensorError) as error:
                    shard = next(x for x in self.shards if name in self._shard(x)["files"])
                    raise _unreadable(self.folder / name, error, shard) from None
        raise ValueError(
            f"{self.folder} has no dense scores of {fact_id!r}; sweep with dense=True, and name a "
            "fact that it holds"
        )

    @takes(facts=or_none(some_texts))
    def neuron_sets(
        self, *, method: str | None = None, facts: str | Iterable[str] | None = None
    ) -> list[NeuronSet]:
        """Read the neurons of each fact and language, as `select_neurons` returns them.

        They serve `overlap`, `significance` and the figures.

        Args:
            method: of attribution; needed if the sweep has several.
            facts: only these, for a sweep that does not fit in memory.
        """
        chosen = self._method(method)
        wanted = None if facts is None else set(facts)
        shape = self.head["model"]["n_layers"], self.head["model"]["d_mlp"]
        neuron_sets: list[NeuronSet] = []
        for shard in zip(self.parts("sets"), self.parts("neurons"), strict=True):
            tables = [table[table["method"] == chosen] for table in shard]
            if wanted is not None:
                tables = [table[table["fact_id"].isin(wanted)] for table in tables]
            neuron_sets += sets_of(*tables, shape=shape, provenance=self._selected(chosen))
        return neuron_sets

    def overlap(self, method: str | None = None) -> Overlap:
        """Compare the languages of all facts (see `overlap`), by the sweep's own criterion.

        The control of a fact are all other facts of its relation, where the table `overlap` has
        those of its shard.

        Raises:
            ValueError: if no fact is known in two languages.
        """
        criterion = self.criterion
        return overlap(
            self.neuron_sets(method=method), min_languages=criterion.min_languages,
            min_scripts=criterion.min_scripts,
        )  # fmt: skip

    def effects(self, how: str | None = None, *, method: str | None = None) -> Effects:
        """Read what ablation in one way changes; name the way if the sweep has several.

        Raises:
            ValueError: if the sweep measured none.
        """
        ways = tuple(self.head["options"]["how"])
        (way,) = require_one_of("how", _only("how", how, ways), ways)
        chosen, frame = self._method(method), self.read("effects")
        frame = frame[(frame["method"] == chosen) & (frame["how"] == way)]
        if frame.empty:
            raise ValueError(
                f"{self.folder} has no effects of {way!r}; sweep with changed= and facts that the "
                "model knows in several languages"
            )
        options = {**self.provenance.options, "how": way}
        return effects_of(frame, replace(self.provenance, method="effects", options=options))

    def evaluation(self, editor: str | None = None) -> Evaluation:
        """Read every answer after every edit of an editor; name it if the sweep has several."""
        editors = tuple(self.head["options"]["editors"])
        if not editors:
            raise ValueError(f"{self.folder} has no edits; sweep with cases=")
        (chosen,) = require_one_of("editor", _only("editor", editor, editors), editors)
        answers = []
        for part in self.parts("answers"):
            rows = part[part["editor"] == chosen]
            answers += [
                Answered(
                    case=row["case"], edited_in=row["edited_in"], metric=row["metric"],
                    language=row["language"], text=row["text"], reference=row["reference"],
                    aliases=tuple(row["aliases"]), before=row["before"], after=row["after"],
                    token_accuracy_before=row["token_accuracy_before"],
                    token_accuracy=row["token_accuracy"],
                )
                for row in rows.to_dict("records")
            ]  # fmt: skip
        return Evaluation(chosen, tuple(answers), self.provenance)

    @takes(draws=bootstrap_draws, seed=a_seed)
    def summary(self, *, draws: int = 2000, seed: int = 0) -> "pd.DataFrame":
        """Return one row per figure: mean over facts (or edits) and its 95% interval.

        Every figure stands beside its controls: the same neurons on another fact, other facts'
        neurons, random neurons. Reads one shard after the other.
        """
        import pandas as pd

        rows = summarise_facts(self.parts, self.criterion, draws=draws, seed=seed)
        for editor in self.head["options"]["editors"] if self.head["cases"]["count"] else ():
            for row in self.evaluation(editor).summary().to_dict("records"):
                figures = (row["metric"], row["mean"], row["low"], row["high"], row["cases"])
                rows.append((editor, *figures))
        return pd.DataFrame(rows, columns=["of", "figure", "mean", "low", "high", "items"])

    def check(self) -> None:
        """Compare every file with its checksum.

        Raises:
            StoreError: naming the first file that is missing or was changed.
        """
        for shard in self.shards:
            for name, expected in self._shard(shard)["files"].items():
                file = self.folder / name
                if not file.is_file() or checksum(file) != expected:
                    state = "was changed or damaged" if file.is_file() else "is missing"
                    raise StoreError(
                        f"{file} {state}; delete {shard} and sweep again: its items are then "
                        "done anew"
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
                f"{error}; delete it and sweep again: its items are then done anew"
            ) from None
        return record

    def _selected(self, method: str) -> Provenance:
        """Where sets of neurons come from: what `select_neurons` would say."""
        kept = ("position", "target", "baseline", "n_steps", "shots")
        options = {name: self.head["options"][name] for name in kept}
        selected = self.head["options"]["select"]
        return replace(self.provenance, method=method, options={**options, **selected})

    def _method(self, method: str | None) -> str:
        methods = tuple(self.head["options"]["methods"])
        return require_one_of("method", _only("method", method, methods), methods)[0]


def _unreadable(file: Path, error: Exception, shard: Path) -> StoreError:
    return StoreError(
        f"{file} cannot be read ({in_one_line(error)}); delete {shard} and sweep again: its items "
        "are then done anew"
    )


def _only(kind: str, given: str | None, names: tuple[str, ...]) -> str:
    """The name given, or the only one there is. Raises ValueError if there are several."""
    if given is None and len(names) > 1:
        raise ValueError(f"there are several: {', '.join(names)}; name one with {kind}=")
    return names[0] if given is None else given
