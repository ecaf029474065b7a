"""Writing a store so that it can be killed at any moment.

1. One run at a time: the writer holds a lock, which the system releases when its process dies. A
   second run is refused.
2. The result of each item goes into a journal (an SQLite database, so that a transaction is there
   as a whole or not at all).
3. When every item of a shard is in the journal, its tables are written under their own names, then
   the shard's own file, which makes it count. Only then are the items deleted from the journal.
4. When every shard is written, the journal is removed.
5. A retry takes the failed items out again. If facts or edits were mended since, it also takes out
   each item whose inputs have changed: its own record, or a fact that it was compared with. Their
   checksums are kept with each item, in the journal and in the shard's own file.

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
from lafn_viz.experiments.schema import (
    OWNER,
    SCHEMA,
    ItemResult,
    Tables,
    dense_file,
    packed,
    unpacked,
)
from lafn_viz.experiments.shards import Shard
from lafn_viz.experiments.store import StoreError
from lafn_viz.experiments.store_head import compare_head, write_head

if TYPE_CHECKING:
    import pyarrow as pa

JOURNAL = "journal.sqlite"
INPUTS = "inputs"  # the part of an item in the journal that is no table

# From the tables of a shard's items to all tables that are written of it.
Finish = Callable[[Tables], Tables]
# The checksums of what an item comes from, by its number: the first so many of them.
Inputs = Callable[[int, int], Sequence[str]]


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
        # Each file's metadata: the same whether or not the sweep was interrupted or mended.
        source = {name: head[name] for name in head if name not in ("facts", "cases")}
        self._metadata = json.dumps(
            {"schema": SCHEMA, **source}, ensure_ascii=False, sort_keys=True
        )
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
            self._insert(
                [
                    *((number, name, packed(table)) for name, table in result.tables.items()),
                    (number, INPUTS, json.dumps(result.inputs).encode()),
                ]
            )
            self.done.add(number)
            self._write_if_whole(self._shard_of[number])

    def retry(self, inputs: Inputs | None = None) -> int:
        """Take the items that failed out of the store, to be done again. Returns their number.

        Args:
            inputs: the checksums of what an item comes from, by its number and how many there are;
                where they differ from those that are kept, the item is done again, too.
        """
        with _explain_errors(self.folder):
            return sum(self._reopen(k, inputs) for k in range(len(self.shards)))

    def _reopen(self, k: int, inputs: Inputs | None) -> int:
        """Put what stays of a shard back into the journal. Returns how many items are done anew."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        shard = self.shards[k]

        def changed(number: int, kept: Sequence[str]) -> bool:
            current = None if inputs is None else list(inputs(number, len(kept)))
            return current is not None and (not kept or current != list(kept))

        if not self._is_written(k):
            here = [number for number in shard.numbers if number in self.done]
            again = [n for n in here if self._has_failed(n) or changed(n, self._inputs(n))]
            self._delete(again)
        else:
            record = json.loads(self._record(k).read_text("utf-8"))
            if tuple(record["items"]) != shard.items:
                raise StoreError(
                    f"{self.folder} holds other facts or edits than these, or in another order; "
                    "give another folder, or the same ones, mended"
                )
            kept = record.get("inputs") or [()] * len(shard.items)
            tables = {name: pq.read_table(self._file(name, k)) for name in shard.tables}
            failed_items = set(tables["failures"]["item"].to_pylist())
            numbered = list(zip(shard.numbers, shard.items, kept, strict=True))
            again = [n for n, item, sums in numbered if item in failed_items or changed(n, sums)]
            if again:
                rest = [entry for entry in numbered if entry[0] not in again]
                self._insert(
                    [
                        (number, name, packed(table.filter(pc.equal(table[OWNER[name]], item))))
                        for number, item, _ in rest
                        for name, table in tables.items()
                    ]
                    + [(number, INPUTS, json.dumps(sums).encode()) for number, _, sums in rest]
                )
                self._record(k).unlink()
        for number in again:
            (self.folder / dense_file(number)).unlink(missing_ok=True)
        self.done -= set(again)
        return len(again)

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
        inputs = [self._inputs(number) for number in shard.numbers]
        write_json(self._record(k), {"items": shard.items, "inputs": inputs, "files": sums})
        self._delete(shard.numbers)

    def _tables(self, number: int) -> dict[str, "pa.Table"]:
        """The tables of an item in the journal."""
        rows = self._journal.execute(
            "SELECT part, content FROM found WHERE item = ? AND part != ?", [number, INPUTS]
        )
        return {name: unpacked(content) for name, content in rows}

    def _inputs(self, number: int) -> list[str]:
        """The checksums of what an item in the journal comes from; none of an earlier version."""
        query = "SELECT content FROM found WHERE item = ? AND part = ?"
        row = self._journal.execute(query, [number, INPUTS]).fetchone()
        return [] if row is None else json.loads(row[0])

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
    *,
    retry_with: Inputs | None = None,
) -> Iterator[StoreWriter]:
    """Open a store for this run alone, and close it at the end.

    Args:
        head: the model, options, facts and cases of the sweep. A store can be continued only with
            the same.
        finish: from the tables of a shard's items to all tables that are written of it.
        retry_with: take out what failed and, if facts or edits were mended, each item whose inputs
            have changed (see `StoreWriter.retry`).

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
            for unfinished in folder.glob("**/.*.tmp"):
                unfinished.unlink()
            mended = compare_head(folder, head, len(shards), may_mend=retry_with is not None)
        writer = StoreWriter(folder, head, shards, finish)
        try:
            if retry_with is not None:
                writer.retry(retry_with if mended else None)
            if mended:  # last: a run that dies before begins again here
                with _explain_errors(folder):
                    write_head(folder, head, len(shards))
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


def _save(file: Path, dense: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    save_file({name: values.contiguous() for name, values in dense.items()}, file)
