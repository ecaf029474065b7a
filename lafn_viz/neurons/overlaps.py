"""Which neurons of a fact do languages share, and is that more than chance and habit?

For sets A, B of two languages the **Jaccard index** is |A and B| / |A or B|. Beside each one
stand two controls, without which it says nothing:

- **other fact**: the same two languages and the same relation, but another subject. Neurons of the
  relation or of the language overlap too without carrying the fact.
- **chance**: the index expected of random sets with the same count in each layer.

Languages of one script often spell a name alike, and then share neurons as they share tokens. Pairs
of different scripts leave that out: look at both (`across_scripts`).

A neuron is **language-agnostic** for a fact when it is in the sets of all languages that know the
fact (LAFN, arXiv 2406.16416; LIKN in arXiv 2308.13198), or of at least k of them; it is
**language-specific** when it is in exactly one. Languages that do not know a fact are left out of
it and listed; they are no disagreement.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float

from lafn_viz.core.options import require_one_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap, mean_of_finite
from lafn_viz.datasets.languages import script_of
from lafn_viz.neurons.neuron_sets import Neuron, NeuronSet, neurons_of

if TYPE_CHECKING:
    import pandas as pd

Matrix = Float[np.ndarray, "language language"]


@dataclass(frozen=True)
class Overlap:
    """Shared and separate neurons of some facts over some languages.

    `same_fact`, `other_fact` and `chance` are Jaccard indices of each fact and pair of languages
    (NaN where the model does not know the fact in both, or both sets are empty); `coefficient` is
    the overlap coefficient |A and B| / min(|A|, |B|) of the same fact. `sets` are the neurons of
    the facts and languages that took part, `left_out` lists the (fact, language)s that did not:
    the model does not know the fact in that language, or in no other.
    """

    languages: tuple[str, ...]
    facts: tuple[str, ...]
    agnostic: dict[str, frozenset[Neuron]]
    specific: dict[tuple[str, str], frozenset[Neuron]]
    same_fact: Float[np.ndarray, "fact language language"]
    other_fact: Float[np.ndarray, "fact language language"]
    chance: Float[np.ndarray, "fact language language"]
    coefficient: Float[np.ndarray, "fact language language"]
    sets: dict[tuple[str, str], NeuronSet]
    left_out: tuple[tuple[str, str], ...]
    min_languages: int | None
    shape: tuple[int, int]
    provenance: Provenance

    def __repr__(self) -> str:
        means = [f"{name} {np.nanmean(v):.3f}" for name, v in self.by_fact().items() if len(v)]
        return (
            f"Overlap({len(self.facts)} facts, {len(self.languages)} languages: {', '.join(means)})"
        )

    @property
    def jaccard(self) -> Matrix:
        """Mean over facts for each pair of languages (NaN where no fact is known in both)."""
        return mean_of_finite(self.same_fact, 0)

    @property
    def jaccard_other_fact(self) -> Matrix:
        """The same between different facts of one relation."""
        return mean_of_finite(self.other_fact, 0)

    @property
    def jaccard_chance(self) -> Matrix:
        """The same for random sets with the same count in each layer."""
        return mean_of_finite(self.chance, 0)

    @property
    def relations(self) -> tuple[str, ...]:
        """The relation of each fact."""
        of = {fact: found.relation for (fact, _), found in self.sets.items()}
        return tuple(of[fact] for fact in self.facts)

    @property
    def scripts(self) -> tuple[str, ...]:
        """The script of each language."""
        return tuple(script_of(language) for language in self.languages)

    def known_in(self, fact: str) -> tuple[str, ...]:
        """The languages that took part in a fact."""
        return tuple(lang for lang in self.languages if (fact, lang) in self.sets)

    def neurons_in(self, language: str) -> dict[str, frozenset[Neuron]]:
        """The neurons of each fact in a language, for the facts known in it."""
        return {fact: some.neurons for (fact, its), some in self.sets.items() if its == language}

    def specific_to(self, language: str) -> dict[str, frozenset[Neuron]]:
        """Those of them that no other language holds."""
        return {fact: some for (fact, its), some in self.specific.items() if its == language}

    def of(self, *, relation: str | None = None, facts: Iterable[str] | None = None) -> "Overlap":
        """The same for some of the facts; the other-fact control stays what it was."""
        wanted = set(self.facts if facts is None else facts)
        unknown = sorted(wanted - set(self.facts))
        rows = [
            row
            for row, (fact, its) in enumerate(zip(self.facts, self.relations, strict=True))
            if fact in wanted and relation in (None, its)
        ]
        if unknown or not rows:
            raise ValueError(
                f"relation={relation!r}, facts={sorted(wanted)[:5]}: "
                + (f"{unknown[0]!r} is not in this overlap" if unknown else "no fact fits both")
                + f"; it has {', '.join(self.facts[:5])}, ... of {', '.join(set(self.relations))}"
            )
        kept = {self.facts[row] for row in rows}
        return replace(
            self,
            facts=tuple(self.facts[row] for row in rows),
            agnostic={fact: some for fact, some in self.agnostic.items() if fact in kept},
            specific={key: some for key, some in self.specific.items() if key[0] in kept},
            same_fact=self.same_fact[rows],
            other_fact=self.other_fact[rows],
            chance=self.chance[rows],
            coefficient=self.coefficient[rows],
            sets={key: some for key, some in self.sets.items() if key[0] in kept},
            left_out=tuple(key for key in self.left_out if key[0] in kept),
        )

    def intersections(
        self, *, facts: Iterable[str] | None = None, draws: int = 20, seed: int = 0
    ) -> "pd.DataFrame":
        """How many neurons are in exactly these languages: the rows of an UpSet plot.

        Of some `facts`, or of all; the others serve as their control all the same.

        Columns: `languages` (tuple), `degree` (their number), `neurons` (mean a fact), and
        `other_facts`, the same when each language's set is that of another fact of the relation
        (mean over draws; NaN where a relation has one fact). Most frequent first.
        """
        import pandas as pd

        chosen = self.facts if facts is None else require_one_of("fact", facts, self.facts)
        relation_of = dict(zip(self.facts, self.relations, strict=True))
        peers: dict[tuple[str, str], list[str]] = defaultdict(list)
        for fact, language in self.sets:
            peers[relation_of[fact], language].append(fact)
        rng = np.random.default_rng(seed)

        def another(fact: str, language: str) -> str:
            others = [x for x in peers[relation_of[fact], language] if x != fact]
            return others[rng.integers(len(others))]

        def count(own: bool) -> Counter[tuple[str, ...]]:
            counts: Counter[tuple[str, ...]] = Counter()
            for fact in chosen:
                holders: dict[Neuron, list[str]] = defaultdict(list)
                for language in self.known_in(fact):
                    source = fact if own else another(fact, language)
                    for neuron in self.sets[source, language].neurons:
                        holders[neuron].append(language)
                counts.update(tuple(some) for some in holders.values())
            return counts

        control: Counter[tuple[str, ...]] | None = None
        pairs = [(relation_of[fact], x) for fact in chosen for x in self.known_in(fact)]
        if all(len(peers[pair]) > 1 for pair in pairs):
            control = sum((count(False) for _ in range(draws)), Counter())
        n = len(chosen)
        rows = [
            (
                some,
                len(some),
                found / n,
                np.nan if control is None else control[some] / (n * draws),
            )
            for some, found in count(True).most_common()
        ]
        return pd.DataFrame(rows, columns=["languages", "degree", "neurons", "other_facts"])

    def linkage(self) -> Float[np.ndarray, "merge 4"]:
        """Languages clustered by 1 - Jaccard, average linkage (as scipy.cluster.hierarchy)."""
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import squareform

        distance = 1 - self.jaccard
        np.fill_diagonal(distance, 0)
        if not np.isfinite(distance).all():
            raise ValueError(
                "some languages share no known fact, so they have no distance; leave them out"
            )
        return linkage(squareform(distance, checks=False), "average")

    def by_fact(self, *, across_scripts: bool = False) -> dict[str, Float[np.ndarray, " fact"]]:
        """Mean over pairs of different languages, or only of different scripts, for each fact."""
        scripts = np.array(self.scripts)
        pairs = ~np.eye(len(scripts), dtype=bool)
        if across_scripts:
            pairs = scripts[:, None] != scripts[None]
        named = {"same fact": self.same_fact, "other fact": self.other_fact, "chance": self.chance}
        return {name: mean_of_finite(values[:, pairs], 1) for name, values in named.items()}

    def summary(
        self, *, across_scripts: bool = False, draws: int = 2000, seed: int = 0
    ) -> "pd.DataFrame":
        """Mean Jaccard of each comparison with its 95% bootstrap interval over facts."""
        import pandas as pd

        rows = []
        found = self.by_fact(across_scripts=across_scripts)
        found["same minus other fact"] = found["same fact"] - found["other fact"]
        for name, values in found.items():
            low, high = bootstrap(values, draws=draws, seed=seed)
            rows.append((name, float(mean_of_finite(values, 0)), low, high))
        return pd.DataFrame(rows, columns=["comparison", "jaccard", "low", "high"])

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair of different languages: the index and its two controls."""
        import pandas as pd

        n = len(self.languages)
        jaccard, other_fact, chance = self.jaccard, self.jaccard_other_fact, self.jaccard_chance
        coefficient = mean_of_finite(self.coefficient, 0)
        rows = [
            (
                self.languages[i],
                self.languages[j],
                jaccard[i, j],
                other_fact[i, j],
                chance[i, j],
                coefficient[i, j],
            )
            for i in range(n)
            for j in range(i + 1, n)
        ]
        columns = ["language", "other_language", "jaccard", "other_fact", "chance", "coefficient"]
        return pd.DataFrame(rows, columns=columns)

    def by_pair(self) -> "pd.DataFrame":
        """One row a fact and ordered pair of different languages: index, controls, coefficient.

        `other_fact` sets the fact's neurons in `language` against other facts' in `other_language`.
        Means over a fact's rows are those of `by_fact`; pairs of which nothing is known are left
        out.
        """
        import pandas as pd

        values = {
            "jaccard": self.same_fact,
            "other_fact": self.other_fact,
            "chance": self.chance,
            "coefficient": self.coefficient,
        }
        there = np.isfinite(np.stack(list(values.values()))).any(0)
        fact, one, other = np.nonzero(there & ~np.eye(len(self.languages), dtype=bool))
        languages = np.array(self.languages, dtype=object)
        return pd.DataFrame(
            {
                "fact_id": np.array(self.facts, dtype=object)[fact],
                "relation": np.array(self.relations, dtype=object)[fact],
                "language": languages[one],
                "other_language": languages[other],
                **{name: table[fact, one, other] for name, table in values.items()},
            }
        )

    def per_layer(self) -> "pd.DataFrame":
        """Mean count of agnostic and specific neurons a fact, by layer (specific: a language)."""
        import pandas as pd

        rows = []
        for layer in range(self.shape[0]):
            agnostic = [sum(n.layer == layer for n in s) for s in self.agnostic.values()]
            specific = [sum(n.layer == layer for n in s) for s in self.specific.values()]
            rows.append((layer, float(np.mean(agnostic)), float(np.mean(specific))))
        return pd.DataFrame(rows, columns=["layer", "agnostic", "specific"])


