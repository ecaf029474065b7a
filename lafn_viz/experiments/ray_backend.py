"""The items of a sweep on a Ray cluster: a model in every worker, small chunks of work for whoever
is free.

1. A worker is an actor that loads the model once, on a GPU of its own if the sweep wants one.
2. It is given a chunk of items and sends each result as soon as it has it. Chunks shrink towards
   the end, so that nobody waits for the slowest.
3. Who dies (killed, out of memory, its node gone) is replaced, and the items that it still had are
   given out again, one by one. An item whose worker died `TRIES` times is recorded as failed.

What comes back is kept by one process, the one that asked (see `journal`).
"""

import os
import socket
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lafn_viz.experiments.schema import ItemResult
from lafn_viz.experiments.stages import Job, Source, described

if TYPE_CHECKING:
    from types import TracebackType

TRIES = 3  # deaths of workers that an item may cause; starts that may fail in a row
CHUNK = 8  # items that are given out at once, at most


class ClusterError(ValueError):
    """A cluster that cannot do the work; the message says why."""


class Cluster:
    """Workers on a Ray cluster, between `with` and its end.

    Args:
        workers: how many; as many as there are GPUs (or CPUs, for a model on the CPU).
        address: of a running cluster, "auto" for the one of this machine; without it the one that
            this process is connected to, or RAY_ADDRESS names, or a new one on this machine alone.

    Raises:
        ImportError: without the extra `lafn_viz[ray]`.
        ClusterError: if there is no cluster, or the model cannot be loaded on it.
    """

    def __init__(
        self, job: Job, source: Source, *, workers: int | None = None, address: str | None = None
    ) -> None:
        self.job, self.source, self.address = job, source, address
        self.count = workers or 0  # 0: as many as there is room for
        self._own = False

    def __enter__(self) -> "Cluster":
        ray = _ray()
        self._own = not ray.is_initialized()
        if self._own:
            address = self.address or os.environ.get("RAY_ADDRESS") or "local"
            # A cluster that runs has its dashboard, or none.
            alone = {"include_dashboard": False} if address == "local" else {}
            try:
                _call(address)
                ray.init(address=address, log_to_driver=False, logging_level="ERROR", **alone)
            except (OSError, ValueError, RuntimeError) as error:
                raise ClusterError(
                    f"there is no Ray cluster at {address!r} ({_line(error)}); start one with "
                    "ray start --head and give its HOST:PORT, or leave the address out"
                ) from error
        there = ray.cluster_resources()
        device = self.source.device or ("cuda" if there.get("GPU") else "cpu")
        on_gpu = device.startswith("cuda")
        kind = "GPU" if on_gpu else "CPU"
        most = int(there.get(kind, 0))
        if not most:
            self.__exit__()
            raise ClusterError(
                f"the cluster has no {kind}; give device='cpu', or add nodes that have one"
            )
        # Each worker has a CPU, whatever it computes on.
        self.count = min(self.count or most, most)
        self._worker = ray.remote(num_cpus=1, num_gpus=int(on_gpu), max_restarts=0)(_Worker)
        self._sent = ray.put(self.job), replace(self.source, device=device)
        self._idle: list[_Hired] = []
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: "TracebackType | None" = None,
    ) -> None:
        if self._own:
            _ray().shutdown()

    def describe(self) -> dict[str, Any]:
        """What the first worker says of its model (see `described`)."""
        ray = _ray()
        hired = self._hire()
        try:
            said = ray.get(hired.said)
        except ray.exceptions.RayError as error:
            raise ClusterError(f"no worker could load the model: {_line(error)}") from error
        self._idle.append(hired)
        self._name = said["model"]["name"]
        return said

    def results(self, numbers: Sequence[int]) -> Iterator[tuple[int, ItemResult]]:
        """Each item's number and what was found, in the order in which they are done.

        Raises:
            ClusterError: if workers die again and again before they have loaded the model.
        """
        ray = _ray()
        todo, alone = deque(numbers), deque[int]()
        deaths: Counter[int] = Counter()
        failed_starts = 0
        # Who has not come up has no work: there may never be room for it again.
        starting: dict[Any, _Hired] = {}
        running: dict[Any, tuple[_Hired, deque[int]]] = {}
        while todo or alone or running:
            while (todo or alone) and self._idle:
                chunk = deque([alone.popleft()] if alone else self._chunk(todo))
                hired = self._idle.pop()
                running[hired.worker.find.remote(list(chunk))] = (hired, chunk)
            while (todo or alone) and len(running) + len(starting) < self.count:
                hired = self._hire()
                starting[hired.said] = hired
            (ready,), _ = ray.wait([*running, *starting], num_returns=1)
            if ready in starting:
                hired = starting.pop(ready)
                try:
                    ray.get(ready)
                except ray.exceptions.RayError as error:
                    failed_starts += 1
                    if failed_starts == TRIES:
                        raise ClusterError(
                            f"{TRIES} workers in a row could not load the model; the last said: "
                            f"{_line(error)}"
                        ) from error
                else:
                    failed_starts = 0
                    self._idle.append(hired)
                continue
            hired, chunk = running[ready]
            try:
                number, found = ray.get(next(ready))
            except StopIteration:
                del running[ready]
                self._idle.append(hired)
            except ray.exceptions.RayError as error:
                del running[ready]
                ray.kill(hired.worker)
                alone.extend(chunk)
                # It died on the first that it had left; the others are not to blame.
                if chunk:
                    deaths[chunk[0]] += 1
                if chunk and deaths[chunk[0]] == TRIES:
                    alone.remove(chunk[0])
                    reason = f"its worker died {TRIES} times; the last time: {_line(error)}"
                    yield chunk[0], self.job.lost(self._name, chunk[0], "WorkerDied", reason)
            else:
                chunk.remove(number)
                yield number, found
        for hired in starting.values():
            ray.kill(hired.worker)

    def _hire(self) -> "_Hired":
        worker = self._worker.remote(*self._sent)
        return _Hired(worker, worker.describe.remote())

    def _chunk(self, todo: deque[int]) -> list[int]:
        """The next few items: a fair share of half of what is left, `CHUNK` at most."""
        size = max(1, min(CHUNK, len(todo) // (2 * self.count)))
        return [todo.popleft() for _ in range(min(size, len(todo)))]


@dataclass(frozen=True)
class _Hired:
    """A worker, and what it will say of its model when it has loaded it."""

    worker: Any
    said: Any


class _Worker:
    """One model, in a process of its own."""

    def __init__(self, job: Job, source: Source) -> None:
        self.job, self.model = job, source.load()

    def describe(self) -> dict[str, Any]:
        return described(self.model)

    def find(self, numbers: list[int]) -> Iterator[tuple[int, ItemResult]]:
        for number in numbers:
            yield number, self.job.find(self.model, number)


def _call(address: str) -> None:
    """Whether anybody answers there: Ray itself waits for minutes, and then ends the process."""
    if "://" in address:
        raise ValueError("Ray's client is not served; run this on a node of the cluster")
    host, _, port = address.rpartition(":")
    if host:
        if not port.isdigit():
            raise ValueError("an address ends in a port")
        socket.create_connection((host, int(port)), timeout=10).close()


def _ray() -> Any:
    # Nothing is told to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ImportError(
            "backend='ray' needs Ray; install it with: pip install 'lafn_viz[ray]'"
        ) from None
    return ray


def _line(error: BaseException) -> str:
    """The last line that says something: Ray tells the whole story first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
