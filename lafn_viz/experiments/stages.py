"""All that a sweep finds out about one fact, or one edit, as rows of the store's tables.

A fact: attribute it in every language on the paraphrases that are not held out; select neurons;
see which are agnostic; change those and measure the held-out paraphrases, beside as many random
neurons and another fact. An edit: make it with each editor and ask everything that belongs to it.

A stage that fails is recorded with its reason, and what does not need it goes on.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from lafn_viz.attribution.attribute import Method, Target, attribute
from lafn_viz.attribution.scores import CompletenessWarning, NeuronScores
from lafn_viz.core.provenance import PACKAGE_VERSION
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.facts import Fact, FactSet, Prompt, prompt_columns, trained_and_held_out
from lafn_viz.editing.baselines.editor import Applicable, Editor
from lafn_viz.editing.cache import EditCache
from lafn_viz.editing.evaluation.evaluate import evaluate
from lafn_viz.experiments.schema import (
    CASE_TABLES,
    FACT_TABLES,
    FAILURES,
    ItemResult,
    dense_file,
    schema,
    table_of,
)
from lafn_viz.interventions.ablation import Ablation
from lafn_viz.interventions.effects import effects
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.loading import load_model
from lafn_viz.models.tokens import Position
from lafn_viz.neurons.neuron_sets import Neuron, NeuronSet, select_neurons
from lafn_viz.neurons.overlaps import overlap

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

AblatedSets = Literal["agnostic", "languages"]


@dataclass(frozen=True)
class Plan:
    """What to find out about every fact and edit; `sweep` says what the options mean."""

    methods: tuple[Method, ...]
    position: Position
    target: Target
    n_steps: int | Literal["auto"]
    select: dict[str, Any]
    min_languages: int | None
    top: int
    dense: bool
    changed: tuple[AblatedSets, ...]
    how: Ablation
    controls: int
    editors: tuple[Editor, ...]
    alone: bool
    seed: int
    max_rows: int


@dataclass(frozen=True)
class Source:
    """Where a model comes from, for whoever is to load it."""

    name: str
    device: str | None  # None: a GPU if there is one
    dtype: torch.dtype

    def load(self) -> "TransformerBridge":
        """The model, loaded anew."""
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return load_model(self.name, device=device, dtype=self.dtype)


def described(model: "TransformerBridge") -> dict[str, Any]:
    """What a store says of a model and of what it was run with."""
    weight = next(model.original_model.parameters())
    found, said = capabilities(model), provenance(model, "sweep")
    return {
        "model": {
            "name": said.model,
            "weights": said.weights,
            "n_layers": found.n_layers,
            "d_mlp": found.d_mlp,
            "device": weight.device.type,
            "dtype": str(weight.dtype).removeprefix("torch."),
        },
        "versions": {"lafn_viz": PACKAGE_VERSION, **said.versions},
    }


@dataclass(frozen=True)
class Job:
    """Items by number, the facts (those of a relation together) before the edits; and what to do.

    It can be sent to another process.
    """

    facts: FactSet
    cases: tuple[EditCase, ...]
    plan: Plan

    def __len__(self) -> int:
        return len(self.facts) + len(self.cases)

    def name(self, number: int) -> str:
        """The id of an item's fact or case."""
        count = len(self.facts)
        return self.facts.facts[number].id if number < count else self.cases[number - count].id

    def find(self, model: "TransformerBridge", number: int) -> ItemResult:
        """All about one item. Whatever goes wrong is in its `failures`."""
        count = len(self.facts)
        try:
            if number >= count:
                return about_case(model, self.cases[number - count], self.plan)
            fact, other = self.facts.facts[number], self._other(number)
            return about_fact(model, self.facts, fact, other, self.plan, number=number)
        except Exception as error:
            name = str(model.cfg.model_name)
            return self.lost(name, number, type(error).__name__, str(error))

    def lost(self, model: str, number: int, error: str, reason: str) -> ItemResult:
        """What is recorded of an item of which nothing was found."""
        rows = _Rows(model, self.name(number))
        rows.add("failures", _failure(self.name(number), "all", error, reason))
        return rows.found(FACT_TABLES if number < len(self.facts) else CASE_TABLES)

    def _other(self, number: int) -> Fact | None:
        """Whom a fact's neurons are tried on: the next of its relation, or the first again."""
        facts, relation = self.facts.facts, self.facts.facts[number].relation
        if number + 1 < len(facts) and facts[number + 1].relation == relation:
            return facts[number + 1]
        first = number
        while first and facts[first - 1].relation == relation:
            first -= 1
        return facts[first] if first != number else None


