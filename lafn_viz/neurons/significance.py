"""Is an overlap more than chance, and more than the relation and the language explain?

Two null models, both with the number of neurons that each language has in each layer, or nearly:

- **random neurons**: in every language random neurons of the same layers, as many;
- **other facts**: in every language the neurons of a random other fact of the same relation. It
  keeps what belongs to the relation and the language, and takes away only that the languages talk
  about the same fact. This is the one to beat.

Three statistics of a fact: `agnostic`, how many neurons are in at least k of its languages (all
unless `Overlap.min_languages` says else); `shared`, how many neurons two of its languages share
(mean over pairs); `across scripts`, the same of two languages that are written differently. One
permutation serves all facts: p = (1 + draws that reach what was observed) / (1 + draws), and q is p
after Benjamini and Hochberg (1995) over the facts.

For two languages the random null is exact: the shared neurons of a layer follow a hypergeometric
distribution, and those of all layers the convolution of these.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import q_values
from lafn_viz.neurons.overlaps import Overlap

if TYPE_CHECKING:
    import pandas as pd

NULLS = ("random neurons", "other facts")
STATISTICS = ("agnostic", "shared", "across scripts")


@dataclass(frozen=True)
class Significance:
    """Observed statistics of each fact, their distribution under each null, p and q.

    Axes in the order of NULLS and STATISTICS. NaN where a null does not exist (no other fact of the
    relation is known). `pair_p`, `pair_q`: two languages sharing so many neurons of a fact, if they
    were random ones of the same layers.
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

    def __repr__(self) -> str:
        rows = self.summary()
        rows = rows[rows["null"] == NULLS[1]]
        shares = ", ".join(f"{row.statistic} {row.share:.0%}" for row in rows.itertuples())
        return f"Significance({len(self.facts)} facts above {NULLS[1]} with q < 0.05: {shares})"

    def summary(self, *, alpha: float = 0.05) -> "pd.DataFrame":
        """One row a null and statistic: means, and the share of facts with q below alpha."""
        import pandas as pd

        rows = []
        for n, null in enumerate(NULLS):
            for s, statistic in enumerate(STATISTICS):
                q = self.q_value[n, s]
                there = np.isfinite(q)
                share = float((q[there] < alpha).mean()) if there.any() else np.nan
                mean = float(self.null_mean[n, s][there].mean()) if there.any() else np.nan
                rows.append(
                    (statistic, null, np.nanmean(self.observed[s]), mean, share, there.sum())
                )
        columns = ["statistic", "null", "observed", "expected", "share", "facts"]
        table = pd.DataFrame(rows, columns=columns)
        return table.sort_values("statistic", kind="stable", ignore_index=True)

    def to_frame(self) -> "pd.DataFrame":
        """One row a fact, statistic and null: observed, expected, 95th percentile, p, q."""
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


def significance(overlap: Overlap, *, n_permutations: int = 1000, seed: int = 0) -> Significance:
    """Test every fact's agnostic and shared neurons, and every pair of languages.

    Raises:
        ValueError: for fewer than 19 permutations: no p could be below 0.05.
    """
    if n_permutations < 19:
        raise ValueError(
            f"n_permutations={n_permutations}; give at least 19, with fewer no p is below 0.05"
        )
    members = _Members.of(overlap)
    observed = members.statistics(members.lists)
    rng = torch.Generator().manual_seed(seed)
    nulls = []
    for draw in (members.random_neurons, members.other_facts):
        draws = torch.stack([members.statistics(draw(rng)) for _ in range(n_permutations)])
        nulls.append(draws)
    table = torch.stack(nulls).double()  # null, draw, statistic, fact
    p = (1 + (table >= observed.double()).sum(1)) / (1 + n_permutations)
    alone = ~members.replaceable()
    mean, high = table.mean(1), table.quantile(0.95, 1)
    for values in (p, mean, high):
        values[1][:, alone] = torch.nan
        values[:, ~observed.isfinite()] = torch.nan  # of one script only
    pair_p = _pairs(overlap)
    return Significance(
        facts=overlap.facts,
        languages=overlap.languages,
        observed=observed.double().numpy(),
        null_mean=mean.numpy(),
        null_high=high.numpy(),
        p_value=p.numpy(),
        q_value=np.stack([[q_values(row) for row in null] for null in p.numpy()]),
        pair_p=pair_p,
        pair_q=q_values(pair_p),
        n_permutations=n_permutations,
        provenance=overlap.provenance,
    )


