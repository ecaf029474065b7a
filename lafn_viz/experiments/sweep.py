"""Many facts: everything the package finds out about them, kept in a store, in this process or on
a cluster.

A sweep goes through a model's facts and edits one by one (see `pipeline`), keeps each result the
moment it is there (see `journal`), and goes on where it was after being killed. Memory holds one
item, and at the end of a shard that shard.

**The control that needs other facts** (Jaccard between different facts) compares each fact with the
others of its shard, so that it does not grow with the square of their number. A shard is at most
`per_shard` facts of one relation, all shards of a relation of nearly one size.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
import torch

from lafn_viz.attribution.attribute import Method, Target, check_options
from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.options import plain, require_one_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.datasets.edit_cases import EditCase, EditSet
from lafn_viz.datasets.facts import Fact, FactSet
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.baselines.neuron_editors import language_agnostic
from lafn_viz.experiments.ray_backend import Cluster
from lafn_viz.experiments.schema import ItemResult, Tables, schema, sets_of, table_of
from lafn_viz.experiments.stages import AblatedSets, Job, Plan, Source, described
from lafn_viz.experiments.store import Store
from lafn_viz.experiments.store_writer import Shard, open_journal
from lafn_viz.interventions.ablation import Ablation
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.neuron_sets import select_neurons
from lafn_viz.neurons.overlaps import overlap

if TYPE_CHECKING:
    import pyarrow as pa
    from transformer_lens.model_bridge import TransformerBridge

Backend = Literal["local", "ray"]
SELECT: Mapping[str, Any] = {"fraction": 0.02}
_SELECT = ("threshold", "top", "fraction", "share")


def sweep(
    model: "TransformerBridge | str | Path",
    facts: FactSet | None,
    out: str | Path,
    *,
    cases: EditSet | Iterable[EditCase] = (),
    methods: Iterable[Method] = ("integrated_gradients",),
    position: Position = "all",
    target: Target = "probability",
    n_steps: int | Literal["auto"] = "auto",
    select: Mapping[str, Any] = SELECT,
    min_languages: int | None = 4,
    top: int = 100,
    dense: bool = False,
    changed: Iterable[AblatedSets] = ("agnostic",),
    how: Ablation = "zero",
    controls: int = 5,
    editors: Iterable[Editor] | None = None,
    alone: bool = False,
    seed: int = 0,
    per_shard: int = 32,
    max_rows: int = 256,
    backend: Backend = "local",
    device: str | None = None,
    dtype: torch.dtype = torch.float32,
    workers: int | None = None,
    address: str | None = None,
    retry: bool = False,
    progress: bool = True,
) -> Store:
    """Attribute, compare and change the neurons of many facts, and try many edits.

    Called again with the same folder and options it goes on where it was; what is there is not done
    again. What fails is recorded (`Store.failures`) and stops nothing else.

    Args:
        model: its name or folder (see `load_model`), or a loaded one; Ray wants a name that every
            node can load.
        facts: whose neurons to find; `None` for edits alone.
        out: the folder of the store.
        cases: edits to try, such as `counterfactual_cases()` or `load_edit_cases(...)`.
        methods: of attribution (see `attribute`); each has sets, overlap and effects of its own.
        position, target, n_steps, max_rows: as in `attribute`.
        select: how neurons are chosen, as the options of `select_neurons`.
        min_languages: from which on a shared neuron counts as agnostic (see `overlap`).
        top: how many of each prompt's highest scores are kept.
        dense: keep all scores, too: 4 bytes a prompt, layer and neuron.
        changed: which neurons are changed and the held-out paraphrases measured: "agnostic", and
            "languages", those of each language, measured in every language. `()` for none.
        how: what is done to them (see `intervene`).
        controls: how many random sets stand beside each.
        editors: to try on the cases (see `baselines`); `language_agnostic()` unless given.
        alone: edit each case in each language alone, too (see `evaluate`).
        seed: of random neurons.
        per_shard: how many facts of a relation share a file, and are each other's control.
        backend: "local", in this process; "ray", with the extra `lafn_viz[ray]`.
        device, dtype: of the model, if it is given by name; a GPU if there is one.
        workers: how many on Ray; as many as there are GPUs, or CPUs.
        address: of a Ray cluster, "auto" for one that runs on this machine.
        retry: do again what failed.
        progress: show a bar, with rate and time left.

    Raises:
        StoreError: if the folder holds another sweep, or another run is writing to it.
        ValueError: for an option that does not exist, nothing to do, or two items of one name.
        ClusterError: if there is no cluster, or the model cannot be loaded on it.
    """
    from tqdm.auto import tqdm

    require_one_of("backend", backend, get_args(Backend))
    chosen = tuple(cases)
    plan = Plan(
        methods=tuple(methods), position=position, target=target, n_steps=n_steps,
        select=dict(select), min_languages=min_languages, top=top, dense=dense,
        changed=tuple(changed), how=how, controls=controls,
        editors=(tuple([language_agnostic()] if editors is None else editors) if chosen else ()),
        alone=alone, seed=seed, max_rows=max_rows,
    )  # fmt: skip
    job = Job(_by_relation(facts), chosen, plan)
    _check(job, per_shard)
    shards = _shards(job.facts, job.cases, per_shard)
    workplace: AbstractContextManager[_Workplace]
    if backend == "ray":
        if not isinstance(model, str | Path):
            raise ValueError(
                "a loaded model cannot be sent to Ray's workers; give its name or folder"
            )
        source = Source(str(model), device, dtype)
        workplace = Cluster(job, source, workers=workers, address=address)
    else:
        named = isinstance(model, str | Path)
        here = Source(str(model), device, dtype).load() if named else model
        workplace = nullcontext(_LocalWorker(job, here))
    with workplace as at:
        head = {**at.describe(), **_told(job, per_shard)}

        def finish(tables: Tables) -> Tables:
            return _with_overlap(tables, head["model"], plan)

        with open_journal(Path(out), head, shards, finish) as journal:
            if retry:
                journal.retry()
            todo = [number for number in range(len(job)) if number not in journal.done]
            failed = 0
            with tqdm(
                total=len(job), initial=len(job) - len(todo), disable=not progress,
                desc=head["model"]["name"], unit="item", smoothing=0.05,
            ) as bar:  # fmt: skip
                for number, found in at.results(todo):
                    journal.add(number, found)
                    failed += len(found.tables["failures"]) > 0
                    bar.set_postfix({"failed": failed} if failed else {}, refresh=False)
                    bar.update()
    return Store(out)


class _Workplace(Protocol):
    """Where the work is done: here, or on a cluster."""

    def describe(self) -> dict[str, Any]: ...

    def results(self, numbers: Sequence[int]) -> Iterator[tuple[int, ItemResult]]: ...


class _LocalWorker:
    """This process."""

    def __init__(self, job: Job, model: "TransformerBridge") -> None:
        self.job, self.model = job, model

    def describe(self) -> dict[str, Any]:
        return described(self.model)

    def results(self, numbers: Sequence[int]) -> Iterator[tuple[int, ItemResult]]:
        for number in numbers:
            yield number, self.job.find(self.model, number)


def _by_relation(facts: FactSet | None) -> FactSet:
    """The facts of a relation one after the other, which is how they share shards."""
    if facts is None:
        return FactSet((), {})
    order = {relation: k for k, relation in enumerate(facts.relations)}
    return replace(facts, facts=tuple(sorted(facts, key=lambda fact: order[fact.relation])))


def _check(job: Job, per_shard: int) -> None:
    """Refuse at once what would fail for every fact, with ValueError."""
    plan = job.plan
    if not len(job):
        raise ValueError("there is nothing to sweep; give facts, or cases to edit, or both")
    if not plan.methods and len(job.facts):
        raise ValueError(f"methods=(); give at least one of {', '.join(get_args(Method))}")
    if not plan.editors and job.cases:
        raise ValueError("editors=(); give at least one of baselines to try on the cases")
    if min(per_shard, plan.top) < 1 or plan.controls < 0:
        raise ValueError(
            f"per_shard={per_shard}, top={plan.top}, controls={plan.controls}; give 1 or more of "
            "the first two, and no less than 0 controls"
        )
    for method in plan.methods:
        check_options(method, plan.target, n_steps=plan.n_steps, rows=plan.max_rows)
    require_one_of("position", plan.position, get_args(Position))
    require_one_of("how", plan.how, get_args(Ablation))
    require_one_of("changed", plan.changed, get_args(AblatedSets))
    require_one_of("option of select_neurons", tuple(plan.select), _SELECT)
    select_neurons(_nothing(), **plan.select)
    if plan.min_languages is not None and plan.min_languages < 2:
        raise ValueError(
            f"min_languages={plan.min_languages}; one language shares nothing, give 2 or more"
        )
    named = [editor.name for editor in job.plan.editors]
    for what, names in (
        ("facts", [fact.id for fact in job.facts]), ("cases", [case.id for case in job.cases]),
        ("editors", named), ("methods", plan.methods),
    ):  # fmt: skip
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"two {what} are named {twice[0]!r}; leave one out or rename it")


def _nothing() -> NeuronScores:
    """Scores of no prompt, to try options on."""
    empty = torch.zeros(0, 1)
    return NeuronScores(
        values=torch.zeros(0, 1, 2**20), target_prob=empty[:, 0], known=empty[:, 0].bool(),
        completeness_error=empty, relative_error=empty, target_change=empty,
        n_points=empty.long(), prompts=(), provenance=Provenance("none", "", "none"),
    )  # fmt: skip


def _shards(facts: FactSet, cases: Sequence[EditCase], per_shard: int) -> list[Shard]:
    """Runs of facts of one relation, of nearly one size, and then of cases."""
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(fact.relation, []).append(fact)
    runs = [([fact.id for fact in group], False) for group in groups.values()]
    runs.append(([case.id for case in cases], True))
    shards, first = [], 0
    for names, edits in runs:
        for part in np.array_split(np.arange(len(names)), -(-len(names) // per_shard) or 1):
            if len(part):
                shards.append(Shard(first, tuple(names[k] for k in part), edits))
                first += len(part)
    return shards


def _told(job: Job, per_shard: int) -> dict[str, Any]:
    """What a store says of its facts, cases and options."""
    plan = {name: plain(getattr(job.plan, name)) for name in job.plan.__dataclass_fields__}
    plan["editors"] = [editor.name for editor in job.plan.editors]
    plan["editor_options"] = {
        editor.name: {name: plain(value) for name, value in editor.options.items()}
        for editor in job.plan.editors
    }
    asked = {(fact.relation, language) for fact in job.facts for language in fact.languages}
    texts = [asdict(of) for key, of in job.facts.paraphrases.items() if key in asked]
    return {
        "options": {**plan, "per_shard": per_shard},
        "facts": {
            "count": len(job.facts),
            "relations": list(job.facts.relations),
            "languages": list(job.facts.languages),
            "checksum": _checksum([asdict(fact) for fact in job.facts], texts),
        },
        "cases": {
            "count": len(job.cases),
            "checksum": _checksum([asdict(case) for case in job.cases]),
        },
    }


def _checksum(*records: Any) -> str:
    text = json.dumps(records, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _with_overlap(tables: Tables, model: Mapping[str, Any], plan: Plan) -> Tables:
    """The tables of a shard, with how its facts' neurons overlap in all pairs of languages."""
    import pandas as pd

    if "sets" not in tables:
        return tables
    sets, neurons = tables["sets"].to_pandas(), tables["neurons"].to_pandas()
    source = Provenance(model["name"], model["weights"], "sweep")
    shape = model["n_layers"], model["d_mlp"]
    frames = []
    for method in plan.methods:
        mine = (of[of["method"] == method] for of in (sets, neurons))
        found = sets_of(*mine, shape=shape, provenance=source)
        languages = Counter(some.fact_id for some in found if some.known)
        if not languages or max(languages.values()) < 2:
            continue  # nothing is known in two languages, so there is nothing to compare
        compared = overlap(found, min_languages=plan.min_languages)
        frames.append(compared.by_pair().assign(model=model["name"], method=method))
    made: pa.Table = schema("overlap").empty_table()
    if frames:
        made = table_of("overlap", pd.concat(frames))
    return {**tables, "overlap": made}