def about_fact(
    model: "TransformerBridge",
    facts: FactSet,
    fact: Fact,
    other: Fact | None,
    plan: Plan,
    *,
    number: int,
) -> ItemResult:
    """Rows about a fact of these facts, with another one of its relation as its control."""
    rows = _Rows(str(model.cfg.model_name), fact.id)
    with rows.stage("prompts"):
        chosen, rest = _split(facts, fact)
        for method in plan.methods:
            with rows.stage(f"attribution: {method}"):
                scores = attribute(
                    model, chosen, method=method, position=plan.position, target=plan.target,
                    n_steps=plan.n_steps, max_rows=plan.max_rows,
                )  # fmt: skip
                sets = select_neurons(scores, **plan.select)
                agnostic = _agnostic(sets, plan.min_languages)
                rows.add("prompts", _prompts(scores, plan, number), method=method)
                rows.add("scores", scores.to_frame(top=plan.top), method=method)
                tables = _members(sets, agnostic)
                for name, frame in zip(("sets", "neurons"), tables, strict=True):
                    rows.add(name, frame, method=method, relation=fact.relation)
                if plan.dense:
                    rows.dense[method] = scores.values
                with rows.stage(f"effects: {method}"):
                    against = _split(facts, other)[1] if other is not None and rest else []
                    changed = _changed(sets, agnostic, plan) if rest else {}
                    if any(changed.values()):
                        table = _effects(model, changed, rest, against, plan)
                        rows.add("effects", table, method=method, relation=fact.relation)
    return rows.found(FACT_TABLES)


def about_case(model: "TransformerBridge", case: EditCase, plan: Plan) -> ItemResult:
    """Rows about one edit: what each editor makes of it, and all answers afterwards."""
    rows = _Rows(str(model.cfg.model_name), case.id)
    for editor in plan.editors:
        with rows.stage(f"edit: {editor.name}"):
            made = editor.edit(model, case, case.languages)
            if isinstance(made, EditCache):
                for edit in made:
                    rows.add(
                        "edits", edit.to_frame(), case=case.id, editor=editor.name,
                        position=edit.position,
                    )  # fmt: skip
            with rows.stage(f"evaluation: {editor.name}"):
                found = evaluate(
                    model, _remembers(editor, made, case), [case], alone=plan.alone,
                    progress=False, max_prompts=min(plan.max_rows, 128),
                )  # fmt: skip
                rows.add("answers", found.to_frame())
    return rows.found(CASE_TABLES)


@dataclass
class _Rows:
    """Frames of each table while they come in, and what failed."""

    model: str
    item: str
    frames: dict[str, list["pd.DataFrame"]] = field(default_factory=dict)
    dense: dict[str, Tensor] = field(default_factory=dict)

    def add(self, table: str, frame: "pd.DataFrame", **columns: Any) -> None:
        self.frames.setdefault(table, []).append(frame.assign(model=self.model, **columns))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record what goes wrong in a stage instead of letting it stop the sweep."""
        try:
            with warnings.catch_warnings():
                # `relative_error` of the prompts says it.
                warnings.simplefilter("ignore", CompletenessWarning)
                yield
        except Exception as error:
            failed = _failure(self.item, name, type(error).__name__, str(error))
            self.add("failures", failed)

    def found(self, tables: Iterable[str]) -> ItemResult:
        import pandas as pd

        return ItemResult(
            {
                name: table_of(name, pd.concat(self.frames[name]))
                if name in self.frames
                else schema(name).empty_table()
                for name in (*tables, *FAILURES)
            },
            self.dense,
        )


def _failure(item: str, stage: str, error: str, reason: str) -> "pd.DataFrame":
    import pandas as pd

    told = " ".join(reason.split())[:2000]
    return pd.DataFrame([(item, stage, error, told)], columns=["item", "stage", "error", "reason"])


def _split(facts: FactSet, fact: Fact) -> tuple[list[Prompt], list[Prompt]]:
    """The prompts that choose a fact's neurons, and those that measure them."""
    both = trained_and_held_out(facts, fact).values()
    return [p for some, _ in both for p in some], [p for _, some in both for p in some]


