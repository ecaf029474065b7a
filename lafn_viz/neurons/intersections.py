"""How many neurons exactly these languages hold, and how many they would of other facts."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np

from lafn_viz.neurons.neuron_sets import Neuron

if TYPE_CHECKING:
    from lafn_viz.neurons.overlap_result import Overlap


def count_holders(
    overlap: "Overlap", facts: Collection[str], source: Callable[[str, str], str]
) -> Counter[tuple[str, ...]]:
    """Count the neurons of each combination of languages, summed over facts.

    `source` names the fact whose neurons are taken for a fact in a language.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for fact in facts:
        holders: dict[Neuron, list[str]] = defaultdict(list)
        for language in overlap.known_in(fact):
            for neuron in overlap.sets[source(fact, language), language].neurons:
                holders[neuron].append(language)
        counts.update(tuple(languages) for languages in holders.values())
    return counts


def count_holders_of_other_facts(
    overlap: "Overlap", facts: Collection[str], draws: int, seed: int
) -> Counter[tuple[str, ...]] | None:
    """The same with random other facts of the relation, summed over draws; None without any."""
    relation_of = dict(zip(overlap.facts, overlap.relations, strict=True))
    peers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for fact, language in overlap.sets:
        peers[relation_of[fact], language].append(fact)
    groups = [(relation_of[fact], name) for fact in facts for name in overlap.known_in(fact)]
    if any(len(peers[group]) < 2 for group in groups):
        return None
    rng = np.random.default_rng(seed)

    def another(fact: str, language: str) -> str:
        others = [peer for peer in peers[relation_of[fact], language] if peer != fact]
        return others[rng.integers(len(others))]

    return sum((count_holders(overlap, facts, another) for _ in range(draws)), Counter())
