"""The result of `examine`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lafn_viz.attribution.scores import NeuronScores
from lafn_viz.core.arguments import a_flag, takes
from lafn_viz.experiments.figures import (
    comparison_text,
    counts,
    effect_table,
    figure_table,
    headline,
)
from lafn_viz.interventions.effects import Effects
from lafn_viz.interventions.replacements import Ablation
from lafn_viz.neurons.overlap_result import Overlap

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Examination:
    """What one model does with some facts: what it knows, shares between languages, and loses.

    `known` is the share of all `n_prompts` prompts answered; `n_choosing` of them chose neurons and
    `n_measured` measured effects. `papers` is the overlap at the papers' threshold of 0.2 (see
    `select_neurons`), by the same criterion. `effects` are by how neurons were changed, of the sets
    that `compared_sets` describes; the first of `effects` is the cautious one.
    """

    model: str
    known: float
    n_prompts: int
    n_choosing: int
    n_measured: int
    scores: NeuronScores
    overlap: Overlap
    papers: Overlap
    effects: Mapping[Ablation, Effects]

    def __repr__(self) -> str:
        return (
            f"Examination({len(self.overlap.facts)} facts in {self.model}: {headline([self])}; "
            f"{self.n_measured} of {self.n_prompts} prompts measured; agnostic: in "
            f"{self.overlap.criterion})"
        )

    @takes(by_language=a_flag)
    def effect_table(self, *, by_language: bool = False) -> "pd.DataFrame":
        """The effect of every set on P(correct), on log P, and as a share of the own set's effect.

        Means over facts with 95% intervals: `p` is the relative change of P (-1: nothing is left),
        `log_p` the change in nats, `share` the mean change of P over that of the own set (NaN where
        the interval of that holds zero, or it was not measured), `neurons` the size of the set.

        Args:
            by_language: one row per language instead of one outside and one in Latin script.
        """
        return effect_table([self], by_language=by_language)

    def counts(self) -> "pd.DataFrame":
        """Agnostic neurons by criterion, for the selected sets and at the papers' threshold.

        Columns: `selected` (the options of the selection), and those of `agnostic_counts`.
        """
        return counts([self])

    def to_frame(self) -> "pd.DataFrame":
        """One row per figure, by section: its value and 95% interval over facts.

        The first section is the cautious one (see `examine`); `unit` says what is counted: a
        "change" of P relative to its value before, a "share", an "index" or "neurons".
        """
        return figure_table([self])

    def to_text(self) -> str:
        """The figures as a table to print."""
        return comparison_text({self.model: self.to_frame()})
