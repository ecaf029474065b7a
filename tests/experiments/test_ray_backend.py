"""A sweep on Ray gives the same results whichever worker or node dies.

The cluster has several nodes, all on this machine.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import killing
import psutil
import pytest
import torch

import lafn_viz as lv
from lafn_viz.experiments.ray_backend import CHUNK, Cluster, ClusterError, _Queue
from lafn_viz.experiments.store_writer import StoreWriter

pytestmark = pytest.mark.slow

ray = pytest.importorskip("ray")
QUICK = {"progress": False, "per_shard": 3, "device": "cpu", "how": "zero", "controls": 1}


@pytest.fixture(scope="module")
def some(facts):
    chosen = facts.filter(relation=["capital", "script"], leaking=False, languages=["en", "ru"])
    return chosen.sample(12, seed=5)


@pytest.fixture(scope="module")
def cases(facts):
    return lv.counterfactual_cases(facts, n=1).filter(languages=["en"])


@pytest.fixture(scope="module")
def editor():
    def edit(model, case, languages):
        # Tests wrap the package's functions in type checks, and Ray cannot send those.
        made = lv.baselines.language_agnostic(position="answer", n_neurons=2000)
        return made.edit(model, case, languages)

    return lv.Editor("language-agnostic", edit)


@pytest.fixture(scope="module")
def local_files(some, cases, editor, tmp_path_factory):
    """The files that a sweep in one process writes, with their checksums."""
    place = tmp_path_factory.mktemp("local") / "store"
    lv.sweep("embedded", some, place, cases=cases, editors=[editor], dense=True, **QUICK)
    return killing.tree(place)


@pytest.fixture(scope="module")
def nodes():
    """A head node that runs no work, and a node with one CPU; tests add more."""
    from ray.cluster_utils import Cluster as Nodes

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    small = {"object_store_memory": 100 * 2**20}
    running = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    running.add_node(num_cpus=1, **small)
    ray.init(address=running.address, log_to_driver=False, logging_level="ERROR")
    yield running
    ray.shutdown()
    running.shutdown()


def workers() -> list[psutil.Process]:
    """The processes of this cluster that hold a model."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if "ray::_Worker" in " ".join(process.cmdline())
    ]


@contextmanager
def meanwhile(work):
    """Do some work in a thread, and raise its exception here."""
    raised = []

    def run():
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(timeout=600)
    assert not raised, raised


def wait_until(condition, seconds=300):  # other tests may take all cores
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def test_workers_and_nodes_may_die(nodes, local_files, some, cases, editor, tmp_path, monkeypatch):
    """Two workers are killed and a node is lost while they work; another joins."""
    done, usual = [], StoreWriter.add

    def add(self, number, result):
        usual(self, number, result)
        done.append(number)

    monkeypatch.setattr(StoreWriter, "add", add)
    second = nodes.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    killed = []

    def harm():
        for count in (1, 3):
            wait_until(lambda count=count: len(done) >= count and workers())
            victim = workers()[0]
            os.kill(victim.pid, signal.SIGKILL)
            killed.append(victim.pid)
        wait_until(lambda: len(done) >= 5)
        nodes.remove_node(second, allow_graceful=False)
        killed.append("node")

    with meanwhile(harm):
        store = lv.sweep(
            "embedded", some, tmp_path, cases=cases, editors=[editor], dense=True, backend="ray",
            **QUICK,
        )  # fmt: skip
    assert len(killed) == 3
    assert sorted(done) == list(range(len(some) + 1))  # each was kept once
    assert len(store.failures) == 0
    assert killing.tree(tmp_path) == local_files


@pytest.mark.gemma
def test_a_public_model_on_workers_that_die_gives_the_bytes_of_one_process(
    nodes, facts, tmp_path, monkeypatch
):
    some = facts.filter(
        relation="capital", languages=["en", "fr"], subjects=["FR", "IT"], leaking=False
    )
    options = {
        **QUICK, "examples": facts, "shots": 3, "known_only": True, "select_on": [2],
        "position": "answer", "min_languages": 2, "min_scripts": 1, "how": "mean", "lens": False,
    }  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as each worker has
    lv.sweep("gemma-3-270m", some, tmp_path / "local", **options)
    torch.set_num_threads(threads)
    done, usual = [], StoreWriter.add

    def add(self, number, result):
        usual(self, number, result)
        done.append(number)

    def harm():
        wait_until(lambda: len(workers()) == 2)
        os.kill(workers()[0].pid, signal.SIGKILL)  # while it loads the model
        wait_until(lambda: done and workers())
        os.kill(workers()[0].pid, signal.SIGKILL)  # while it attributes, if anything is left

    monkeypatch.setattr(StoreWriter, "add", add)
    second = nodes.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    try:
        with meanwhile(harm):
            store = lv.sweep("gemma-3-270m", some, tmp_path / "ray", backend="ray", **options)
    finally:
        nodes.remove_node(second)
    assert store.read("neurons")["agnostic"].any()
    assert len(store.failures) == 0
    assert killing.tree(tmp_path / "ray") == killing.tree(tmp_path / "local")


