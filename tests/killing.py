"""Kill runs that write, over and over.

    python killing.py lines FOLDER WHAT ...   die at line after line of the modules that write
    python killing.py sweep FOLDER            die at any time of a real sweep

WHAT is a store (with made-up results), an evaluation, edits, a conversion, a report or an atlas.
`--kills N` draws N of the lines, `--worn N` kills up to N times more in one place. Prints as JSON
what a test then checks. Each run is a child, forked from a process that has loaded everything and
started no thread.
"""

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"  # threads do not survive a fork

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

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


@dataclass(frozen=True)
class Writing:
    """Something that is written, and what is killed while it writes.

    Args:
        name: of the file or folder.
        work: writes it, and logs what it begins and ends.
        modules: whose lines count.
        earlier: writes an earlier version, which the later one replaces. What has the name is then
            one of the two, or nothing, at any moment.
    """

    name: str
    work: Callable[[Path, Path], object]
    modules: tuple[ModuleType, ...]
    earlier: Callable[[Path], object] | None = None


def a_store(root: Path) -> Writing:
    return Writing("store", write_made_up, (store_writer, store, files))


def an_evaluation(root: Path) -> Writing:
    import made_up_edits

    import lafn_viz as lv
    from lafn_viz.editing.evaluation import journal

    model, facts = lv.load_model("embedded"), lv.load_facts()
    cases = lv.counterfactual_cases(facts, n=3, neighbours=1).filter(languages=["en"])

    def edit(model, case, languages):
        return made_up_edits.Nothing()

    def work(place: Path, log: Path) -> None:
        editor = lv.Editor("nothing", edit)
        lv.evaluate(model, editor, cases, file=place, progress=False)

    return Writing("done.jsonl", work, (journal, files))


def edits(root: Path) -> Writing:
    import lafn_viz as lv
    from lafn_viz.editing import cache_files, many

    model, facts = lv.load_model("embedded"), lv.load_facts()
    cases = lv.counterfactual_cases(facts, n=3).filter(languages=["en"])

    def make() -> None:
        lv.edit_cases(
            model, cases, folder=root / "made", progress=False, n_neurons=5, position="answer"
        )

    assert ended(forked(make)) == 0
    made = {edit.key: edit for edit in lv.EditCache.load(root / "made")}
    many.SAVE_EVERY = 0.0
    many.edit_case = lambda model, case, **options: made[case.key]

    def work(place: Path, log: Path) -> None:
        lv.edit_cases(model, cases, folder=place, progress=False)

    return Writing("edits", work, (many, cache_files, files))


def a_conversion(root: Path) -> Writing:
    from made_up_gguf import a_gguf_file, tiny_qwen
    from tokenizer_kinds import tokenizer_of

    from lafn_viz.models import gguf_files
    from lafn_viz.models.gguf_header import read_header

    tokenizer = tokenizer_of("byte-level")
    model = tiny_qwen(vocab_size=len(tokenizer))
    file = a_gguf_file(root / "tiny.gguf", model, tokenizer)
    header = read_header([file])

    def work(place: Path, log: Path) -> None:
        gguf_files.convert([file], place, header)

    return Writing("model", work, (gguf_files, files))


def swept(root: Path) -> Path:
    """The folder of a small sweep."""
    import lafn_viz as lv

    model = lv.load_model("embedded")
    facts = lv.load_facts().filter(relation="capital", leaking=False, languages=["en", "fr"])

    def sweep() -> None:
        lv.sweep(
            model, facts.sample(3, seed=3), root / "swept", methods=["activation"], how="zero",
            controls=1, min_languages=2, min_scripts=1, progress=False,
        )  # fmt: skip

    assert ended(forked(sweep)) == 0
    return root / "swept"


def a_report(root: Path) -> Writing:
    import lafn_viz as lv
    from lafn_viz.reports import report

    results = swept(root)
    return Writing(
        "report.html",
        lambda place, log: lv.report(results, place),
        (report, files),
        lambda place: lv.report(results, place, title="An earlier one"),
    )


