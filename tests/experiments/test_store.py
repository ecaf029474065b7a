"""The store survives kills, two writers, damage and full disks, and other programs can read it."""

import json
import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import killing
import pandas as pd
import pyarrow.parquet as pq
import pytest
from fuzzing import changed, damaged, examples, read_or_refused
from hypothesis import given, strategies as st

import lafn_viz as lv
from lafn_viz.experiments.schema import SCHEMA, TABLES
from lafn_viz.experiments.store_writer import Shard, open_writer

ITEMS = range(5)


def written(folder: Path, order=ITEMS) -> dict[str, str]:
    """Write made-up results and return the files with their checksums."""
    with open_writer(folder, killing.HEAD, killing.SHARDS, lambda tables: tables) as writer:
        for number in order:
            writer.add(number, killing.made_up(number))
    return killing.tree(folder)


@pytest.mark.slow
def test_killed_at_line_after_line_it_loses_nothing_and_repeats_nothing(tmp_path):
    report = killing.killed("lines", tmp_path, "store")["store"]
    assert report["kills"] > 40
    assert report["worn"] > 3
    assert (report["wrong"], report["again"], report["worn_equal"]) == ([], [], True)
    assert "journal.sqlite" not in report["files"]


@pytest.mark.slow
def test_a_sweep_killed_at_any_time_leaves_the_same_bytes(tmp_path):
    report = killing.killed("sweep", tmp_path)
    assert report["kills"] > 3
    assert (report["again"], report["equal"]) == ([], True)
    # Each kill costs the item that was being computed, and no other.
    assert report["begun"] <= report["items"] + report["kills"]


@pytest.mark.slow
def test_the_files_do_not_depend_on_the_order_of_the_items(tmp_path):
    wanted = written(tmp_path / "in-order")
    for number, order in enumerate(list(permutations(ITEMS))[::17]):
        assert written(tmp_path / str(number), order) == wanted


def test_a_shard_is_written_as_soon_as_it_is_whole(tmp_path):
    with open_writer(tmp_path, killing.HEAD, killing.SHARDS, lambda tables: tables) as writer:
        for number in (0, 3, 1):
            writer.add(number, killing.made_up(number))
        assert [path.name for path in (tmp_path / "scores").iterdir()] == ["00000.parquet"]
        assert not (tmp_path / "edits").exists()


@pytest.mark.slow
def test_a_second_run_is_refused_while_the_first_is_writing(tmp_path):
    arguments = tmp_path, killing.HEAD, killing.SHARDS, lambda tables: tables
    with open_writer(*arguments) as writer:
        writer.add(0, killing.made_up(0))
        with pytest.raises(lv.StoreError, match="another run is writing to") as told:
            open_writer(*arguments).__enter__()
        assert str(tmp_path) in str(told.value)
        other = subprocess.run(
            [sys.executable, "-c", "import sys; sys.path.insert(0, sys.argv[2])\n"
             "import killing; from pathlib import Path\n"
             "killing.write_made_up(Path(sys.argv[1]), Path(sys.argv[1] + '.log'))",
             str(tmp_path), str(Path(killing.__file__).parent)],
            capture_output=True, text=True,
        )  # fmt: skip
        assert "StoreError: another run is writing to" in other.stderr
        writer.add(1, killing.made_up(1))
    assert written(tmp_path, (2, 3, 4)) == written(tmp_path.with_name("alone"))


@pytest.mark.parametrize("call", ["write_table", "fsync", "replace"])
def test_a_full_disk_loses_no_finished_item(tmp_path, monkeypatch, call):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    def until_full():
        with open_writer(tmp_path, killing.HEAD, killing.SHARDS, lambda tables: tables) as writer:
            writer.add(0, killing.made_up(0))
            with monkeypatch.context() as patch:
                where = {"write_table": pq, "fsync": os, "replace": Path}[call]
                patch.setattr(where, call, full)
                writer.add(1, killing.made_up(1))

    with pytest.raises(lv.StoreError, match=r"cannot be written to .*No space left"):
        until_full()
    assert not list((tmp_path / "shards").glob("*.json"))
    with open_writer(tmp_path, killing.HEAD, killing.SHARDS, lambda tables: tables) as writer:
        assert 0 in writer.done
    rest = [number for number in ITEMS if number not in writer.done]
    assert written(tmp_path, rest) == written(tmp_path.with_name("roomy"))


