"""The result of `overlap`: indices of every pair of languages, and the tables made of them.

The index of a pair is worth little by itself. Every mean here therefore comes with its two controls
(another fact of the relation, and chance), and `across_scripts` restricts it to languages that are
written differently.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from lafn_viz.core.arguments import (
    a_flag,
    a_seed,
    a_text,
    bootstrap_draws,
    or_none,
    some_texts,
    takes,
    whole,
)
from lafn_viz.core.messages import quoted
from lafn_viz.core.options import require_one_of
from lafn_viz.core.provenance import Provenance
from lafn_viz.core.stats import bootstrap, mean_of_finite, pair_items
from lafn_viz.datasets.fact import fact_name
from lafn_viz.datasets.languages import require_languages, script_of
from lafn_viz.neurons.criterion import Criterion
from lafn_viz.neurons.intersections import count_holders, count_holders_of_other_facts
from lafn_viz.neurons.neuron_sets import Neuron, NeuronSet, masks_of, neurons_of

if TYPE_CHECKING:
    import pandas as pd

Matrix = Float[np.ndarray, "language language"]


@dataclass(frozen=True)
class Overlap:
    """Shared and separate neurons of some facts in some languages.

    `same_fact`, `other_fact` and `chance` are Jaccard indices of each fact and pair of languages
    (NaN where the model does not know the fact in both, or both sets are empty); `coefficient` is
    the overlap coefficient |A and B| / min(|A|, |B|) of the same fact. `sets` are the neurons of
    the facts and languages that took part. `left_out` lists each (fact, language) that did not,
    because the model does not know the fact in that language, or in no other.
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
    min_scripts: int
    shape: tuple[int, int]
    provenance: Provenance

    def __repr__(self) -> str:
        means = [f"{name} {np.nanmean(v):.3f}" for name, v in self.by_fact().items() if len(v)]
        return (
            f"Overlap({len(self.facts)} facts, {len(self.languages)} languages: "
            f"{', '.join(means)}; {len(self.sets)} pairs of fact and language known, "
            f"{len(self.left_out)} left out; agnostic: in {self.criterion})"
        )

    @property
    def criterion(self) -> Criterion:
        """What makes a neuron agnostic; its text says so."""
        return Criterion(self.min_languages, self.min_scripts)

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
        relation_of = {fact: neurons.relation for (fact, _), neurons in self.sets.items()}
        return tuple(relation_of[fact] for fact in self.facts)

    @property
    def names(self) -> tuple[str, ...]:
        """What figures call each fact, by its subject and relation, or by its id without a name."""
        names: dict[str, str] = {}
        for (fact, _), neurons in self.sets.items():
            if neurons.subject:
                names.setdefault(fact, fact_name(neurons.subject, neurons.relation))
        return tuple(names.get(fact, fact) for fact in self.facts)

    @property
    def scripts(self) -> tuple[str, ...]:
        """The script of each language."""
        return tuple(script_of(language) for language in self.languages)

    @takes(fact=a_text)
    def known_in(self, fact: str) -> tuple[str, ...]:
        """Return the languages that took part in a fact."""
        require_one_of("fact", fact, self.facts)
        return tuple(language for language in self.languages if (fact, language) in self.sets)

    @takes(language=a_text)
    def neurons_in(self, language: str) -> dict[str, frozenset[Neuron]]:
        """Return the neurons of each fact in a language, for the facts known in it.

        Raises:
            ValueError: for a language that the overlap does not have.
        """
        (code,) = require_languages(language, self.languages)
        return {fact: s.neurons for (fact, held_in), s in self.sets.items() if held_in == code}

    @takes(language=a_text)
    def specific_to(self, language: str) -> dict[str, frozenset[Neuron]]:
        """Return the neurons of each fact that this language holds and no other.

        Raises:
            ValueError: for a language that the overlap does not have.
        """
        (code,) = require_languages(language, self.languages)
        return {
            fact: neurons for (fact, held_in), neurons in self.specific.items() if held_in == code
        }

    @takes(languages=some_texts)
    def agnostic_without(self, languages: str | Iterable[str]) -> dict[str, frozenset[Neuron]]:
        """Find the agnostic neurons of each fact without some languages, by the same criterion.

        Neurons that were found without a language are tried on it in good faith: it had no say in
        their choice. A language's relatives had, so leave out all languages of a script to be
        strict. A fact that fewer than two other languages know is left out.

        Raises:
            ValueError: for a language that the overlap does not have.
        """
        without = require_languages(languages, self.languages)
        found = {}
        for fact in self.facts:
            others = [language for language in self.known_in(fact) if language not in without]
            if len(others) > 1:
                held = masks_of([self.sets[fact, code].neurons for code in others], self.shape)
                found[fact] = neurons_of(
                    self.criterion.agnostic(held, [script_of(code) for code in others])
                )
        return found

    @takes(relation=or_none(a_text), facts=or_none(some_texts))
    def of(
        self, *, relation: str | None = None, facts: str | Iterable[str] | None = None
    ) -> "Overlap":
        """Return the overlap of some of the facts; their other-fact control stays the same."""
        wanted = self.facts if facts is None else require_one_of("fact", facts, self.facts)
        if relation is not None:
            require_one_of("relation", relation, tuple(dict.fromkeys(self.relations)))
        rows = [
            row
            for row, (fact, named) in enumerate(zip(self.facts, self.relations, strict=True))
            if fact in wanted and relation in (None, named)
        ]
        if not rows:
            raise ValueError(
                f"relation={quoted(relation)}, facts={quoted(wanted)}: no fact fits both; give "
                "facts of this relation"
            )
        kept = {self.facts[row] for row in rows}
        return replace(
            self,
            facts=tuple(self.facts[row] for row in rows),
            agnostic={fact: neurons for fact, neurons in self.agnostic.items() if fact in kept},
            specific={key: neurons for key, neurons in self.specific.items() if key[0] in kept},
            same_fact=self.same_fact[rows],
            other_fact=self.other_fact[rows],
            chance=self.chance[rows],
            coefficient=self.coefficient[rows],
            sets={key: neurons for key, neurons in self.sets.items() if key[0] in kept},
            left_out=tuple(key for key in self.left_out if key[0] in kept),
        )

    @takes(draws=whole(1), seed=a_seed)
    def intersections(
        self, *, facts: str | Iterable[str] | None = None, draws: int = 20, seed: int = 0
    ) -> "pd.DataFrame":
        """Count the neurons that exactly these languages hold: the rows of an UpSet plot.

        Counts are over `facts`, or over all facts; the control draws from all facts either way.

        Columns: `languages` (tuple), `degree` (their number), `neurons` (mean a fact), and
        `other_facts`, the same when each language's set is that of another fact of the relation
        (mean over draws; NaN where a relation has one fact). Most frequent first.
        """
        import pandas as pd

        chosen = self.facts if facts is None else require_one_of("fact", facts, self.facts)
        counts = count_holders(self.sets, self.languages, chosen)
        control = count_holders_of_other_facts(self.sets, self.languages, chosen, draws, seed)
        rows = [
            (
                languages,
                len(languages),
                count / len(chosen),
                np.nan if control is None else control[languages] / (len(chosen) * draws),
            )
            for languages, count in counts.most_common()
        ]
        return pd.DataFrame(rows, columns=["languages", "degree", "neurons", "other_facts"])

    def linkage(self) -> Float[np.ndarray, "merge 4"]:
        """Cluster languages by 1 - Jaccard, average linkage (as scipy.cluster.hierarchy)."""
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import squareform

        distance = 1 - self.jaccard
        np.fill_diagonal(distance, 0)
        if not np.isfinite(distance).all():
            raise ValueError(
                "some languages share no known fact, so they have no distance; leave them out"
            )
        return linkage(squareform(distance, checks=False), "average")

    @takes(across_scripts=a_flag)
    def by_fact(self, *, across_scripts: bool = False) -> dict[str, Float[np.ndarray, " fact"]]:
        """Mean over pairs of different languages, or only of different scripts, for each fact."""
        scripts = np.array(self.scripts)
        pairs = ~np.eye(len(scripts), dtype=bool)
        if across_scripts:
            pairs = scripts[:, None] != scripts[None]
        named = {"same fact": self.same_fact, "other fact": self.other_fact, "chance": self.chance}
        return {name: mean_of_finite(values[:, pairs], 1) for name, values in named.items()}

    @takes(across_scripts=a_flag)
    def items(self, *, across_scripts: bool = False) -> dict[str, Float[np.ndarray, " fact"]]:
        """Values of each fact with the means of `by_fact`, from which an interval may be made.

        The overlap with other facts is a mean over pairs of facts, so the facts' own means depend
        on each other; here `pair_items` stand for them, NaN for fewer than three facts of one
        relation. `same minus other fact` is the difference of the two.
        """
        by_fact = self.by_fact(across_scripts=across_scripts)
        same, other = by_fact["same fact"], by_fact["other fact"]
        compared = np.where(np.isfinite(same), other, np.nan)
        return {
            **by_fact,
            "other fact": pair_items(other, self.relations),
            "same minus other fact": same - pair_items(compared, self.relations),
        }

    @takes(across_scripts=a_flag, draws=bootstrap_draws, seed=a_seed)
    def summary(
        self, *, across_scripts: bool = False, draws: int = 2000, seed: int = 0
    ) -> "pd.DataFrame":
        """Mean Jaccard of each comparison with its 95% interval over facts.

        Facts are the items that are drawn, and pairs of facts follow them; the languages are fixed.
        The interval is that of `core.stats.bootstrap`, of the values in `items`. It is NaN for
        fewer than two facts, and for "other fact" and the difference for fewer than three.
        """
        import pandas as pd

        rows = []
        by_fact = self.by_fact(across_scripts=across_scripts)
        by_fact["same minus other fact"] = by_fact["same fact"] - by_fact["other fact"]
        items = self.items(across_scripts=across_scripts)
        for name, values in by_fact.items():
            limits = (-1.0, 1.0) if name == "same minus other fact" else (0.0, 1.0)
            low, high = bootstrap(items[name], draws=draws, seed=seed, limits=limits)
            rows.append((name, float(mean_of_finite(values, 0)), low, high))
        return pd.DataFrame(rows, columns=["comparison", "jaccard", "low", "high"])

    def to_frame(self) -> "pd.DataFrame":
        """One row a pair of different languages: the index and its two controls."""
        import pandas as pd

        first, second = np.triu_indices(len(self.languages), 1)
        means = {
            "jaccard": self.jaccard,
            "other_fact": self.jaccard_other_fact,
            "chance": self.jaccard_chance,
            "coefficient": mean_of_finite(self.coefficient, 0),
        }
        return pd.DataFrame(
            {
                "language": [self.languages[column] for column in first],
                "other_language": [self.languages[column] for column in second],
                **{name: table[first, second] for name, table in means.items()},
            }
        )

    def by_pair(self) -> "pd.DataFrame":
        """One row a fact and ordered pair of different languages: index, controls, coefficient.

        `other_fact` sets the fact's neurons in `language` against other facts' in `other_language`.
        Means over a fact's rows are those of `by_fact`; pairs without any finite value are left
        out.
        """
        import pandas as pd

        values = {
            "jaccard": self.same_fact,
            "other_fact": self.other_fact,
            "chance": self.chance,
            "coefficient": self.coefficient,
        }
        finite = np.isfinite(np.stack(list(values.values()))).any(0)
        fact, first, second = np.nonzero(finite & ~np.eye(len(self.languages), dtype=bool))
        languages = np.array(self.languages, dtype=object)
        return pd.DataFrame(
            {
                "fact_id": np.array(self.facts, dtype=object)[fact],
                "relation": np.array(self.relations, dtype=object)[fact],
                "language": languages[first],
                "other_language": languages[second],
                **{name: table[fact, first, second] for name, table in values.items()},
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
