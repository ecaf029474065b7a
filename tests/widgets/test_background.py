"""Work in the background: only the last submission counts, errors are reported, cancelling ends."""

import subprocess
import sys
import threading

import pytest
import torch

from lafn_viz.models.hooks import hook_post, hooked
from lafn_viz.widgets.background import Cancelled, Task, Worker


def test_only_the_last_submission_is_shown():
    worker, shown, started, go_on = Worker(), [], threading.Event(), threading.Event()

    def slow(task: Task) -> str:
        started.set()
        go_on.wait(10)
        task.step(0.5, "half")
        return "old"

    def show(result: str, task: Task) -> None:
        shown.append(result)

    options = {"show": show, "progress": lambda share, message: None, "failed": shown.append}
    old = worker.submit(slow, **options)
    assert started.wait(10)
    waiting = worker.submit(lambda task: "never begun", **options)
    new = worker.submit(lambda task: "new", **options)
    old.cancel()
    waiting.cancel()
    go_on.set()
    for task in (old, waiting, new):
        task.finished.result(10)
    assert shown == ["new"]
    with pytest.raises(Cancelled):
        old.step(1.0, "done")


def test_where_a_task_yields_others_go_first():
    worker, shown, started, go_on = Worker(), [], threading.Event(), threading.Event()

    def long(task: Task):
        started.set()
        assert go_on.wait(10)
        yield
        shown.append("a part")
        yield
        return "all"

    def show(result: str, task: Task) -> None:
        shown.append(result)

    options = {"show": show, "progress": lambda *_: None, "failed": shown.append}
    tasks = [worker.submit(long, **options)]
    assert started.wait(10)
    tasks += [worker.submit(lambda task, name=name: name, **options) for name in ("b", "c")]
    go_on.set()
    for task in tasks:
        task.finished.result(10)
    assert shown == ["b", "c", "a part", "all"]
    assert not worker.busy


def test_a_task_that_is_cancelled_between_its_parts_is_closed():
    worker, ended, started, go_on = Worker(), [], threading.Event(), threading.Event()

    def long(task: Task):
        try:
            started.set()
            assert go_on.wait(10)
            yield
            ended.append("went on")
        finally:
            ended.append("closed")

    def cancel(task: Task) -> None:
        assert not first.finished.done()
        first.cancel()

    options = {"show": lambda *_: None, "progress": lambda *_: None, "failed": ended.append}
    first = worker.submit(long, **options)
    assert started.wait(10)
    second = worker.submit(cancel, **options)
    go_on.set()
    for task in (second, first):
        task.finished.result(10)
    assert ended == ["closed"]


def test_an_exception_in_a_later_part_is_reported():
    def long(task: Task):
        yield
        raise ValueError("no such fact")

    errors = []
    task = Worker().submit(
        long, show=lambda *_: None, progress=lambda *_: None, failed=errors.append
    )
    task.finished.result(10)
    assert str(errors[0]) == "no such fact"


def test_an_exception_in_the_background_is_reported():
    errors = []
    task = Worker().submit(
        lambda task: 1 / 0, show=lambda *_: None, progress=lambda *_: None, failed=errors.append
    )
    task.finished.result(10)
    assert isinstance(errors[0], ZeroDivisionError)


def test_a_cancelled_task_reports_no_more_progress():
    """Otherwise a report that was under way would replace "Cancelled." and stay there."""
    messages, inside, go_on = [], threading.Event(), threading.Event()

    def progress(share, message):
        inside.set()
        go_on.wait(30)
        messages.append(message)

    task = Task(progress)
    thread = threading.Thread(target=task.step, args=(0.5, "half"))
    thread.start()
    assert inside.wait(30)
    threading.Timer(0.2, go_on.set).start()
    task.cancel()
    assert messages == ["half"]  # the report was under way, and cancel() waited for it
    thread.join()
    with pytest.raises(Cancelled):
        task.step(0.6, "more")
    assert messages == ["half"]


def test_a_cancelled_task_ends_within_a_pass_of_the_model(tiny):
    model, tokens, layers = tiny("gpt2"), torch.tensor([[1, 2, 3]]), []
    task = Task(lambda *_: None)

    def cancel(value, hook):
        layers.append(hook.name)
        task.cancel()

    with task.ends_in_passes_of(model):
        model(tokens)
        with hooked(model, [(hook_post(x), cancel) for x in range(3)]), pytest.raises(Cancelled):
            model(tokens)
    assert len(layers) == 1  # the next layer was not read
    model(tokens)  # nothing is left on the model


THREADS = """
import os
import torch
from lafn_viz.widgets.background import Worker

def n_threads():
    return len(os.listdir("/proc/self/task"))

def compute(task):
    before = n_threads()
    torch.randn(1_000_000).exp()
    return before, n_threads()

torch.set_num_threads(3)
before = n_threads()
torch.randn(1_000_000).exp()
print(n_threads() - before)
worker = Worker()
for _ in range(2):
    seen = []
    options = {"progress": print, "failed": print, "show": lambda counts, task: seen.append(counts)}
    worker.submit(compute, **options).finished.result()
    print(seen[0][0] - before, seen[0][1] - seen[0][0], n_threads() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_one_thread_at_a_time_has_torchs_threads():
    run = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, check=True
    )
    counts = [[int(count) for count in line.split()] for line in run.stdout.splitlines()]
    assert counts == [[2], [1, 2, 1], [1, 2, 1]]
