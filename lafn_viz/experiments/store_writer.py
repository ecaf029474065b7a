"""Writing a store so that it can be killed at any moment.

1. One run at a time: the writer holds a lock, which the system releases when its process dies. A
   second run is refused.
2. The result of each item goes into a journal (an SQLite database, so that a transaction is there
   as a whole or not at all).
3. When every item of a shard is in the journal, its tables are written under their own names, then
   the shard's own file, which makes it count. Only then are the items deleted from the journal.
4. When every shard is written, the journal is removed.

What a shard's files hold depends on its items alone, and not on which process computed them, when,
or in which order: a sweep that was killed a hundred times leaves the same bytes as one that never
was.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lafn_viz.core.files import checksum, write_json, write_whole
from lafn_viz.experiments.schema import OWNER, SCHEMA, ItemResult, Tables, dense_file
from lafn_viz.experiments.shards import Shard
from lafn_viz.experiments.store import StoreError, read_head

if TYPE_CHECKING:
    import pyarrow as pa

JOURNAL = "journal.sqlite"

# From the tables of a shard's items to all tables that are written of it.
Finish = Callable[[Tables], Tables]


class StoreWriter:
    """The one writer of a store; `open_writer` opens and closes it.

    Attributes:
        done: the numbers of the items whose results are kept.
    """

    def __init__(
        self,
        folder: Path,
        head: Mapping[str, Any],
        shards: Sequence[Shard],
        finish: Finish,
    ) -> None:
        self.folder, self.shards, self.finish = folder, shards, finish
        self._shard_of = {number: k for k, shard in enumerate(shards) for number in shard.numbers}
        # Each file's metadata: the same whether or not the sweep was interrupted.
        self._metadata = json.dumps({"schema": SCHEMA, **head}, ensure_ascii=False, sort_keys=True)
        with _explain_errors(folder):
            self._journal = sqlite3.connect(folder / JOURNAL, isolation_level=None)
            self._journal.execute(
                "CREATE TABLE IF NOT EXISTS found "
                "(item INTEGER, part TEXT, content BLOB, PRIMARY KEY (item, part))"
            )
            journaled = {
                item for (item,) in self._journal.execute("SELECT DISTINCT item FROM found")
            }
            self.done = {n for k, shard in enumerate(shards) if self._is_written(k)
                         for n in shard.numbers}  # fmt: skip
            # A run may have died between writing a shard and deleting its items here.
            self._delete([number for number in journaled if number in self.done])
            self.done |= journaled
            for k in range(len(shards)):
                self._write_if_whole(k)

    def add(self, number: int, result: ItemResult) -> None:
        """Keep the result of an item, which will then not be computed again."""
        with _explain_errors(self.folder):
            if result.dense:
                write_whole(
                    self.folder / dense_file(number), lambda file: _save(file, result.dense)
                )
            self._insert([(number, name, _packed(table)) for name, table in result.tables.items()])
            self.done.add(number)
            self._write_if_whole(self._shard_of[number])

    def retry(self) -> int:
        """Take the items that failed out of the store, to be done again. Returns their number."""
        with _explain_errors(self.folder):
            return sum(self._reopen(k) for k in range(len(self.shards)))

    def _reopen(self, k: int) -> int:
        """Put what did not fail in a shard back into the journal. Returns how many items failed."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        shard = self.shards[k]
        if not self._is_written(k):
            failed = [n for n in shard.numbers if n in self.done and self._has_failed(n)]
            self._delete(failed)
        else:
            tables = {name: pq.read_table(self._file(name, k)) for name in shard.tables}
            failed_items = set(tables["failures"]["item"].to_pylist())
            failed = [n for n in shard.numbers if shard.items[n - shard.first] in failed_items]
            if failed:
                self._insert(
                    [
                        (number, name, _packed(table.filter(pc.equal(table[OWNER[name]], item))))
                        for number, item in zip(shard.numbers, shard.items, strict=True)
                        for name, table in tables.items()
                        if item not in failed_items
                    ]
                )
                self._record(k).unlink()
        self.done -= set(failed)
        return len(failed)

    def close(self) -> None:
        """Close the store, and remove the journal if every shard is written."""
        with _explain_errors(self.folder):
            self._journal.close()
            if all(self._is_written(k) for k in range(len(self.shards))):
                (self.folder / JOURNAL).unlink()

    def _write_if_whole(self, k: int) -> None:
        """Write a shard if the results of all its items are there and it is not yet written."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        shard = self.shards[k]
        if self._is_written(k) or not self.done.issuperset(shard.numbers):
            return
        items = [self._tables(number) for number in shard.numbers]
        tables = {name: pa.concat_tables([item[name] for item in items]) for name in shard.tables}
        files = [
            file for number in shard.numbers if (file := self.folder / dense_file(number)).is_file()
        ]
        for name, table in self.finish(tables).items():
            table = table.replace_schema_metadata({"lafn_viz": self._metadata})

            def write(file: Path, table: "pa.Table" = table) -> None:
                pq.write_table(table, file, compression="zstd")

            write_whole(self._file(name, k), write)
            files.append(self._file(name, k))
        sums = {file.relative_to(self.folder).as_posix(): checksum(file) for file in files}
        write_json(self._record(k), {"items": shard.items, "files": sums})
        self._delete(shard.numbers)

    def _tables(self, number: int) -> dict[str, "pa.Table"]:
        """The tables of an item in the journal."""
        rows = self._journal.execute("SELECT part, content FROM found WHERE item = ?", [number])
        return {name: _unpacked(content) for name, content in rows}

    def _has_failed(self, number: int) -> bool:
        return len(self._tables(number)["failures"]) > 0

    def _insert(self, rows: Sequence[tuple[int, str, bytes]]) -> None:
        with self._transaction():
            self._journal.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?)", rows)

    def _delete(self, numbers: Sequence[int]) -> None:
        with self._transaction():
            self._journal.executemany("DELETE FROM found WHERE item = ?", [(n,) for n in numbers])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._journal.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._journal.execute("ROLLBACK")
            raise
        self._journal.execute("COMMIT")

    def _is_written(self, k: int) -> bool:
        return self._record(k).is_file()

    def _record(self, k: int) -> Path:
        return self.folder / "shards" / f"{k:05d}.json"

    def _file(self, table: str, k: int) -> Path:
        return self.folder / table / f"{k:05d}.parquet"


@contextmanager
def open_writer(
    folder: Path,
    head: Mapping[str, Any],
    shards: Sequence[Shard],
    finish: Finish,
) -> Iterator[StoreWriter]:
    """Open a store for this run alone, and close it at the end.

    Args:
        head: the model, options, facts and cases of the sweep. A store can be continued only with
            the same.
        finish: from the tables of a shard's items to all tables that are written of it.

    Raises:
        StoreError: if another run is writing to the folder, if it holds another sweep or something
            else, or if it cannot be written to.
    """
    from filelock import FileLock, Timeout

    with _explain_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"another run is writing to {folder}; wait for it to end, or give another folder"
            ) from None
    try:
        with _explain_errors(folder):
            _write_or_compare_head(folder, head, len(shards))
        writer = StoreWriter(folder, head, shards, finish)
        try:
            yield writer
        finally:
            writer.close()
    finally:
        lock.release()


@contextmanager
def _explain_errors(folder: Path) -> Iterator[None]:
    """Raise a StoreError with a clear sentence in place of the system's or SQLite's errors."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"{folder} cannot be written to ({error}); finished items are kept: solve this and "
            "sweep again, or give another folder"
        ) from error


