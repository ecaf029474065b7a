"""A context that several blocks are in together."""

import contextlib
import threading

import pytest

from lafn_viz.core.shared import Shared


def counted(log):
    @contextlib.contextmanager
    def made():
        log.append("in")
        yield
        log.append("out")

    return Shared(made)


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_the_first_block_enters_and_the_last_one_leaves(n_blocks):
    log = []
    shared = counted(log)
    for _ in range(n_blocks):
        shared.__enter__()
    for _ in range(n_blocks - 1):
        shared.__exit__(None, None, None)
        assert log == ["in"]
    shared.__exit__(None, None, None)
    with shared:
        assert log == ["in", "out", "in"]


def test_threads_are_in_it_together():
    log, both_in = [], threading.Barrier(2)
    shared = counted(log)

    def work():
        with shared:
            both_in.wait(10)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert log == ["in", "out"]


def test_an_error_leaves_it():
    log = []
    with pytest.raises(KeyError), counted(log):
        raise KeyError
    assert log == ["in", "out"]