@dataclass(frozen=True)
class _Members:
    """The neurons of each fact and language as lists of numbers, padded with `width`."""

    lists: Int[Tensor, "fact language place"]
    known: Bool[Tensor, "fact language"]
    relation: Int[Tensor, " fact"]
    needed: Int[Tensor, " fact"]
    scripts: tuple[str, ...]
    shape: tuple[int, int]

    @classmethod
    def of(cls, overlap: Overlap) -> "_Members":
        shape, sets = overlap.shape, overlap.sets
        width = shape[0] * shape[1]
        most = max((len(some.neurons) for some in sets.values()), default=0)
        lists = torch.full((len(overlap.facts), len(overlap.languages), max(most, 1)), width)
        known = torch.zeros(lists.shape[:2], dtype=torch.bool)
        for (fact, language), some in sets.items():
            at = overlap.facts.index(fact), overlap.languages.index(language)
            known[at] = True
            flat = [layer * shape[1] + neuron for layer, neuron in some.neurons]
            lists[at][: len(flat)] = torch.tensor(flat, dtype=torch.long)
        names = {name: number for number, name in enumerate(dict.fromkeys(overlap.relations))}
        relation = torch.tensor([names[name] for name in overlap.relations])
        needed = known.sum(1)
        if overlap.min_languages is not None:
            needed = needed.clamp_max(overlap.min_languages)
        return cls(lists, known, relation, needed, overlap.scripts, shape)

    @property
    def width(self) -> int:
        return self.shape[0] * self.shape[1]

    def statistics(
        self, lists: Int[Tensor, "fact language place"]
    ) -> Float[Tensor, "statistic fact"]:
        # Of each entry of the lists: in how many languages its neuron is. A neuron of m languages
        # has m entries, so the sum of m - 1 over them counts its m (m - 1) ordered pairs.
        held = self._held(lists)
        agnostic = ((held >= self.needed[:, None]) / held).sum(1)
        shared = (held - 1).sum(1)
        languages = self.known.sum(1)
        pairs = languages * (languages - 1)
        alike, alike_pairs = torch.zeros_like(shared), torch.zeros_like(pairs)
        for columns in self.same_script:
            alike += (self._held(lists[:, columns]) - 1).sum(1)
            known = self.known[:, columns].sum(1)
            alike_pairs += known * (known - 1)
        across = (shared - alike) / (pairs - alike_pairs)
        return torch.stack([agnostic.round(), shared / pairs, across])

    def _held(self, lists: Int[Tensor, "fact language place"]) -> Float[Tensor, "fact entry"]:
        """How many of the languages hold the neuron of each entry (1 where a list is padded)."""
        flat = lists.flatten(1)
        count = torch.zeros(len(lists), self.width + 1)
        count.scatter_add_(1, flat, torch.ones(1).expand_as(flat))
        count[:, self.width] = 1
        return count.gather(1, flat)

    @cached_property
    def same_script(self) -> list[list[int]]:
        """The languages that are not alone with their script."""
        columns: dict[str, list[int]] = {}
        for column, script in enumerate(self.scripts):
            columns.setdefault(script, []).append(column)
        return [some for some in columns.values() if len(some) > 1]

    def random_neurons(self, rng: torch.Generator) -> Int[Tensor, "fact language place"]:
        """Each language's neurons renamed at random within their layers, for all facts alike."""
        n_languages = self.lists.shape[1]
        order = torch.rand(n_languages, *self.shape, generator=rng).argsort(-1)
        offset = torch.arange(self.shape[0])[:, None] * self.shape[1]
        renamed = torch.full((n_languages, self.width + 1), self.width)
        renamed[:, : self.width] = (order + offset).flatten(1)
        return renamed[torch.arange(n_languages)[:, None], self.lists]

    def other_facts(self, rng: torch.Generator) -> Int[Tensor, "fact language place"]:
        """In each language the set of another fact of the relation that is known in it."""
        order, place, size = self._peers
        step = torch.rand(place.shape, generator=rng).mul(size - 1).floor().clamp_min(0) + 1
        # Around the group, from the fact's own place in it: never the fact itself.
        start = torch.arange(len(place))[:, None] - place
        chosen = order.gather(0, start + (place + step.long()) % size)
        other = torch.empty_like(order).scatter_(0, order, chosen)
        lists = self.lists[other, torch.arange(place.shape[1])]
        lists[~self.known] = self.width
        return lists

    @cached_property
    def _peers(self) -> tuple[Tensor, Tensor, Tensor]:
        """For each language: facts sorted into groups of one relation that are known in it.

        Returns the facts in that order, the place of each in its group, and the group's size.
        """
        n_relations = int(self.relation.max()) + 1
        group = torch.where(self.known, self.relation[:, None], n_relations)
        order = group.argsort(dim=0, stable=True)
        of = group.gather(0, order)
        sizes = torch.stack([torch.bincount(c, minlength=n_relations + 1) for c in group.T], 1)
        first = sizes.cumsum(0) - sizes
        place = torch.arange(len(of))[:, None] - first.gather(0, of)
        return order, place, sizes.gather(0, of)

    def replaceable(self) -> Bool[Tensor, " fact"]:
        """Facts with another one of their relation in each of their languages."""
        same = (self.relation[:, None] == self.relation[None]).float()
        others = same @ self.known.float()
        return ((others >= 2) | ~self.known).all(1)