def overlap(sets: Sequence[NeuronSet], *, min_languages: int | None = None) -> Overlap:
    """Overlap of the neuron sets of one or more facts.

    Args:
        sets: one per fact and language, from one model (see `select_neurons`).
        min_languages: a neuron counts as agnostic from this many languages on; by default all
            languages that know the fact.

    Raises:
        ValueError: for no sets, two sets of one fact and language, a `min_languages` under 2, or
            when no fact is known in two languages.
    """
    if not sets:
        raise ValueError("there are no neuron sets; give those of select_neurons()")
    if min_languages is not None and min_languages < 2:
        raise ValueError(
            f"min_languages={min_languages}; one language shares nothing, give 2 or more"
        )
    languages = tuple(dict.fromkeys(s.language for s in sets))
    by_fact: dict[str, dict[str, NeuronSet]] = defaultdict(dict)
    left_out = []
    for s in sets:
        if s.language in by_fact[s.fact_id]:
            raise ValueError(f"two sets of {s.fact_id!r} in {s.language!r}; give one of them")
        by_fact[s.fact_id][s.language] = s
        if not s.known:
            left_out.append((s.fact_id, s.language))
    facts = [fact for fact, of in by_fact.items() if sum(s.known for s in of.values()) >= 2]
    # What is known in one language alone has nothing to be compared with.
    left_out += [(s.fact_id, s.language) for s in sets if s.known and s.fact_id not in facts]
    if not facts:
        raise ValueError(
            "no fact is known in two languages, so there is no overlap to compute; "
            "score_answers() shows what the model knows"
        )
    shape = sets[0].shape
    table = torch.zeros(len(facts), len(languages), shape[0] * shape[1])
    usable = torch.zeros(len(facts), len(languages), dtype=torch.bool)
    agnostic, specific = {}, {}
    for row, fact in enumerate(facts):
        known = {lang: s for lang, s in by_fact[fact].items() if s.known}
        for lang, s in known.items():
            column = languages.index(lang)
            table[row, column] = s.mask().flatten().float()
            usable[row, column] = True
        count = table[row].sum(0)
        needed = min(min_languages or len(known), len(known))
        agnostic[fact] = neurons_of((count >= needed).view(shape))
        for lang in known:
            alone = (count == 1) & (table[row, languages.index(lang)] == 1)
            specific[fact, lang] = neurons_of(alone.view(shape))
    relations = [next(iter(by_fact[fact].values())).relation for fact in facts]
    same, other, chance, coefficient = _compare(table, usable, relations, shape)
    return Overlap(
        languages=languages,
        facts=tuple(facts),
        agnostic=agnostic,
        specific=specific,
        same_fact=same,
        other_fact=other,
        chance=chance,
        coefficient=coefficient,
        sets={(s.fact_id, s.language): s for s in sets if s.known and s.fact_id in agnostic},
        left_out=tuple(left_out),
        min_languages=min_languages,
        shape=shape,
        provenance=sets[0].provenance,
    )


