"""The items of a sweep on a Ray cluster: each worker holds the model and runs chunks of items.

1. A worker is an actor that loads the model once, on its own GPU if the sweep uses GPUs.
2. An idle worker is given a chunk of items and yields each result as soon as it is computed. Chunks
   shrink towards the end, so that no worker is waited for long.
3. A worker that dies (killed, out of memory, its node lost) is replaced, and its unfinished items
   are given out again, one by one. An item whose worker died `TRIES` times is recorded as failed.

The process that started the sweep collects the results and writes the store (see `store_writer`).
"""

import os
import socket
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lafn_viz.experiments.job import Job, ModelSource, describe_model
from lafn_viz.experiments.schema import ItemResult

if TYPE_CHECKING:
    from types import TracebackType

TRIES = 3  # deaths of workers that an item may cause; failed starts in a row
CHUNK = 8  # items given out at once, at most
MESSAGE_LENGTH = 300  # characters of Ray's error messages that are quoted


class ClusterError(ValueError):
    """A cluster that cannot do the work; the message says why."""


class Cluster:
    """Workers on a Ray cluster, for the length of a `with` block.

    Args:
        workers: how many; by default one per GPU (or per CPU, for a model on the CPU).
        address: of a running cluster, "auto" for the one of this machine. Without it, the cluster
            is the one that this process is connected to, else the one that RAY_ADDRESS names, else
            a new one on this machine alone.

    Raises:
        ImportError: without the extra `lafn_viz[ray]`.
        ClusterError: if there is no cluster, or the model cannot be loaded on it.
    """

    def __init__(
        self,
        job: Job,
        source: ModelSource,
        *,
        workers: int | None = None,
        address: str | None = None,
    ) -> None:
        self.job, self.source, self.address = job, source, address
        self.count = workers or 0  # 0: as many as the cluster has room for
        self._connected_here = False

    def __enter__(self) -> "Cluster":
        ray = _ray()
        if not ray.is_initialized():
            self._connect()
        resources = ray.cluster_resources()
        device = self.source.device or ("cuda" if resources.get("GPU") else "cpu")
        on_gpu = device.startswith("cuda")
        kind = "GPU" if on_gpu else "CPU"
        most = int(resources.get(kind, 0))
        if not most:
            self.__exit__()
            raise ClusterError(
                f"the cluster has no {kind}; give device='cpu', or add nodes that have one"
            )
        # Each worker has a CPU, whatever it computes on.
        self.count = min(self.count or most, most)
        self._actor = ray.remote(num_cpus=1, num_gpus=int(on_gpu), max_restarts=0)(_Worker)
        self._actor_arguments = ray.put(self.job), replace(self.source, device=device)
        self._idle: list[_StartedWorker] = []
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: "TracebackType | None" = None,
    ) -> None:
        if self._connected_here:
            _ray().shutdown()

    def describe(self) -> dict[str, Any]:
        """Start the first worker and return its description of the model (`describe_model`).

        A worker that dies while it loads the model is replaced: the cluster may have placed it on a
        node that is lost already, which shows only after a while.
        """
        ray = _ray()
        for left in reversed(range(TRIES)):
            worker = self._start_worker()
            try:
                description = ray.get(worker.description)
                break
            except ray.exceptions.RayError as error:
                died = isinstance(error, ray.exceptions.ActorDiedError)
                if not left or not died or error.actor_init_failed:
                    raise ClusterError(
                        f"no worker could load the model: {_last_line(error)}"
                    ) from error
        self._idle.append(worker)
        self._model_name = description["model"]["name"]
        return description

    def cost(self, numbers: Sequence[int]) -> str | None:
        """Nothing: the model is on the workers, and the bar tells the time left soon enough."""
        return None

    def results(self, numbers: Sequence[int]) -> Iterator[tuple[int, ItemResult]]:
        """Yield each item's number and result, in the order in which they are computed.

        Raises:
            ClusterError: if workers die again and again before they have loaded the model.
        """
        ray = _ray()
        queue = _Queue(numbers, self.count)
        failed_starts = 0
        # A worker is given items only once it has loaded the model: if a node is lost, the cluster
        # may never have room to start it.
        starting: dict[Any, _StartedWorker] = {}
        running: dict[Any, tuple[_StartedWorker, deque[int]]] = {}
        while queue or running:
            while queue and self._idle:
                worker, chunk = self._idle.pop(), queue.next_chunk()
                running[worker.actor.run.remote(list(chunk))] = (worker, chunk)
            while queue and len(running) + len(starting) < self.count:
                worker = self._start_worker()
                starting[worker.description] = worker
            (ready,), _ = ray.wait([*running, *starting], num_returns=1)
            if ready in starting:
                worker = starting.pop(ready)
                try:
                    ray.get(ready)
                except ray.exceptions.RayError as error:
                    failed_starts += 1
                    if failed_starts == TRIES:
                        raise ClusterError(
                            f"{TRIES} workers in a row could not load the model; the last error: "
                            f"{_last_line(error)}"
                        ) from error
                else:
                    failed_starts = 0
                    self._idle.append(worker)
                continue
            worker, chunk = running[ready]
            try:
                number, result = ray.get(next(ready))
            except StopIteration:
                del running[ready]
                self._idle.append(worker)
            except ray.exceptions.RayError as error:
                del running[ready]
                ray.kill(worker.actor)
                given_up = queue.give_back(chunk)
                if given_up is not None:
                    yield given_up, self._failure(given_up, error)
            else:
                chunk.remove(number)
                yield number, result
        for worker in starting.values():
            ray.kill(worker.actor)

    def _connect(self) -> None:
        """Connect this process to a cluster, or start one on this machine."""
        ray = _ray()
        self._connected_here = True
        address = self.address or os.environ.get("RAY_ADDRESS") or "local"
        # An existing cluster has its dashboard, or none.
        options = {"include_dashboard": False} if address == "local" else {}
        try:
            _require_answer(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
        except (OSError, ValueError, RuntimeError) as error:
            raise ClusterError(
                f"there is no Ray cluster at {address!r} ({_last_line(error)}); start one with "
                "ray start --head and give its HOST:PORT, or leave the address out"
            ) from error

    def _start_worker(self) -> "_StartedWorker":
        actor = self._actor.remote(*self._actor_arguments)
        return _StartedWorker(actor, actor.describe.remote())

    def _failure(self, number: int, error: BaseException) -> ItemResult:
        reason = f"its worker died {TRIES} times; the last time: {_last_line(error)}"
        return self.job.failed(self._model_name, number, error="WorkerDied", reason=reason)


class _Queue:
    """The items that no worker has, and how often each has caused a worker to die."""

    def __init__(self, numbers: Sequence[int], n_workers: int) -> None:
        self.todo, self.retries = deque(numbers), deque[int]()
        self.n_workers = n_workers
        self._deaths: Counter[int] = Counter()

    def __bool__(self) -> bool:
        return bool(self.todo or self.retries)

    def next_chunk(self) -> deque[int]:
        """One item that a dead worker left, else a few: half of an even share, at most `CHUNK`."""
        if self.retries:
            return deque([self.retries.popleft()])
        size = max(1, min(CHUNK, len(self.todo) // (2 * self.n_workers)))
        return deque(self.todo.popleft() for _ in range(min(size, len(self.todo))))

    def give_back(self, chunk: deque[int]) -> int | None:
        """Take back what a dead worker left. Returns the item to give up after `TRIES` deaths."""
        self.retries.extend(chunk)
        if not chunk:
            return None
        # The worker died on the first of these; the others did not cause it.
        first = chunk[0]
        self._deaths[first] += 1
        if self._deaths[first] < TRIES:
            return None
        self.retries.remove(first)
        return first


@dataclass(frozen=True)
class _StartedWorker:
    """A worker, and the reference to its description, which is ready when the model is loaded."""

    actor: Any
    description: Any


class _Worker:
    """One model in its own process."""

    def __init__(self, job: Job, source: ModelSource) -> None:
        self.job, self.model = job, source.load()

    def describe(self) -> dict[str, Any]:
        return describe_model(self.model)

    def run(self, numbers: list[int]) -> Iterator[tuple[int, ItemResult]]:
        for number in numbers:
            yield number, self.job.run(self.model, number)


def _require_answer(address: str) -> None:
    """Raise OSError or ValueError if nothing answers at an address.

    Ray itself waits for minutes, and then ends the process.
    """
    if "://" in address:
        raise ValueError("Ray's client is not supported; run this on a node of the cluster")
    host, _, port = address.rpartition(":")
    if host:
        if not port.isdigit():
            raise ValueError("an address ends in a port")
        socket.create_connection((host, int(port)), timeout=10).close()


def _ray() -> Any:
    """Import Ray, with its usage statistics turned off."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ImportError(
            "backend='ray' needs Ray; install it with: pip install 'lafn_viz[ray]'"
        ) from None
    return ray


def _last_line(error: BaseException) -> str:
    """The last line of an error's message: Ray puts the cause there, after its own traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:MESSAGE_LENGTH]
