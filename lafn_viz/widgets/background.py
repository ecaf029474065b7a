"""Work in a background thread: the page stays responsive, shows progress, and can cancel.

1. All explorers of a page share one `Worker`, which has one thread: two passes through the same
   model at a time would mix their hooks.
2. Each piece of work is a `Task`. It reports its progress by `step`, and ends there with
   `Cancelled` once it is cancelled; inside `ends_in_passes_of`, at any layer that the model reads.
3. An explorer submits work on lanes ("model", "edit", "answers", ...). On a lane only the last
   submission counts: it cancels the one before (see `Explorer.submit`).
4. Long work is a generator that yields between its parts. There other tasks go first, so that a
   click waits for one part and not for the whole.
5. Only one thread at a time has torch's threads (see `release_threads`).
"""

import contextlib
import contextvars
import ctypes
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import hook_block, hooked

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


OMP_PAUSE_SOFT = 1  # OpenMP 5.0: what the program has set stays


class Cancelled(BaseException):
    """Raised inside a task that was cancelled.

    It is no `Exception`: what goes on with the next record after an error must not go on then.
    """


class Task:
    """One piece of work: it reports its progress, and can be cancelled from another thread."""

    def __init__(self, progress: Callable[[float, str], None]) -> None:
        self._progress = progress
        self._cancelled = threading.Event()
        self._reporting = threading.RLock()
        self.finished: Future[None] = Future()

    def cancel(self) -> None:
        """Ask the task to end at its next step. After this returns it reports no more progress.

        A report that is under way is waited for: otherwise it could appear after "Cancelled." and
        stay there.
        """
        with self._reporting:
            self._cancelled.set()

    def wait(self, seconds: float) -> bool:
        """Sleep until the time is over or the task is cancelled; return whether it is cancelled."""
        return self._cancelled.wait(seconds)

    @property
    def cancelled(self) -> bool:
        """Whether the task was cancelled."""
        return self._cancelled.is_set()

    def step(self, share: float, message: str = "") -> None:
        """Report the share of the work that is done, in [0, 1], and what is done next.

        Without a message, what was said last stands.

        Raises:
            Cancelled: if the task was cancelled.
        """
        with self._reporting:
            if self.cancelled:
                raise Cancelled
            self._progress(share, message)

    @contextlib.contextmanager
    def ends_in_passes_of(self, model: "TransformerBridge") -> Iterator[None]:
        """End passes of the model in this block with `Cancelled` once the task is cancelled."""

        def check(value: Any, hook: Any) -> None:
            if self.cancelled:
                raise Cancelled

        layers = range(capabilities(model).n_layers)
        with hooked(model, [(hook_block(layer), check) for layer in layers]):
            yield


def release_threads() -> None:
    """Give up the OpenMP threads of the calling thread; torch starts others when it needs them.

    Each thread that computes has OpenMP threads of its own. Together they are more than the cores,
    even if most are idle, and GCC's OpenMP then lets all of them sleep between any two operations:
    the same attribution takes up to twice as long.
    """
    # Torch on Windows or without OpenMP has no such function, and may have no such trouble.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).omp_pause_resource_all(OMP_PAUSE_SOFT)


class Worker:
    """One thread that runs tasks in the order in which they are submitted.

    A task that yields goes to the end of the queue.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="lafn_viz")
        self._pending: set[Task] = set()

    @property
    def busy(self) -> bool:
        """Whether a task that is submitted now has to wait."""
        return bool(self._pending)

    def submit(
        self,
        compute: Callable[[Task], Any],
        *,
        show: Callable[[Any, Task], None],
        progress: Callable[[float, str], None],
        failed: Callable[[Exception], None],
    ) -> Task:
        """Run `compute`, then `show` with its result and the task; return without waiting.

        Both run in the thread, as does `failed`, which gets the exception of a task that fails.
        The task may be cancelled between `compute` and `show`: `show` has to check.

        Args:
            compute: returns the result, or is a generator that does. Wherever that yields, tasks
                that wait run before it goes on.
        """
        task = Task(progress)
        # Messages from the thread belong to the cell or the click that submitted the work.
        context = contextvars.copy_context()

        def parts() -> Generator[None]:
            result = compute(task)
            if isinstance(result, Generator):
                result = yield from result
            show(result, task)

        left = parts()

        def run() -> None:
            goes_on = False
            try:
                if task.cancelled:
                    left.close()
                else:
                    next(left)
                    goes_on = True
            except (StopIteration, Cancelled):
                pass
            except Exception as error:
                if not task.cancelled:
                    failed(error)
            finally:
                release_threads()
                if goes_on:
                    self._pool.submit(context.run, run)
                else:
                    self._pending.discard(task)
                    task.finished.set_result(None)

        self._pending.add(task)
        release_threads()
        self._pool.submit(context.run, run)
        return task