def an_atlas(root: Path) -> Writing:
    import lafn_viz as lv
    from lafn_viz.reports import atlas

    results = swept(root)
    return Writing(
        "site",
        lambda place, log: lv.atlas(results, place, tokens=False, neurons=3),
        (atlas, files),
        lambda place: lv.atlas(results, place, tokens=False, neurons=1),
    )


WRITINGS = {
    "store": a_store, "evaluation": an_evaluation, "edits": edits, "conversion": a_conversion,
    "report": a_report, "atlas": an_atlas,
}  # fmt: skip


def by_lines(
    modules: tuple[ModuleType, ...], work: Callable[[], object], *, last: int = 0, count: Path
) -> Callable[[], None]:
    """Return the work, killed at its `last` line of these modules, or else with lines counted."""
    traced, lines = {module.__file__ for module in modules}, 0

    def trace(frame, event, arg):
        nonlocal lines
        if frame.f_code.co_filename not in traced:
            return None
        if event == "line":
            lines += 1
            if lines == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    def run() -> None:
        sys.settrace(trace)
        work()
        sys.settrace(None)
        count.write_text(str(lines))

    return run


def killed(*arguments: object) -> dict[str, Any]:
    """Run this file, and return what it prints."""
    run = subprocess.run(
        [sys.executable, __file__, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def tree(folder: Path) -> dict[str, str]:
    """The checksum of each file in a folder, or of a file."""
    if folder.is_file():
        return {"": files.checksum(folder)}
    return {
        path.relative_to(folder).as_posix(): files.checksum(path)
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


def lines(root: Path, what: str, n_kills: int, most: int) -> dict[str, object]:
    """Die at some of the lines, then resume; and die again and again in one place."""
    root.mkdir(parents=True)
    writing, count = WRITINGS[what](root), root / "count"

    def run(folder: Path, log: Path, last: int = 0) -> int:
        """Write into a folder, or die at a line. Returns the exit status."""
        folder.mkdir(exist_ok=True)

        def work() -> object:
            return writing.work(folder / writing.name, log)

        return ended(forked(by_lines(writing.modules, work, last=last, count=count)))

    whole, before = root / "whole", root / "before"
    assert run(whole, root / "log") == 0
    n_lines = int(count.read_text())
    wanted, versions = tree(whole), [{}, tree(whole / writing.name)]
    if writing.earlier:
        before.mkdir()
        assert ended(forked(lambda: writing.earlier(before / writing.name))) == 0
        versions.append(tree(before / writing.name))
    draw = random.Random(0)
    wrong, torn, again, kills = [], [], [], 0
    for line in sorted(draw.sample(range(1, n_lines + 1), min(n_kills, n_lines))):
        folder, log = root / f"at-{line}", root / f"log-{line}"
        replaces = bool(writing.earlier) and kills % 2 == 1
        if replaces:
            shutil.copytree(before, folder)
        kills += run(folder, log, line) == -signal.SIGKILL
        if writing.earlier and tree(folder / writing.name) not in versions[replaces:]:
            torn.append(line)
        if run(folder, log) or tree(folder) != wanted:
            wrong.append(line)
        again += twice(log)
    folder, log, worn = root / "worn", root / "log-worn", 0
    while worn < most:
        if run(folder, log, draw.randint(n_lines // 12, n_lines // 2)) == 0:
            break
        worn += 1
    assert run(folder, log) == 0
    return {
        "kills": kills, "torn": torn, "wrong": wrong, "again": again + twice(log), "worn": worn,
        "worn_equal": tree(folder) == wanted, "files": sorted(wanted), "lines": n_lines,
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
    parser = argparse.ArgumentParser()
    modes = parser.add_subparsers(dest="mode", required=True)
    for mode in ("lines", "sweep"):
        of_mode = modes.add_parser(mode)
        of_mode.add_argument("folder", type=Path)
        if mode == "lines":
            of_mode.add_argument("what", choices=WRITINGS, nargs="+")
            of_mode.add_argument("--kills", type=int, default=64)
            of_mode.add_argument("--worn", type=int, default=12)
    args = parser.parse_args()
    if args.mode == "sweep":
        print(json.dumps(real(args.folder)))
    else:
        found = {what: lines(args.folder / what, what, args.kills, args.worn) for what in args.what}
        print(json.dumps(found))
