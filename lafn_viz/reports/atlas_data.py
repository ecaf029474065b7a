"""What the pages of an atlas say of one study: a store's results by fact, language and neuron."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from lafn_viz.experiments.compared_sets import WITHOUT
from lafn_viz.experiments.store import Store
from lafn_viz.interventions.language_lens import ANY
from lafn_viz.neurons.neuron_sets import Neuron
from lafn_viz.reports.sweep_results import SweepResults

if TYPE_CHECKING:
    import pandas as pd

Tokens = tuple[tuple[str, ...], tuple[str, ...]]  # that a neuron promotes, and demotes


@dataclass(frozen=True)
class FactInLanguage:
    """A fact in one language, in one study."""

    subject: str
    object: str
    n_known: int
    n_prompts: int
    known: bool
    n_neurons: int
    n_agnostic: int
    n_specific: int


@dataclass
class HeldNeuron:
    """A neuron that is agnostic for some facts: the languages that hold it, by fact."""

    neuron: Neuron
    languages: dict[str, list[str]] = field(default_factory=dict)

    @property
    def weight(self) -> int:
        """In how many sets of a fact and language it is."""
        return sum(map(len, self.languages.values()))


class Study:
    """One store in an atlas.

    Args:
        label: what the pages call it; two studies never have the same.
        name: of its folder in the site.
    """

    def __init__(self, store: Store, label: str, name: str) -> None:
        self.store, self.label, self.name = store, label, name
        self.results = SweepResults(store)
        self.tokens: Mapping[Neuron, Tokens] = {}

    @cached_property
    def relations(self) -> dict[str, str]:
        """The relation of each fact."""
        return dict(self.results.sets.groupby("fact_id", sort=False)["relation"].first())

    @cached_property
    def facts(self) -> dict[str, dict[str, FactInLanguage]]:
        """Each fact by language."""
        found: dict[str, dict[str, FactInLanguage]] = defaultdict(dict)
        for row in self.results.sets.to_dict("records"):
            found[row["fact_id"]][row["language"]] = FactInLanguage(
                row["subject"], row["object"], row["n_known"], row["n_prompts"], row["known"],
                row["n_neurons"], row["n_agnostic"], row["n_specific"],
            )  # fmt: skip
        return found

    @cached_property
    def pairs(self) -> "pd.DataFrame":
        """The Jaccard index of each fact and pair of languages, with its controls."""
        if self.results.overlap is None:
            return self.store.read("overlap").head(0)
        return self.results.overlap.by_pair()

    @cached_property
    def pairs_of(self) -> dict[str, "pd.DataFrame"]:
        """The pairs of each fact."""
        return {str(fact): rows for fact, rows in self.pairs.groupby("fact_id", sort=False)}

    @cached_property
    def neurons(self) -> list[HeldNeuron]:
        """The agnostic neurons, those in the most sets first."""
        found: dict[Neuron, HeldNeuron] = {}
        for part in self.store.parts("neurons"):
            rows = part[(part["method"] == self.results.method) & part["agnostic"]]
            for row in rows.to_dict("records"):
                neuron = Neuron(row["layer"], row["neuron"])
                held = found.setdefault(neuron, HeldNeuron(neuron))
                held.languages.setdefault(row["fact_id"], []).append(row["language"])
        return sorted(found.values(), key=lambda held: (-held.weight, held.neuron))

    @cached_property
    def agnostic(self) -> dict[str, list[Neuron]]:
        """The agnostic neurons of each fact, in order."""
        found: dict[str, list[Neuron]] = defaultdict(list)
        for held in self.neurons:
            for fact in held.languages:
                found[fact].append(held.neuron)
        return {fact: sorted(neurons) for fact, neurons in found.items()}

    @cached_property
    def lens(self) -> dict[str, "pd.DataFrame"]:
        """The language lens of each fact, without the rows of any language."""
        frame = self.results.lens[self.results.lens["name"] != ANY]
        return {str(fact): rows for fact, rows in frame.groupby("fact_id", sort=False)}

    @cached_property
    def changes(self) -> dict[tuple[str, str], float]:
        """The change of P of each fact and language with the neurons found without it."""
        effects = self.results.effects.get(self.results.how)
        if effects is None or WITHOUT not in effects.sets:
            return {}
        changes = effects.changes()["own fact"][effects.sets.index(WITHOUT)]
        return {
            (fact, language): float(changes[row, column])
            for row, fact in enumerate(effects.facts)
            for column, language in enumerate(effects.languages)
        }
