"""How many neurons exactly these languages hold, and how many they would of other facts."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from lafn_viz.neurons.neuron_sets import Neuron, NeuronSet

Sets = Mapping[tuple[str, str], NeuronSet]  # by fact and language, those that take part


def count_holders(
    sets: Sets,
    languages: Sequence[str],
    facts: Collection[str],
    source: Callable[[str, str], str] = lambda fact, language: fact,
) -> Counter[tuple[str, ...]]:
    """Count the neurons of each combination of languages, summed over facts.

    `source` names the fact whose neurons are taken for a fact in a language.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for fact in facts:
        holders: dict[Neuron, list[str]] = defaultdict(list)
        for language in languages:
            if (fact, language) in sets:
                for neuron in sets[source(fact, language), language].neurons:
                    holders[neuron].append(language)
        counts.update(tuple(held_in) for held_in in holders.values())
    return counts


def count_holders_of_other_facts(
    sets: Sets, languages: Sequence[str], facts: Collection[str], draws: int, seed: int
) -> Counter[tuple[str, ...]] | None:
    """The same with random other facts of the relation, summed over draws; None without any."""
    relation_of = {fact: of.relation for (fact, _), of in sets.items()}
    peers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for fact, language in sets:
        peers[relation_of[fact], language].append(fact)
    groups = [(relation_of[fact], language) for fact, language in sets if fact in facts]
    if any(len(peers[group]) < 2 for group in groups):
        return None
    rng = np.random.default_rng(seed)

    def another(fact: str, language: str) -> str:
        others = [peer for peer in peers[relation_of[fact], language] if peer != fact]
        return others[rng.integers(len(others))]

    counted = (count_holders(sets, languages, facts, another) for _ in range(draws))
    return sum(counted, Counter())
