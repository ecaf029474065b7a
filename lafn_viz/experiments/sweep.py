"""Many facts: everything the package finds out about them, kept in a store, in this process or on
a cluster.

A sweep runs a model's facts and edits one by one (see `rows`), stores each result as soon as it is
there (see `store_writer`), and resumes where it was killed. Memory holds one item, and at the end
of a shard that shard.

**The control that needs other facts** (Jaccard between different facts) compares each fact with the
others of its shard, so that its cost does not grow with the square of their number. A shard is at
most `per_shard` facts of one relation, and all shards of a relation have nearly one size.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Unpack, get_args

import torch

from lafn_viz.core.arguments import a_flag, a_path, a_text, one_of, or_none, takes, whole, wrong
from lafn_viz.core.files import checksum_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.arguments import Cases, Facts, as_cases, as_facts
from lafn_viz.datasets.facts import FactSet
from lafn_viz.experiments.cost import cost_text
from lafn_viz.experiments.job import Job, ModelSource, describe_model
from lafn_viz.experiments.plan import Plan, PlanOptions
from lafn_viz.experiments.ray_backend import Cluster
from lafn_viz.experiments.schema import ItemResult, Tables, schema, sets_of, table_of
from lafn_viz.experiments.shards import split_into_shards
from lafn_viz.experiments.stages import are_comparable
from lafn_viz.experiments.store import Store
from lafn_viz.experiments.store_writer import open_writer
from lafn_viz.models.calls import require_model
from lafn_viz.models.placement import as_dtype
from lafn_viz.neurons.overlaps import overlap

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

Backend = Literal["local", "ray"]


def _a_plan(name: str, given: Any) -> Plan:
    if not isinstance(given, Plan):
        raise wrong(name, given, "a Plan, as in Plan(methods=['amig'])")
    return given


@takes(
    out=a_path, plan=or_none(_a_plan), backend=one_of(get_args(Backend)), device=or_none(a_text),
    workers=or_none(whole(1)), address=or_none(a_text), retry=a_flag, progress=a_flag,
)  # fmt: skip
def sweep(
    model: "TransformerBridge | str | Path",
    facts: Facts | None,
    out: str | Path,
    *,
    cases: Cases = (),
    examples: Facts | None = None,
    plan: Plan | None = None,
    backend: Backend = "local",
    device: str | None = None,
    dtype: torch.dtype | str = torch.float32,
    workers: int | None = None,
    address: str | None = None,
    retry: bool = False,
    progress: bool = True,
    **options: Unpack[PlanOptions],
) -> Store:
    """Attribute, compare and ablate the neurons of many facts, and try many edits.

    Called again with the same folder and options, it resumes: what is in the folder is not done
    again. A failure is recorded (`Store.failures`) and stops nothing else.

    Args:
        model: its name or folder (see `load_model`), or a loaded one; Ray needs a name that every
            node can load.
        facts: the facts whose neurons to find; `None` for edits alone.
        out: the folder of the store.
        cases: edits to try, such as `counterfactual_cases()` or `load_edit_cases(...)`.
        examples: the facts of which `shots` stand answered before each question; by default the
            facts that are swept.
        plan: what to find out about each fact and edit.
        backend: "local", in this process; "ray", with the extra `lafn_viz[ray]`.
        device, dtype: of the model, if it is given by name; by default a GPU if there is one.
        workers: how many on Ray; by default one per GPU, or per CPU.
        address: of a Ray cluster, "auto" for one that runs on this machine.
        retry: do again what failed. The facts and cases may be mended (their ids and order stay):
            what has changed, and what was compared with it, is done again, too.
        progress: show a bar, with rate and time left.
        options: parts of the plan that replace those of `plan`: `shots`, `select_on`,
            `known_only`, `lens`, `methods`, `position`, `target`,
            `baseline`, `n_steps`, `max_rows`, `select`, `min_languages`, `min_scripts`, `top`,
            `dense`, `changed`, `how`, `controls`, `editors`, `alone`, `seed`, `per_shard`. `Plan`
            explains them and has their defaults.

    Raises:
        StoreError: if the folder holds another sweep, or another run is writing to it.
        ValueError: for an option that is not allowed, if there is nothing to do, or for two items
            of one name.
        TypeError: for an option that does not exist.
        ClusterError: if there is no cluster, or the model cannot be loaded on it.
    """
    from tqdm.auto import tqdm

    require_model(model, or_name=True)
    facts, dtype = None if facts is None else as_facts(facts), as_dtype(dtype)
    edits = as_cases(cases).cases
    plan = (plan or Plan()).with_options(**options)
    if not edits:
        plan = replace(plan, editors=())
    before = None if examples is None else as_facts(examples, "examples")
    job = Job(_by_relation(facts), edits, plan, before)
    shards = split_into_shards(job.facts, job.cases, plan.per_shard)
    if backend == "local":
        runner_context = _local_runner(job, model, device, dtype)
    else:
        runner_context = _ray_runner(job, model, device, dtype, workers, address)
    with runner_context as runner:
        head = {**runner.describe(), **_describe_job(job)}

        def add_overlap(tables: Tables) -> Tables:
            return _with_overlap(tables, head["model"], job.plan)

        retry_with = job.inputs if retry else None
        with open_writer(Path(out), head, shards, add_overlap, retry_with=retry_with) as writer:
            todo = [number for number in range(len(job)) if number not in writer.done]
            n_failed = 0
            if progress and (said := runner.cost(todo)):
                tqdm.write(f"{head['model']['name']}: {said}", file=sys.stderr)
            with tqdm(
                total=len(job), initial=len(job) - len(todo), disable=not progress,
                desc=head["model"]["name"], unit="item", smoothing=0.05,
            ) as bar:  # fmt: skip
                for number, result in runner.results(todo):
                    writer.add(number, result)
                    n_failed += len(result.tables["failures"]) > 0
                    bar.set_postfix({"failed": n_failed} if n_failed else {}, refresh=False)
                    bar.update()
    return Store(out)


class Runner(Protocol):
    """Runs the items of a job: in this process, or on a cluster."""

    def describe(self) -> dict[str, Any]:
        """What the store records about the model (see `describe_model`)."""

    def cost(self, numbers: Sequence[int]) -> str | None:
        """What the items will cost, where it can be said before (see `cost_text`)."""

    def results(self, numbers: Sequence[int]) -> Iterator[tuple[int, ItemResult]]:
        """Run items and yield each one's number and result as soon as it is there."""