def test_an_item_that_kills_every_worker_is_recorded_and_the_rest_is_done(
    nodes, cases, facts, tmp_path
):
    def edit(model, case, languages):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    deadly = lv.Editor("deadly", edit)
    some = facts.filter(relation="capital", languages=["en"], subjects=["FR", "PE"])
    store = lv.sweep(
        "embedded", some, tmp_path, cases=cases, editors=[deadly], methods=["activation"],
        changed=[], backend="ray", **QUICK,
    )  # fmt: skip
    assert store.complete
    (failed,) = store.failures.to_dict("records")
    assert failed["item"] == next(iter(cases)).id
    assert failed["error"] == "WorkerDied"
    assert failed["reason"].startswith("its worker died 3 times; the last time: ")
    assert set(store.read("sets")["fact_id"]) == {"capital/FR", "capital/PE"}


def test_a_worker_that_cannot_start_holds_no_items(nodes, facts, tmp_path, monkeypatch):
    """As after the loss of a node: two workers are wanted, and there is a CPU for one."""
    usual = ray.wait

    def wait(some, **options):
        ready, rest = usual(some, timeout=90, **options)
        assert ready, "it waits for a worker that never starts"
        return ready, rest

    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    some = facts.filter(relation="capital", languages=["en"]).sample(6)
    store = lv.sweep(
        "embedded", some, tmp_path, methods=["activation"], changed=[], backend="ray", **QUICK
    )
    assert store.complete
    assert len(store.failures) == 0


def test_a_first_worker_that_dies_is_replaced(nodes, facts, tmp_path, monkeypatch):
    """As where it was placed on a node that was lost a moment ago."""
    usual, started = Cluster._start_worker, []

    def start(self):
        worker = usual(self)
        started.append(worker)
        if len(started) == 1:
            ray.kill(worker.actor)
        return worker

    monkeypatch.setattr(Cluster, "_start_worker", start)
    some = facts.filter(relation="capital", languages=["en"], subjects=["FR"])
    store = lv.sweep(
        "embedded", some, tmp_path, methods=["activation"], changed=[], backend="ray", **QUICK
    )
    assert store.complete
    assert len(store.failures) == 0
    assert len(started) == 2


def test_a_model_that_does_not_exist(nodes, some, tmp_path):
    with pytest.raises(ClusterError, match=r"no worker could load the model: .*no model 'embeded'"):
        lv.sweep("embeded", some, tmp_path / "none", backend="ray", **QUICK)
    assert not (tmp_path / "none").exists()


def test_a_cluster_without_a_gpu(nodes, some, tmp_path):
    with pytest.raises(ClusterError, match="the cluster has no GPU; give device='cpu'"):
        lv.sweep("embedded", some, tmp_path, backend="ray", **{**QUICK, "device": "cuda"})


def test_chunks_shrink_towards_the_end():
    queue, sizes = _Queue(range(100), 4), []
    while queue:
        sizes.append(len(queue.next_chunk()))
    assert sizes[0] == CHUNK
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-4:] == [1, 1, 1, 1]
    assert sum(sizes) == 100


def test_without_ray(monkeypatch, some, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"install it with: pip install 'lafn_viz\[ray\]'"):
        lv.sweep("embedded", some, tmp_path, backend="ray", **QUICK)


def test_every_baseline_can_be_sent_to_a_worker():
    script = """
from ray import cloudpickle
from lafn_viz.editing import baselines
usual = baselines.language_agnostic(position="answer")
made = [usual, baselines.random_neurons(usual), baselines.scaled(0.0)]
made += [getattr(baselines, name)() for name in
         ("per_language", "knowledge_neurons", "fine_tuning", "rome", "memit")]
for editor in made:
    assert repr(cloudpickle.loads(cloudpickle.dumps(editor))) == repr(editor)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "refused"),
        ("127.0.0.1:many", "an address ends in a port"),
        ("ray://127.0.0.1:10001", "Ray's client is not supported; run this on a node"),
    ],
)
def test_no_cluster_at_an_address(some, tmp_path, monkeypatch, address, told):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", None)  # it would end this process
    with pytest.raises(ClusterError, match=f"there is no Ray cluster at '{address}' .*{told}"):
        lv.sweep("embedded", some, tmp_path / "none", backend="ray", address=address, **QUICK)
    assert not (tmp_path / "none").exists()
