"""Is an overlap more than chance, and more than the relation and the language explain?

Two null models:

- **random neurons**: in every language as many random neurons of the same layers;
- **other facts**: in every language the neurons of a random fact of the same relation. This keeps
  what belongs to the relation and the language, and takes away only that the languages speak of the
  same fact. It is the null model to beat.

A fact has three statistics: `agnostic`, how many neurons are in at least k of its languages (all
unless `Overlap.min_languages` says otherwise); `shared`, how many neurons two of its languages
share (mean over pairs); `across scripts`, the same for two languages that are written differently.
One permutation serves all facts: p = (1 + draws that reach the observed value) / (1 + draws), and q
is p after Benjamini and Hochberg (1995) over the facts.

**Facts that are not alike.** A fact with more neurons than the others, or with more of those that
most facts have, shares more between languages whatever it says. What is exchanged are therefore
whole sets, but what is compared is how far each statistic is from what is expected of such sets
(see `expected_overlap`), in standard deviations; the draws are given on the scale of the fact's own
sets. The fact itself is among those exchanged, as in every permutation test, which is why a few
facts that all share a lot are hard to tell from chance. How often a fact without any sharing of its
own had p <= 0.05 (`shared`; agnostic and across scripts differ by up to 0.03), in 480 to 1,200
facts, and how often one had that shares 4 of 16 neurons (4 languages):

    ==================================  ====  ====  ====  ====
    facts of the relation               3     5     8     12
    ==================================  ====  ====  ====  ====
    all alike                           0.04  0.04  0.05  0.05
    0.5 to 2 times as many neurons      0.05  0.06  0.06  0.05
    a quarter to three quarters common  0.06  0.07  0.06  0.05
    a tenth to nine tenths common       0.13  0.13  0.09  0.07
    neurons that come in fours          0.04  0.04  0.04  0.06
    4 planted neurons                   0.87  1.00  1.00  1.00
    ==================================  ====  ====  ====  ====

With fewer than FEWEST facts of a relation that differ much, p is thus too small, and with two
facts hardly anything is found: `significance` warns.

For two languages the random null is exact (see `pair_test`).
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.arguments import a_result, a_seed, real, takes, whole
from lafn_viz.core.messages import quoted, warn
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import q_values
from lafn_viz.models.torch_modes import plain_modes
from lafn_viz.neurons.null_models import NULLS, STATISTICS, FactSets
from lafn_viz.neurons.overlap_result import Overlap
from lafn_viz.neurons.pair_test import pair_p_values

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 5  # facts of a relation for which the simulation above finds the test to hold
ROUNDING = 1e-4  # of a statistic in single precision; the smallest step between two is larger


@dataclass(frozen=True)
class Significance:
    """Observed statistics of each fact, their distribution under each null model, p and q.

    Axes are in the order of NULLS and STATISTICS. Values are NaN where a null model does not exist
    (no other fact of the relation is known). `pair_p` and `pair_q` are of two languages sharing so
    many neurons of a fact, if the neurons were random ones of the same layers.
    """

    facts: tuple[str, ...]
    languages: tuple[str, ...]
    observed: Float[np.ndarray, "statistic fact"]
    null_mean: Float[np.ndarray, "null statistic fact"]
    null_high: Float[np.ndarray, "null statistic fact"]
    p_value: Float[np.ndarray, "null statistic fact"]
    q_value: Float[np.ndarray, "null statistic fact"]
    pair_p: Float[np.ndarray, "fact language language"]
    pair_q: Float[np.ndarray, "fact language language"]
    n_permutations: int
    provenance: Provenance
    names: tuple[str, ...] = ()  # how figures name each fact; its id unless given

    def __repr__(self) -> str:
        rows = self.summary()
        rows = rows[rows["null"] == NULLS[1]]
        shares = ", ".join(f"{row.statistic} {row.share:.0%}" for row in rows.itertuples())
        return f"Significance({len(self.facts)} facts above {NULLS[1]} with q < 0.05: {shares})"

    @takes(alpha=real(above=0, most=1))
    def summary(self, *, alpha: float = 0.05) -> "pd.DataFrame":
        """One row a statistic and null model: means, and the share of facts with q below alpha."""
        import pandas as pd

        rows = []
        for n, null in enumerate(NULLS):
            for s, statistic in enumerate(STATISTICS):
                q = self.q_value[n, s]
                tested = np.isfinite(q)
                share = float((q[tested] < alpha).mean()) if tested.any() else np.nan
                mean = float(self.null_mean[n, s][tested].mean()) if tested.any() else np.nan
                observed = np.nanmean(self.observed[s])
                rows.append((statistic, null, observed, mean, share, tested.sum()))
        columns = ["statistic", "null", "observed", "expected", "share", "facts"]
        table = pd.DataFrame(rows, columns=columns)
        return table.sort_values("statistic", kind="stable", ignore_index=True)

    def to_frame(self) -> "pd.DataFrame":
        """One row a fact, statistic and null model: observed, expected, 95th percentile, p, q."""
        import pandas as pd

        rows = [
            (
                fact, statistic, null, self.observed[s, f], self.null_mean[n, s, f],
                self.null_high[n, s, f], self.p_value[n, s, f], self.q_value[n, s, f],
            )
            for f, fact in enumerate(self.facts)
            for s, statistic in enumerate(STATISTICS)
            for n, null in enumerate(NULLS)
        ]  # fmt: skip
        columns = ["fact_id", "statistic", "null", "observed", "expected", "high", "p", "q"]
        return pd.DataFrame(rows, columns=columns)


@plain_modes()
@takes(overlap=a_result(Overlap), n_permutations=whole(), seed=a_seed)
def significance(overlap: Overlap, *, n_permutations: int = 1000, seed: int = 0) -> Significance:
    """Test every fact's agnostic and shared neurons, and every pair of languages.

    Raises:
        ValueError: for fewer than 19 permutations, with which no p could be below 0.05.

    Warns:
        UserWarning: for a relation of two to four facts, whose p against other facts may be too
            small if they differ in what neurons they have, and too large if all share much.
    """
    if n_permutations < 19:
        raise ValueError(
            f"n_permutations={n_permutations}; give at least 19, with fewer no p is below 0.05"
        )
    _warn_of_few_facts(overlap)
    fact_sets = FactSets.of(overlap)
    observed = fact_sets.statistics(fact_sets.lists).double()
    draws = _permutations(fact_sets, n_permutations, seed)
    p = (1 + (draws >= observed - ROUNDING).sum(1)) / (1 + n_permutations)
    mean, high = draws.mean(1), draws.quantile(0.95, 1)
    alone = ~fact_sets.replaceable()
    for values in (p, mean, high):
        values[1][:, alone] = torch.nan
        values[:, ~observed.isfinite()] = torch.nan  # all languages of one script
    pair_p = pair_p_values(overlap)
    return Significance(
        facts=overlap.facts,
        languages=overlap.languages,
        observed=observed.numpy(),
        null_mean=mean.numpy(),
        null_high=high.numpy(),
        p_value=p.numpy(),
        q_value=np.stack([[q_values(row) for row in null] for null in p.numpy()]),
        pair_p=pair_p,
        pair_q=q_values(pair_p),
        n_permutations=n_permutations,
        provenance=overlap.provenance,
        names=overlap.names,
    )


def _warn_of_few_facts(overlap: Overlap) -> None:
    """Warn of relations with too few facts to be exchanged."""
    count = Counter(overlap.relations)
    few = [f"{quoted(name)} has {n}" for name, n in count.items() if 1 < n < FEWEST]
    if few:
        warn(
            f"{', '.join(few)} facts, too few to be exchanged, so p and q against other facts are "
            f"not to be trusted; take {FEWEST} or more facts of a relation"
        )


def _permutations(
    fact_sets: FactSets, n: int, seed: int
) -> Float[Tensor, "null draw statistic fact"]:
    """The statistics in n draws from each null model."""
    rng = torch.Generator().manual_seed(seed)
    draws = [
        torch.stack([draw(rng) for _ in range(n)])
        for draw in (fact_sets.random_neurons, fact_sets.other_facts)
    ]
    return torch.stack(draws).double()
