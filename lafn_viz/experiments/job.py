"""What the workers of a sweep are given: a model to load, numbered items, and what to do with them.

A `Job` and a `ModelSource` can be sent to another process.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch

from lafn_viz.attribution.methods import METHODS, Method
from lafn_viz.core.files import checksum_of
from lafn_viz.core.provenance import PACKAGE_VERSION
from lafn_viz.datasets.edit_cases import EditCase
from lafn_viz.datasets.fact import Fact
from lafn_viz.datasets.facts import FactSet
from lafn_viz.experiments.plan import Plan
from lafn_viz.experiments.questions import Questions
from lafn_viz.experiments.rows import case_rows, fact_rows, failed_item
from lafn_viz.experiments.schema import CASE_TABLES, FACT_TABLES, ItemResult
from lafn_viz.experiments.stages import OTHER_FACTS
from lafn_viz.interventions.replacements import FROM_CORPUS
from lafn_viz.models.batching import require_readable
from lafn_viz.models.calls import call
from lafn_viz.models.capabilities import capabilities, provenance
from lafn_viz.models.loading import load_model
from lafn_viz.models.weights import device_of

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


CHECKSUM_LENGTH = 16  # characters that are kept of each checksum


@dataclass(frozen=True)
class ModelSource:
    """Where a worker loads its model from. `device=None` is a GPU if there is one, else the CPU."""

    name: str | Path
    device: str | None
    dtype: torch.dtype

    def load(self) -> "TransformerBridge":
        """Load the model."""
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return load_model(str(self.name), device=device, dtype=self.dtype)


def describe_model(model: "TransformerBridge") -> dict[str, Any]:
    """Return what a store records about a model and the versions that it ran with."""
    weight = next(model.original_model.parameters())
    shape, source = capabilities(model), provenance(model, "sweep")
    return {
        "model": {
            "name": source.model,
            "weights": source.weights,
            "n_layers": shape.n_layers,
            "d_mlp": shape.d_mlp,
            "device": device_of(model.original_model).type,
            "dtype": str(weight.dtype).removeprefix("torch."),
        },
        "versions": {"lafn_viz": PACKAGE_VERSION, **source.versions},
    }


@dataclass(frozen=True)
class Job:
    """The items of a sweep by number, and the plan for each.

    The facts come first, those of a relation one after the other, then the edits. `examples` are
    the facts of which some stand answered before each question; by default the facts themselves.

    Raises:
        ValueError: if there is no item, if the plan lacks what the items need, or if two items,
            editors or methods have one name.
    """

    facts: FactSet
    cases: tuple[EditCase, ...]
    plan: Plan
    examples: FactSet | None = None

    def __post_init__(self) -> None:
        if not len(self):
            raise ValueError("there is nothing to sweep; give facts, or cases to edit, or both")
        if not self.plan.methods and len(self.facts):
            raise ValueError(f"methods=(); give at least one of {', '.join(get_args(Method))}")
        if not self.plan.editors and self.cases:
            raise ValueError("editors=(); give at least one of baselines to try on the cases")
        names_by_kind = {
            "facts": [fact.id for fact in self.facts],
            "cases": [case.id for case in self.cases],
            "editors": [editor.name for editor in self.plan.editors],
            "methods": self.plan.methods,
        }
        for kind, names in names_by_kind.items():
            repeated = [name for name, count in Counter(names).items() if count > 1]
            if repeated:
                raise ValueError(
                    f"two {kind} are named {repeated[0]!r}; leave one out or rename it"
                )

    def __len__(self) -> int:
        return len(self.facts) + len(self.cases)

    @cached_property
    def questions(self) -> Questions:
        """How the facts are asked."""
        return Questions(self.facts, self.plan, self.examples or self.facts)

    def name(self, number: int) -> str:
        """The id of an item's fact or case."""
        n_facts = len(self.facts)
        return self.facts.facts[number].id if number < n_facts else self.cases[number - n_facts].id

    def run(self, model: "TransformerBridge", number: int) -> ItemResult:
        """Run one item. The `failures` of the result hold any exception."""
        n_facts = len(self.facts)
        try:
            if number >= n_facts:
                result = case_rows(model, self.cases[number - n_facts], self.plan)
                return replace(result, inputs=self.inputs(number, 1))
            fact, (control, n_looked_at) = (
                self.facts.facts[number],
                self._control_fact(model, number),
            )
            others, n_beside = self.facts_beside(model, number)
            result = fact_rows(
                model, self.questions, fact, control, self.plan, number=number, others=others
            )
            return replace(result, inputs=self.inputs(number, 1 + max(n_looked_at, n_beside)))
        except Exception as error:
            name = str(model.cfg.model_name)
            return self.failed(name, number, error=type(error).__name__, reason=str(error))

    def failed(self, model: str, number: int, *, error: str, reason: str) -> ItemResult:
        """Return the result of an item that failed as a whole."""
        tables = FACT_TABLES if number < len(self.facts) else CASE_TABLES
        return failed_item(model, self.name(number), tables, error=error, reason=reason)

    def inputs(self, number: int, count: int) -> tuple[str, ...]:
        """The first so many checksums of what an item's result comes from.

        They are those of its own record and then, for a fact, of the others of its relation in the
        order in which a control is looked for.
        """
        n_facts = len(self.facts)
        if number >= n_facts:
            return (_checksum(asdict(self.cases[number - n_facts])),)[:count]
        facts = islice(chain([self.facts.facts[number]], self._others(number)), count)
        examples = [self.examples_checksum] if self.plan.shots else []
        return tuple(_checksum(asdict(fact), self._texts(fact), *examples) for fact in facts)

    @cached_property
    def examples_checksum(self) -> str:
        """The checksum of the facts that may stand answered before a question."""
        return _checksum([asdict(fact) for fact in self.questions.examples])

    def _texts(self, fact: Fact) -> list[dict[str, Any]]:
        """The paraphrases that ask for a fact."""
        keys = [(fact.relation, language) for language in fact.languages]
        paraphrases = self.facts.paraphrases
        return [asdict(paraphrases[key]) for key in keys if key in paraphrases]

    def _control_fact(self, model: "TransformerBridge", number: int) -> tuple[Fact | None, int]:
        """The next fact of the same relation that the model can be asked; how many were looked at.

        After the last fact comes the first. A fact that cannot be asked has its own failure; the
        others have the control that they would have without it.
        """
        n_looked_at = 0
        for n_looked_at, fact in enumerate(self._others(number), 1):
            if self.can_be_asked(model, fact, held_out=True):
                return fact, n_looked_at
        return None, n_looked_at

    def facts_beside(self, model: "TransformerBridge", number: int) -> tuple[list[Fact], int]:
        """The next facts, of which a mean and the lens take theirs; how many were looked at."""
        found: list[Fact] = []
        if not self._needs_others(model):
            return found, 0
        n_looked_at = 0
        for n_looked_at, fact in enumerate(self._others(number), 1):
            if self.can_be_asked(model, fact, held_out=False):
                found.append(fact)
            if len(found) == OTHER_FACTS:
                return found, n_looked_at
        return found, n_looked_at

    def _needs_others(self, model: "TransformerBridge") -> bool:
        """Whether a baseline, an ablation or the lens takes something from other facts."""
        plan, chosen = self.plan, self.plan.baseline
        is_mean = chosen != "zero" and (chosen != "auto" or capabilities(model).scale_invariant)
        return (
            plan.lens
            or (is_mean and any(METHODS[name].takes_baseline for name in plan.methods))
            or bool(plan.changed and set(plan.how) & set(FROM_CORPUS))
        )

    def _others(self, number: int) -> Iterator[Fact]:
        """The other facts of the same relation: those after this one, then those before it."""
        facts, relation = self.facts.facts, self.facts.facts[number].relation
        first = last = number
        while first and facts[first - 1].relation == relation:
            first -= 1
        while last + 1 < len(facts) and facts[last + 1].relation == relation:
            last += 1
        yield from facts[number + 1 : last + 1]
        yield from facts[first:number]

    def can_be_asked(self, model: "TransformerBridge", fact: Fact, *, held_out: bool) -> bool:
        """Whether the model can read the fact's prompts of this part, or the part has none."""
        key = fact.id, held_out
        if key not in self._readable:  # each fact is a neighbour of several others
            self._readable[key] = self._can_be_read(model, fact, held_out)
        return self._readable[key]

    @cached_property
    def _readable(self) -> dict[tuple[str, bool], bool]:
        return {}

    def _can_be_read(self, model: "TransformerBridge", fact: Fact, held_out: bool) -> bool:
        try:
            choosing, rest = self.questions.split(fact)
            if prompts := rest if held_out else choosing:
                with call(model):
                    require_readable(model, prompts, position=self.plan.position)
        except Exception:
            return False
        return True


def _checksum(*records: Any) -> str:
    text = json.dumps(records, ensure_ascii=False, sort_keys=True)
    return checksum_of(text)[:CHECKSUM_LENGTH]