def test_items_that_failed_can_be_done_again(tmp_path):
    wanted = written(tmp_path / "whole")
    for order in ((0, 1), (0, 1, 2, 3, 4)):  # the shard is in the journal, or written
        place = tmp_path / str(len(order))
        written(place, order)
        with open_writer(place, killing.HEAD, killing.SHARDS, lambda tables: tables) as writer:
            assert writer.retry() == 1
            assert writer.done == set(order) - {1}
            assert writer.retry() == 0
            for number in set(ITEMS) - writer.done:
                writer.add(number, killing.made_up(number))
        assert killing.tree(place) == wanted


def test_a_folder_of_something_else_is_refused(tmp_path):
    written(tmp_path / "a")
    other = {**killing.HEAD, "options": {**killing.HEAD["options"], "seed": 1}}
    with pytest.raises(lv.StoreError, match=r"holds another sweep \(its options.seed differ\)"):
        open_writer(tmp_path / "a", other, killing.SHARDS, lambda t: t).__enter__()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("mine")
    with pytest.raises(lv.StoreError, match="is not empty and holds no sweep"):
        open_writer(tmp_path / "b", other, killing.SHARDS, lambda t: t).__enter__()
    (tmp_path / "c").write_text("a file")
    with pytest.raises(lv.StoreError, match="cannot be written to"):
        open_writer(tmp_path / "c", other, killing.SHARDS, lambda t: t).__enter__()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{", "not JSON that can be used"),
        (b"[]", "a record is a JSON object"),
        (b"{}", "field 'schema': None, but it must be a whole number"),
        (b'{"schema": 99}', f"is of schema 99, but this version of lafn_viz reads schema {SCHEMA}"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_damaged_head_is_explained(tmp_path, text, told):
    written(tmp_path)
    (tmp_path / "sweep.json").write_bytes(text)
    with pytest.raises(lv.StoreError, match=told):
        lv.Store(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    written(place)
    return place


@pytest.mark.slow
@examples(60)
@given(data=st.data())
def test_files_with_any_content_are_read_or_refused(whole, data):
    """Damage to a small file is always found; in a table, Parquet may overlook it."""
    names = ["sweep.json", "shards/00000.json", "scores/00000.parquet", "edits/00002.parquet"]
    file = whole / data.draw(st.sampled_from(names))
    raw = file.read_bytes()
    bad = data.draw(damaged(raw))
    if file.suffix == ".json" and data.draw(st.booleans()):
        bad = json.dumps(data.draw(changed(json.loads(raw)))).encode()

    def read() -> None:
        store = lv.Store(whole)
        repr(store)
        for table in TABLES:
            store.read(table)
        store.summary()
        store.check()

    try:
        file.write_bytes(bad)
        read_or_refused(read, whole)
    finally:
        file.write_bytes(raw)
    read()


def test_a_folder_without_a_store(tmp_path):
    with pytest.raises(lv.StoreError, match="holds no sweep"):
        lv.Store(tmp_path / "none")


@pytest.fixture(scope="module")
def store(embedded, facts, tmp_path_factory):
    some = facts.filter(relation="capital", languages=["en", "ar", "zh"]).sample(3, seed=1)
    place = tmp_path_factory.mktemp("store") / "a store"
    cases = lv.counterfactual_cases(facts, n=1).filter(languages=["en"])
    return lv.sweep(embedded, some, place, cases=cases, per_shard=2, progress=False)


def test_pandas_and_duckdb_read_it_without_this_package(store):
    script = """
import json, sys
import duckdb, pandas as pd
folder, tables = sys.argv[1], sys.argv[2:]
report = {}
for name in tables:
    frame = pd.read_parquet(f"{folder}/{name}")
    rows = duckdb.sql(f"SELECT count(*) FROM '{folder}/{name}/*.parquet'").fetchall()[0][0]
    assert rows == len(frame), name
    report[name] = {"rows": rows, "columns": list(frame.columns)}
best = duckdb.sql(f"SELECT max(score) FROM '{folder}/scores/*.parquet'").fetchall()[0][0]
text = duckdb.sql(f"SELECT answer FROM '{folder}/prompts/*.parquet' WHERE language = 'zh'")
assert not [name for name in sys.modules if name.startswith(("lafn_viz", "torch"))]
print(json.dumps({"tables": report, "best": best, "answers": text.fetchall()}))
"""
    run = subprocess.run(
        [sys.executable, "-c", script, str(store.folder), *TABLES],
        capture_output=True, text=True, cwd=store.folder,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    for name, columns in TABLES.items():
        assert report["tables"][name]["columns"] == list(columns)
        assert report["tables"][name]["rows"] == len(store.read(name))
    assert report["best"] == store.read("scores")["score"].max()
    assert report["answers"][0][0] in set(store.read("prompts")["answer"])


def test_every_file_names_the_sweep_that_made_it(store):
    for file in store.folder.rglob("*.parquet"):
        told = json.loads(pq.read_schema(file).metadata[b"lafn_viz"])
        assert told["schema"] == SCHEMA
        assert told["model"]["weights"] == store.provenance.weights
        assert told["versions"]["torch"]


def test_check_finds_a_changed_file(store):
    store.check()
    file = sorted((store.folder / "neurons").iterdir())[0]
    whole = file.read_bytes()
    try:
        file.write_bytes(whole[:-1] + b"x")
        with pytest.raises(lv.StoreError, match="was changed or damaged; delete") as told:
            store.check()
        assert str(file) in str(told.value)
        file.unlink()
        with pytest.raises(lv.StoreError, match="is missing"):
            store.check()
    finally:
        file.write_bytes(whole)


def test_a_file_that_cannot_be_read_is_named_with_what_to_do(embedded, facts, tmp_path):
    some = facts.filter(relation="capital", languages=["en", "fr"]).sample(1)
    quick = {"methods": "activation", "changed": [], "lens": False, "progress": False}
    store = lv.sweep(embedded, some, tmp_path, dense=True, **quick)
    dense = next((tmp_path / "dense").iterdir())
    table = next((tmp_path / "scores").iterdir())
    shard = next((tmp_path / "shards").iterdir())
    for file, read in (
        (dense, lambda: store.dense(some.facts[0].id)),
        (table, lambda: store.read("scores")),
    ):
        whole = file.read_bytes()
        for left in (whole[:9], None):
            file.unlink()
            if left is not None:
                file.write_bytes(left)
            with pytest.raises(lv.StoreError, match=r"cannot be read \(.+\); delete") as told:
                read()
            assert str(file) in str(told.value)
            assert str(shard) in str(told.value)
        file.write_bytes(whole)
        read()


def test_names_that_do_not_exist(store):
    with pytest.raises(ValueError, match="unknown table 'rows'; there are prompts, scores"):
        store.read("rows")
    with pytest.raises(ValueError, match="unknown column 'x'; there are model, method"):
        store.read("scores", columns=["x"])
    with pytest.raises(ValueError, match="has no dense scores of"):
        store.dense("capital/FR")
    with pytest.raises(ValueError, match="unknown editor 'rome'; there are language-agnostic"):
        store.evaluation("rome")
    with pytest.raises(ValueError, match="unknown method 'amig'; there are integrated"):
        store.neuron_sets(method="amig")


def test_the_parts_make_up_the_table(store):
    for name in TABLES:
        parts = [part for part in store.parts(name) if len(part)]
        if parts:
            pd.testing.assert_frame_equal(
                pd.concat(parts, ignore_index=True), store.read(name), check_dtype=False
            )


def test_a_journal_that_is_no_database_is_refused(store, tmp_path):
    (tmp_path / "sweep.json").write_bytes((store.folder / "sweep.json").read_bytes())
    (tmp_path / "journal.sqlite").write_text("nothing of the kind " * 100)
    head = {k: v for k, v in store.head.items() if k not in ("schema", "shards")}
    shards = [Shard(0, ("a",)), Shard(1, ("b",)), Shard(2, ("c",))]
    with pytest.raises(lv.StoreError, match=r"cannot be written to .*not a database"):
        open_writer(tmp_path, head, shards, lambda t: t).__enter__()