def _pairs(overlap: Overlap) -> Float[np.ndarray, "fact language language"]:
    """Exact probability of sharing at least so many neurons with random ones of the same layers."""
    from scipy.stats import hypergeom

    n, n_layers = len(overlap.languages), overlap.shape[0]
    out = np.full((len(overlap.facts), n, n), np.nan)
    cells, counts, shared = [], [], []
    for row, fact in enumerate(overlap.facts):
        sets = {
            column: overlap.sets[fact, language].neurons
            for column, language in enumerate(overlap.languages)
            if (fact, language) in overlap.sets
        }
        sizes = {
            column: np.bincount([layer for layer, _ in some], minlength=n_layers)
            for column, some in sets.items()
        }
        for i in sets:
            for j in sets:
                if i < j:
                    cells.append((row, i, j))
                    counts.append(np.stack([sizes[i], sizes[j]], 1))
                    shared.append(len(sets[i] & sets[j]))
    table = np.stack(counts)  # pair, layer, 2
    most = int(table.min(2).sum(1).max()) + 1
    size = 1 << (2 * most - 1).bit_length()
    kinds, which = np.unique(table.reshape(-1, 2), axis=0, return_inverse=True)
    pmf = hypergeom.pmf(np.arange(most), overlap.shape[1], kinds[:, :1], kinds[:, 1:])
    spectrum = np.fft.rfft(pmf, size, axis=1)
    which = which.reshape(len(table), n_layers)
    for start in range(0, len(table), 1024):  # a bounded share of all spectra at once
        part = slice(start, start + 1024)
        total = np.ones((len(which[part]), spectrum.shape[1]), dtype=complex)
        for layer in range(n_layers):
            total *= spectrum[which[part, layer]]
        mass = np.fft.irfft(total, size, axis=1)[:, :most].clip(0)
        tail = mass[:, ::-1].cumsum(1)[:, ::-1]
        got = np.array(shared[part])
        # Below the accuracy of the transform, and never quite zero.
        p = tail[np.arange(len(got)), got].clip(1e-15, 1)
        for (row, i, j), value in zip(cells[part], p, strict=True):
            out[row, i, j] = out[row, j, i] = value
    return out