def _agnostic(sets: Sequence[NeuronSet], min_languages: int | None) -> frozenset[Neuron]:
    if sum(some.known for some in sets) < 2:
        return frozenset()  # known in one language: nothing to be shared with
    (found,) = overlap(sets, min_languages=min_languages).agnostic.values()
    return found


def _prompts(scores: NeuronScores, plan: Plan, number: int) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(
        {
            **prompt_columns(scores.prompts),
            "probability": scores.target_prob.numpy(),
            "known": scores.known.numpy(),
            "relative_error": scores.relative_error.amax(1).numpy(),
            "n_points": scores.n_points.amax(1).numpy(),
            "dense": dense_file(number) if plan.dense else None,
            "row": range(len(scores.prompts)),
        }
    )


def _members(
    sets: Sequence[NeuronSet], agnostic: frozenset[Neuron]
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """One row a language, and one row a language and neuron."""
    import pandas as pd

    held = Counter(neuron for some in sets if some.known for neuron in some.neurons)
    languages, members = [], []
    for some in sets:
        mine = [
            (*neuron, held[neuron], some.known and neuron in agnostic,
             some.known and held[neuron] == 1)
            for neuron in sorted(some.neurons)
        ]  # fmt: skip
        members += [(some.fact_id, some.language, *row) for row in mine]
        languages.append(
            (
                some.fact_id, some.language, some.n_prompts, some.n_known, some.known,
                len(some.neurons), len(agnostic), sum(row[-1] for row in mine),
            )
        )  # fmt: skip
    keys = ["fact_id", "language"]
    told = ["n_prompts", "n_known", "known", "n_neurons", "n_agnostic", "n_specific"]
    flags = ["layer", "neuron", "n_languages", "agnostic", "specific"]
    return (
        pd.DataFrame(languages, columns=[*keys, *told]),
        pd.DataFrame(members, columns=[*keys, *flags]),
    )


def _changed(
    sets: Sequence[NeuronSet], agnostic: frozenset[Neuron], plan: Plan
) -> dict[str, frozenset[Neuron]]:
    """The neurons to change, by the name of the set."""
    found = {"agnostic": agnostic} if "agnostic" in plan.changed else {}
    if "languages" in plan.changed:
        found |= {some.language: some.neurons for some in sets if some.known}
    return found


def _effects(
    model: "TransformerBridge",
    changed: dict[str, frozenset[Neuron]],
    rest: Sequence[Prompt],
    against: Sequence[Prompt],
    plan: Plan,
) -> "pd.DataFrame":
    fact = rest[0].fact_id
    # The other fact is there to be measured with this one's neurons; it brings none.
    others: dict[str, frozenset[Neuron]] = {p.fact_id: frozenset() for p in against[:1]}
    table = effects(
        model,
        {name: {fact: some, **others} for name, some in changed.items()},
        [*rest, *against],
        how=plan.how,
        position=plan.position,
        controls=plan.controls,
        corpus=[*rest, *against] if plan.how in ("mean", "resample") else None,
        seed=plan.seed,
    ).to_frame()
    return table[table["fact_id"] == fact]


def _remembers(editor: Editor, made: Applicable, case: EditCase) -> Editor:
    """The editor, with the edit that it has made already."""

    def edit(model: "TransformerBridge", of: EditCase, languages: Sequence[str]) -> Applicable:
        return made if tuple(languages) == case.languages else editor.edit(model, of, languages)

    return replace(editor, edit=edit)
