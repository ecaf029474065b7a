"""Writing a store so that it can be killed at any moment.

1. One run at a time: a lock that the system takes away from whoever dies. A second run is refused.
2. What is found about one item goes into a journal (SQLite: a transaction is there or not).
3. When every item of a shard is there, its tables are written under names of their own, then the
   shard's own file, which makes it count, and only then does the journal forget it.
4. When every shard is there, the journal is removed.

What a shard's files hold depends on its items alone, not on who found them, when, or in which
order: a sweep that was killed a hundred times leaves the same bytes as one that never was.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lafn_viz.core.files import checksum, write_json, write_whole
from lafn_viz.experiments.schema import (
    CASE_TABLES,
    FACT_TABLES,
    FAILURES,
    OWNER,
    SCHEMA,
    ItemResult,
    Tables,
    dense_file,
)
from lafn_viz.experiments.store import StoreError, read_head

if TYPE_CHECKING:
    import pyarrow as pa

# From the tables of a whole shard to all that is written of it.
Finish = Callable[[Tables], Tables]


@dataclass(frozen=True)
class Shard:
    """Items whose results share their files: facts of one relation, or edits.

    `first` is the number of its first item in the sweep.
    """

    first: int
    items: tuple[str, ...]
    edits: bool = False

    @property
    def numbers(self) -> range:
        """The numbers of its items."""
        return range(self.first, self.first + len(self.items))

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables it has a file of."""
        return (*(CASE_TABLES if self.edits else FACT_TABLES), *FAILURES)


class Journal:
    """The one writer of a store, between `open_journal` and its end.

    Args:
        finish: from the tables of a whole shard to all that is written of it.
    """

    def __init__(
        self,
        folder: Path,
        head: Mapping[str, Any],
        shards: Sequence[Shard],
        finish: Finish,
    ) -> None:
        self.folder, self.shards, self.finish = folder, shards, finish
        self._of = {number: k for k, shard in enumerate(shards) for number in shard.numbers}
        # What every file says of itself; the same in a store that was made in one go.
        self._said = json.dumps({"schema": SCHEMA, **head}, ensure_ascii=False, sort_keys=True)
        with _writing(folder):
            self._database = sqlite3.connect(folder / "journal.sqlite", isolation_level=None)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS found "
                "(item INTEGER, part TEXT, content BLOB, PRIMARY KEY (item, part))"
            )
            whole = {k for k in range(len(shards)) if self._record(k).is_file()}
            there = {item for (item,) in self._database.execute("SELECT DISTINCT item FROM found")}
            self.done = {number for k in whole for number in shards[k].numbers}
            # A run may have died between writing a shard and forgetting its items.
            self._forget([number for number in there if number in self.done])
            self.done |= there
            for k in range(len(shards)):
                self._end(k)

    def add(self, number: int, found: ItemResult) -> None:
        """Keep what was found about an item; from here on it will not be done again."""
        with _writing(self.folder):
            if found.dense:
                write_whole(self.folder / dense_file(number), lambda file: _save(file, found.dense))
            self._keep([(number, name, _packed(table)) for name, table in found.tables.items()])
            self.done.add(number)
            self._end(self._of[number])

    def retry(self) -> int:
        """Take the items that failed out of the store, to be done again. Returns their number."""
        with _writing(self.folder):
            return sum(self._reopened(k) for k in range(len(self.shards)))

    def _reopened(self, k: int) -> int:
        """Put what did not fail in a shard back into the journal; how many items did."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        shard = self.shards[k]
        if not self._record(k).is_file():
            failed = [n for n in shard.numbers if n in self.done and self._failed(n)]
            self._forget(failed)
        else:
            whole = {name: pq.read_table(self._file(name, k)) for name in shard.tables}
            named = set(whole["failures"]["item"].to_pylist())
            failed = [n for n in shard.numbers if shard.items[n - shard.first] in named]
            if failed:
                self._keep(
                    [
                        (number, name, _packed(table.filter(pc.equal(table[OWNER[name]], item))))
                        for number, item in zip(shard.numbers, shard.items, strict=True)
                        for name, table in whole.items()
                        if item not in named
                    ]
                )
                self._record(k).unlink()
        self.done -= set(failed)
        return len(failed)

    def close(self) -> None:
        """Leave the store; a complete one without its journal."""
        with _writing(self.folder):
            self._database.close()
            if all(self._record(k).is_file() for k in range(len(self.shards))):
                (self.folder / "journal.sqlite").unlink()

    def _end(self, k: int) -> None:
        """Write a shard if all of it is there and it is not yet written."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        shard = self.shards[k]
        if self._record(k).is_file() or not self.done.issuperset(shard.numbers):
            return
        found = [self._found(number) for number in shard.numbers]
        tables = {name: pa.concat_tables([of[name] for of in found]) for name in shard.tables}
        files = [
            file for number in shard.numbers if (file := self.folder / dense_file(number)).is_file()
        ]
        for name, table in self.finish(tables).items():
            told = table.replace_schema_metadata({"lafn_viz": self._said})

            def write(file: Path, told: "pa.Table" = told) -> None:
                pq.write_table(told, file, compression="zstd")

            write_whole(self._file(name, k), write)
            files.append(self._file(name, k))
        sums = {file.relative_to(self.folder).as_posix(): checksum(file) for file in files}
        write_json(self._record(k), {"items": shard.items, "files": sums})
        self._forget(shard.numbers)

    def _found(self, number: int) -> dict[str, "pa.Table"]:
        rows = self._database.execute("SELECT part, content FROM found WHERE item = ?", [number])
        return {name: _unpacked(content) for name, content in rows}

    def _failed(self, number: int) -> bool:
        return len(self._found(number)["failures"]) > 0

    def _keep(self, rows: Sequence[tuple[int, str, bytes]]) -> None:
        with self._transaction():
            self._database.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?)", rows)

    def _forget(self, numbers: Sequence[int]) -> None:
        with self._transaction():
            self._database.executemany("DELETE FROM found WHERE item = ?", [(n,) for n in numbers])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _record(self, k: int) -> Path:
        return self.folder / "shards" / f"{k:05d}.json"

    def _file(self, table: str, k: int) -> Path:
        return self.folder / table / f"{k:05d}.parquet"


