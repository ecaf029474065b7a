"""Work in the background: the page stays alive, can cancel, and hears how far it is.

A model is read by one thread at a time, as the hooks of two runs would mix: everything that the
explorers ask of one model goes through one `Worker`. Of what one place on the page asks for, only
the last counts: what was asked before ends at its next step, silently.
"""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Cancelled(Exception):
    """Raised in work that nobody waits for any more."""


class Task:
    """One piece of work: it tells how far it is, and learns that it is not wanted any more."""

    def __init__(self, progress: Callable[[float, str], None]) -> None:
        self._progress = progress
        self._stop = threading.Event()
        self._telling = threading.RLock()
        self.finished: Future[None] = Future()

    def cancel(self) -> None:
        """Ask it to end at its next step. Once this returns it tells no more how far it is."""
        with self._telling:
            self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Sleep unless cancelled; whether it was."""
        return self._stop.wait(seconds)

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to end."""
        return self._stop.is_set()

    def step(self, share: float, told: str) -> None:
        """Tell the share that is done, in [0, 1], and what is being done; end if cancelled."""
        with self._telling:
            if self.cancelled:
                raise Cancelled
            self._progress(share, told)


class Worker:
    """One thread. `submit` never blocks."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="lafn_viz")
        self._pending: set[Task] = set()

    @property
    def busy(self) -> bool:
        """Whether what is submitted now has to wait."""
        return bool(self._pending)

    def submit(
        self,
        compute: Callable[[Task], Any],
        *,
        then: Callable[[Any, Task], None],
        progress: Callable[[float, str], None],
        failed: Callable[[Exception], None],
    ) -> Task:
        """Run `compute`, then give what it returns to `then` with the task, both in the thread.

        `then` has to look whether the task was cancelled meanwhile.
        """
        task = Task(progress)
        # What the thread sends belongs to the cell or click that asked for it.
        context = contextvars.copy_context()

        def run() -> None:
            try:
                if not task.cancelled:
                    then(compute(task), task)
            except Cancelled:
                pass
            except Exception as error:
                if not task.cancelled:
                    failed(error)
            finally:
                self._pending.discard(task)
                task.finished.set_result(None)

        self._pending.add(task)
        self._pool.submit(context.run, run)
        return task
