"""Kill runs that write a store, over and over.

    python killing.py lines FOLDER   die at line after line of the writer, with made-up results
    python killing.py sweep FOLDER   die at any time of a real sweep

Prints as JSON what a test then checks. Each run is a child, forked from a process that has loaded
everything and started no thread.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # threads do not survive a fork

import hashlib
import json
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from lafn_viz.core import files
from lafn_viz.experiments import store, store_writer
from lafn_viz.experiments.job import Job
from lafn_viz.experiments.schema import (
    CASE_TABLES,
    FACT_TABLES,
    FAILURES,
    TABLES,
    ItemResult,
    schema,
    table_of,
)
from lafn_viz.experiments.store_writer import Shard, StoreWriter, open_writer

HEAD = {
    "model": {"name": "made-up", "weights": "0" * 64, "n_layers": 2, "d_mlp": 1000},
    "versions": {"lafn_viz": "0"},
    "options": {
        "seed": 0,
        "methods": ["amig"],
        "editors": ["none"],
        "min_languages": 4,
        "min_scripts": 3,
    },
    "facts": {"count": 3},
    "cases": {"count": 2},
}
SHARDS = (Shard(0, ("a", "b")), Shard(2, ("c",)), Shard(3, ("d", "e"), edits=True))


def made_up(number: int) -> ItemResult:
    """A result: some rows, for odd numbers many of them, and a tensor."""
    import torch

    edit = number >= 3
    tables = {
        name: schema(name).empty_table()
        for name in (*(CASE_TABLES if edit else FACT_TABLES), *FAILURES)
    }
    name, item = ("edits", "case") if edit else ("scores", "fact_id")
    count = 5 + 200 * (number % 2)
    columns = {item: "abcde"[number], "model": "made-up", "neuron": range(count)}
    tables[name] = few_columns(name, columns)
    if number == 1:
        columns = {"item": ["b"], "stage": ["effects"], "reason": ["made up"]}
        tables["failures"] = few_columns("failures", columns)
    return ItemResult(tables, {} if edit else {"amig": torch.arange(6.0).view(1, 2, 3) + number})


def few_columns(name: str, columns: dict[str, object]) -> pa.Table:
    """A table with these columns, and nulls in the others."""
    return table_of(name, pd.DataFrame(columns), nulls=TABLES[name].keys() - columns.keys())


def write_made_up(folder: Path, log: Path) -> None:
    """Write a store as a sweep does, with results that cost nothing."""
    with open_writer(folder, HEAD, SHARDS, lambda tables: tables) as writer:
        for number in [4, 0, 3, 2, 1]:
            if number not in writer.done:
                say(log, f"begins {number}")
                writer.add(number, made_up(number))
                say(log, f"ended {number}")


def say(log: Path, text: str) -> None:
    """Append a line to a log."""
    with log.open("a") as opened:
        opened.write(text + "\n")


def forked(work: Callable[[], object]) -> int:
    """Start a child that does some work. Returns its process id."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
    return child


def ended(child: int) -> int:
    """Wait for a child. Returns its exit status, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_at(line: int, work: Callable[[], object]) -> Callable[[], None]:
    """Return the work, killed when that many lines of the writing modules have been run."""
    traced = {store_writer.__file__, store.__file__, files.__file__}
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        if frame.f_code.co_filename not in traced:
            return None
        if event == "line":
            count += 1
            if count == line:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def run() -> None:
        sys.settrace(trace)
        work()

    return run


def tree(folder: Path) -> dict[str, str]:
    """The checksum of each file."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def twice(log: Path) -> list[str]:
    """Return the items that were begun again after they had ended."""
    finished, again = set(), []
    for line in log.read_text().splitlines() if log.exists() else ():
        word, number = line.split()
        if word == "ended":
            finished.add(number)
        elif number in finished:
            again.append(number)
    return again


def lines(root: Path) -> dict[str, object]:
    """Die at every few lines, then resume; and die again and again in one store."""
    whole = root / "whole"
    assert ended(forked(lambda: write_made_up(whole, root / "log"))) == 0
    wanted, draw = tree(whole), random.Random(0)
    wrong, again, kills, line = [], [], 0, 1
    while True:
        folder, log = root / f"at-{line}", root / f"log-{line}"
        status = ended(forked(die_at(line, lambda f=folder, o=log: write_made_up(f, o))))
        if status == 0:
            break  # there are no more lines
        kills += status == -signal.SIGKILL
        if ended(forked(lambda f=folder, o=log: write_made_up(f, o))) or tree(folder) != wanted:
            wrong.append(line)
        again += twice(log)
        line += draw.randint(1, 45)
    folder, log, worn = root / "worn", root / "log-worn", 0
    while worn < 40:
        at = draw.randint(100, 640)
        if ended(forked(die_at(at, lambda: write_made_up(folder, log)))) == 0:
            break
        worn += 1
    assert ended(forked(lambda: write_made_up(folder, log))) == 0
    return {
        "kills": kills, "wrong": wrong, "again": again + twice(log), "worn": worn,
        "worn_equal": tree(folder) == wanted, "files": sorted(wanted),
    }  # fmt: skip


def real(root: Path) -> dict[str, object]:
    """Kill a sweep at random times until it completes."""
    import lafn_viz as lv

    model, facts = lv.load_model("embedded"), lv.load_facts()
    sample = facts.filter(relation=["capital", "script"], languages=["en", "ru"]).sample(5, seed=2)
    cases = lv.counterfactual_cases(facts, n=1).filter(languages=["en"])
    editor = lv.baselines.language_agnostic(position="answer", n_neurons=2000)

    def sweep(folder: Path, log: Path) -> None:
        add = StoreWriter.add

        def logged_add(self, number, result):
            add(self, number, result)
            say(log, f"ended {number}")

        StoreWriter.add = logged_add
        run = Job.run
        Job.run = lambda job, model, number: (
            say(log, f"begins {number}"), run(job, model, number)
        )[1]  # fmt: skip
        lv.sweep(
            model, sample, folder, cases=cases, editors=[editor], per_shard=3, dense=True,
            methods=["activation"], how="zero", controls=1, progress=False,
        )  # fmt: skip

    begun = time.monotonic()
    assert ended(forked(lambda: sweep(root / "whole", root / "log"))) == 0
    usual = time.monotonic() - begun
    folder, log, draw, kills = root / "killed", root / "log-killed", random.Random(1), 0
    while True:
        child = forked(lambda: sweep(folder, log))
        deadline = time.monotonic() + draw.uniform(0.05, usual / 2)
        while time.monotonic() < deadline and not os.waitid(
            os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
        ):
            time.sleep(0.005)
        if not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            os.kill(child, signal.SIGKILL)
        status = ended(child)
        if status == 0:
            break
        assert status == -signal.SIGKILL, status
        kills += 1
        assert kills < 200
    lv.Store(folder).check()
    begins = [line for line in log.read_text().splitlines() if line.startswith("begins")]
    return {
        "kills": kills, "again": twice(log), "begun": len(begins),
        "items": len(sample) + len(cases),
        "equal": tree(folder) == tree(root / "whole"), "files": sorted(tree(folder)),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps({"lines": lines, "sweep": real}[sys.argv[1]](Path(sys.argv[2]))))