@contextmanager
def open_journal(
    folder: Path,
    head: Mapping[str, Any],
    shards: Sequence[Shard],
    finish: Finish,
) -> Iterator[Journal]:
    """The journal of a store, this run's alone until the end.

    Args:
        head: what the sweep is; a store goes on only with the same.

    Raises:
        StoreError: if another run is writing to the folder, if it holds another sweep or something
            else, or if it cannot be written to.
    """
    from filelock import FileLock, Timeout

    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"another run is writing to {folder}; wait for it, or give another folder"
            ) from None
    try:
        with _writing(folder):
            _begin(folder, head, len(shards))
        journal = Journal(folder, head, shards, finish)
        try:
            yield journal
        finally:
            journal.close()
    finally:
        lock.release()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say in a sentence what the system says when it cannot write."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"{folder} cannot be written to ({error}); what was finished is kept: see to that and "
            "sweep again, or give another folder"
        ) from error


def _begin(folder: Path, head: Mapping[str, Any], shards: int) -> None:
    """Write what the sweep is, or see that the store is of the same."""
    for left in folder.glob("**/.*.tmp"):
        left.unlink()
    wanted = json.loads(json.dumps({"schema": SCHEMA, **head, "shards": shards}))
    there = read_head(folder)
    if there is None:
        others = [path.name for path in folder.iterdir() if path.name != ".lock"]
        if others:
            raise StoreError(
                f"{folder} is not empty and holds no sweep ({sorted(others)[0]}, ...); give "
                "another folder"
            )
        write_json(folder / "sweep.json", wanted)
    elif there != wanted:
        differs = ", ".join(_differences(there, wanted))
        raise StoreError(
            f"{folder} holds another sweep (its {differs} differ); give another folder, or sweep "
            "as before"
        )


def _differences(there: Any, wanted: Any, name: str = "") -> Iterator[str]:
    """The names of what differs, inner ones with a dot."""
    if isinstance(there, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*wanted, *there]):
            yield from _differences(there.get(key), wanted.get(key), f"{name}.{key}".strip("."))
    elif there != wanted:
        yield name


def _save(file: Path, dense: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    save_file({name: values.contiguous() for name, values in dense.items()}, file)


def _packed(table: "pa.Table") -> bytes:
    import pyarrow as pa

    table = table.replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def _unpacked(content: bytes) -> "pa.Table":
    import pyarrow as pa

    return pa.ipc.open_stream(content).read_all()