def _write_or_compare_head(folder: Path, head: Mapping[str, Any], n_shards: int) -> None:
    """Write `sweep.json` in an empty folder; in a store, require the same sweep."""
    for unfinished in folder.glob("**/.*.tmp"):
        unfinished.unlink()
    expected = json.loads(json.dumps({"schema": SCHEMA, **head, "shards": n_shards}))
    existing = read_head(folder)
    if existing is None:
        others = [path.name for path in folder.iterdir() if path.name != ".lock"]
        if others:
            raise StoreError(
                f"{folder} is not empty and holds no sweep ({sorted(others)[0]}, ...); give "
                "another folder"
            )
        write_json(folder / "sweep.json", expected)
    elif existing != expected:
        differences = ", ".join(_differences(existing, expected))
        raise StoreError(
            f"{folder} holds another sweep (its {differences} differ); give another folder, or "
            "sweep with the same model, facts and options as before"
        )


def _differences(existing: Any, expected: Any, name: str = "") -> Iterator[str]:
    """Yield the names of the fields that differ, such as options.seed."""
    if isinstance(existing, dict) and isinstance(expected, dict):
        for key in dict.fromkeys([*expected, *existing]):
            inner = f"{name}.{key}".strip(".")
            yield from _differences(existing.get(key), expected.get(key), inner)
    elif existing != expected:
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