class LocalRunner:
    """Runs the items of a job in this process, one after the other."""

    def __init__(self, job: Job, model: "TransformerBridge") -> None:
        self.job, self.model = job, model

    def describe(self) -> dict[str, Any]:
        """What the store records about the model."""
        return describe_model(self.model)

    def cost(self, numbers: Sequence[int]) -> str | None:
        """What the items will cost (see `cost_text`)."""
        return cost_text(self.model, self.job, numbers)

    def results(self, numbers: Sequence[int]) -> Iterator[tuple[int, ItemResult]]:
        """Run items and yield each one's number and result."""
        for number in numbers:
            yield number, self.job.run(self.model, number)


def _local_runner(
    job: Job, model: "TransformerBridge | str | Path", device: str | None, dtype: torch.dtype
) -> AbstractContextManager[Runner]:
    if isinstance(model, str | Path):
        model = ModelSource(model, device, dtype).load()
    return nullcontext(LocalRunner(job, model))


def _ray_runner(
    job: Job,
    model: "TransformerBridge | str | Path",
    device: str | None,
    dtype: torch.dtype,
    workers: int | None,
    address: str | None,
) -> AbstractContextManager[Runner]:
    if not isinstance(model, str | Path):
        raise ValueError("a loaded model cannot be sent to Ray's workers; give its name or folder")
    return Cluster(job, ModelSource(model, device, dtype), workers=workers, address=address)


def _by_relation(facts: FactSet | None) -> FactSet:
    """The facts with those of a relation one after the other, so that they can share shards."""
    if facts is None:
        return FactSet((), {})
    order = {relation: k for k, relation in enumerate(facts.relations)}
    return replace(facts, facts=tuple(sorted(facts, key=lambda fact: order[fact.relation])))


def _describe_job(job: Job) -> dict[str, Any]:
    """Return what a store records about its facts, cases and options."""
    asked = {(fact.relation, language) for fact in job.facts for language in fact.languages}
    examples = [job.examples_checksum] if job.plan.shots else []
    texts = [asdict(texts) for key, texts in job.facts.paraphrases.items() if key in asked]
    return {
        "options": job.plan.to_json(),
        "facts": {
            "count": len(job.facts),
            "relations": list(job.facts.relations),
            "languages": list(job.facts.languages),
            "checksum": _checksum([asdict(fact) for fact in job.facts], texts, *examples),
        },
        "cases": {
            "count": len(job.cases),
            "checksum": _checksum([asdict(case) for case in job.cases]),
        },
    }


def _checksum(*records: Any) -> str:
    text = json.dumps(records, ensure_ascii=False, sort_keys=True)
    return checksum_of(text)


def _with_overlap(tables: Tables, model: Mapping[str, Any], plan: Plan) -> Tables:
    """Add to the tables of a shard how its facts' neurons overlap in all pairs of languages."""
    import pandas as pd

    if "sets" not in tables:
        return tables
    sets, neurons = tables["sets"].to_pandas(), tables["neurons"].to_pandas()
    source = Provenance(model["name"], model["weights"], "sweep")
    frames = []
    for method in plan.methods:
        neuron_sets = sets_of(
            sets[sets["method"] == method], neurons[neurons["method"] == method],
            shape=(model["n_layers"], model["d_mlp"]), provenance=source,
        )  # fmt: skip
        if are_comparable(neuron_sets):
            pairs = overlap(neuron_sets).by_pair()
            frames.append(pairs.assign(model=model["name"], method=method))
    table = table_of("overlap", pd.concat(frames)) if frames else schema("overlap").empty_table()
    return {**tables, "overlap": table}