Triple = Float[np.ndarray, "fact language language"]


def _compare(
    table: torch.Tensor, usable: torch.Tensor, relations: list[str], shape: tuple[int, int]
) -> tuple[Triple, Triple, Triple, Triple]:
    """Per fact and pair of languages: the index, its controls, and the overlap coefficient."""
    sizes = table.sum(-1)
    per_layer = table.view(*table.shape[:2], *shape).sum(-1)
    both = usable[:, :, None] & usable[:, None, :]
    union_free = sizes[:, :, None] + sizes[:, None, :]
    shared = table @ table.mT
    same = jaccard_index(shared, union_free, both)
    least = torch.minimum(sizes[:, :, None], sizes[:, None, :])
    coefficient = torch.where(both & (least > 0), shared / least.clamp_min(1), torch.nan)
    expected = per_layer @ per_layer.mT / shape[1]
    chance = jaccard_index(expected, union_free, both)
    other = torch.full_like(same, torch.nan)
    n_languages = table.shape[1]
    for relation in dict.fromkeys(relations):
        rows = [i for i, name in enumerate(relations) if name == relation]
        if len(rows) < 2:
            continue
        flat, size, ok = table[rows].flatten(0, 1), sizes[rows].flatten(), usable[rows].flatten()
        index = jaccard_index(flat @ flat.T, size[:, None] + size[None], ok[:, None] & ok[None])
        index = index.view(len(rows), n_languages, len(rows), n_languages)
        own = torch.arange(len(rows))
        index[own, :, own, :] = torch.nan
        other[rows] = index.nanmean(2)
    return same.numpy(), other.numpy(), chance.numpy(), coefficient.numpy()


def jaccard_index(
    shared: torch.Tensor, sizes: torch.Tensor, both: torch.Tensor | bool = True
) -> torch.Tensor:
    """Index from |A and B| and |A| + |B|; NaN where not `both` take part, or both are empty."""
    union = sizes - shared
    undefined = torch.full_like(shared, torch.nan)
    return torch.where((union > 0) & both, shared / union.clamp_min(1), undefined)
