from collections import Counter
from functools import partial
from itertools import combinations, product
from math import comb

import made_up
import numpy as np
import pytest
import torch

import lafn_viz as lv
from lafn_viz.neurons.criterion import Criterion
from lafn_viz.neurons.expected_overlap import expected_agnostic, expected_pairs, probabilities
from lafn_viz.neurons.null_models import NULLS, STATISTICS, FactSets
from lafn_viz.neurons.significance import ROUNDING

SHAPE = (2, 30)
LANGUAGES = ("en", "fr", "ru", "zh")
CRITERIA = ((2, 1), (3, 1), (2, 2), (3, 2), (1, 2), (1, 3), (3, 3), (4, 3))
a_set = partial(made_up.a_set, shape=SHAPE)


def random_sets(n_facts, rng, *, counts=(6, 3), shared=0):
    sets = []
    for fact in range(n_facts):
        common = [(0, int(n)) for n in rng.choice(SHAPE[1], shared, replace=False)]
        for language in LANGUAGES:
            neurons = [
                (layer, int(n))
                for layer, count in enumerate(counts)
                for n in rng.choice(SHAPE[1], count, replace=False)
            ]
            sets.append(a_set(f"F{fact}", language, {*common, *neurons}))
    return sets


def brute_force(overlap):
    """Agnostic neurons, mean shared neurons of all pairs and of pairs of two scripts."""
    script = {"en": "Latin", "fr": "Latin", "ru": "Cyrillic", "zh": "Han"}
    rows = []
    for fact in overlap.facts:
        pairs = list(combinations(overlap.known_in(fact), 2))
        shared = [
            len(overlap.sets[fact, a].neurons & overlap.sets[fact, b].neurons) for a, b in pairs
        ]
        across = [n for n, (a, b) in zip(shared, pairs, strict=True) if script[a] != script[b]]
        rows.append((len(overlap.agnostic[fact]), np.mean(shared), np.mean(across)))
    return np.array(rows).T


def test_statistics_are_those_counted_by_hand():
    rng = np.random.default_rng(0)
    sets = random_sets(5, rng, shared=3)
    sets[2] = a_set("F0", "ru", [], known=False)
    for needed, scripts in ((None, 1), (2, 1), (3, 1), (2, 2), (3, 2), (3, 9)):
        overlap = lv.overlap(sets, min_languages=needed, min_scripts=scripts)
        fact_sets = FactSets.of(overlap)
        got = fact_sets.statistics(fact_sets.lists)
        np.testing.assert_allclose(got.numpy(), brute_force(overlap), rtol=1e-6)


def test_random_neurons_keep_the_counts_of_each_layer():
    overlap = lv.overlap(random_sets(4, np.random.default_rng(1)))
    fact_sets = FactSets.of(overlap)
    drawn = fact_sets.renamed(torch.Generator().manual_seed(0))
    assert not torch.equal(drawn, fact_sets.lists)
    for before, after in zip(fact_sets.lists.flatten(0, 1), drawn.flatten(0, 1), strict=True):
        real = before < fact_sets.width
        assert len(set(after[real].tolist())) == int(real.sum())
        assert (
            (before[real] // SHAPE[1]).sort().values.equal((after[real] // SHAPE[1]).sort().values)
        )
        assert (after[~real] == fact_sets.width).all()


def test_facts_are_exchanged_within_their_relation_and_where_they_are_known():
    rng = np.random.default_rng(2)
    sets = random_sets(4, rng) + [
        a_set(f"G{i}", lang, [(1, i), (0, n)], relation="other")
        for i in range(3)
        for n, lang in enumerate(LANGUAGES)
    ]
    sets[1] = a_set("F0", "fr", [], known=False)
    overlap = lv.overlap(sets)
    fact_sets = FactSets.of(overlap)
    seen = set()
    for seed in range(40):
        donor = fact_sets.exchanged(torch.Generator().manual_seed(seed))
        for fact, language in fact_sets.known.nonzero().tolist():
            source = int(donor[fact, language])
            assert overlap.relations[source] == overlap.relations[fact]
            assert fact_sets.known[source, language]
            seen.add((fact, language, source))
    # Everyone takes everyone's place and its own, in each language alone.
    assert len(seen) == 3 * 4 * 4 + 3 * 3 + 4 * 3 * 3


def test_what_is_expected_of_sets_by_hand():
    rng = np.random.default_rng(3)
    common = [(0, n) for n in range(4)]
    sets = []
    for s in random_sets(5, rng, counts=(5, 2)):
        kept = [n for n in common if rng.random() < 0.7]
        sets.append(a_set(s.fact_id, s.language, {*s.neurons, *kept}))
    overlap = lv.overlap(sets, min_languages=2)
    fact_sets = FactSets.of(overlap)
    probability = probabilities(fact_sets.lists, fact_sets.relation, fact_sets.width)
    # By their definition, one neuron after another.
    by_language = {lang: [overlap.sets[f, lang].neurons for f in overlap.facts]
                   for lang in LANGUAGES}  # fmt: skip
    everywhere = Counter(n for of_facts in by_language.values() for held in of_facts for n in held)
    table = np.zeros((5, 4, len(everywhere)))
    for column, lang in enumerate(LANGUAGES):
        held = Counter(n for of_fact in by_language[lang] for n in of_fact)
        kind = {n: (int(np.log2(held[n])), int(np.log2(everywhere[n]))) for n in held}
        for fact, own in enumerate(by_language[lang]):
            for place, neuron in enumerate(sorted(everywhere)):
                alike = [n for n in held if kind[n] == kind.get(neuron)]
                if alike:
                    share = len(own & set(alike)) / sum(held[n] for n in alike)
                    table[fact, column, place] = min(1, share * held[neuron])
    np.testing.assert_allclose(probability.numpy(), table, rtol=1e-5)
    # And every combination of languages that have a neuron.
    pairs, agnostic = np.zeros(5), {asked: np.zeros(5) for asked in CRITERIA}
    for has in product((0, 1), repeat=4):
        languages = zip(table.swapaxes(0, 1), has, strict=True)
        chance = np.prod([q if yes else 1 - q for q, yes in languages], 0)
        pairs += sum(has) * (sum(has) - 1) * chance.sum(1)
        n_scripts = sum([has[0] or has[1], has[2], has[3]])  # en and fr share one
        for n, s in CRITERIA:
            agnostic[n, s] += (sum(has) >= n and n_scripts >= s) * chance.sum(1)
    np.testing.assert_allclose(expected_pairs(probability).numpy(), pairs, rtol=1e-4)
    for (n, s), wanted in agnostic.items():
        needed = (torch.full((5,), number) for number in (n, s))
        found = expected_agnostic(probability, *needed, fact_sets.columns_by_script)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4)


def facts_without_sharing(world, n_relations, n_facts, rng):
    """Sets of many relations, in which no language knows what neurons another took for a fact."""
    n_common, width = 24, 160
    lists = np.full((n_relations * n_facts, len(LANGUAGES), 24), width)
    popular = np.linspace(1, 4, n_common) / np.linspace(1, 4, n_common).sum()
    for row in range(len(lists)):
        size = rng.choice([0.5, 0.75, 1, 1.5, 2]) if world == "unequal sizes" else 1
        common = rng.integers(3, 10) if world == "unequal use of common neurons" else 6
        for language in range(len(LANGUAGES)):
            if world == "neurons that come in fours":
                fours = np.append(rng.choice(6, 2, False), 6 + rng.choice(34, 2, False))
                neurons = (4 * fours[:, None] + np.arange(4)).ravel()
            else:
                neurons = np.append(
                    rng.choice(n_common, round(common * size), False, popular),
                    rng.choice(np.arange(n_common, width), round((12 - common) * size), False),
                )
            lists[row, language, : len(neurons)] = neurons
    return FactSets(
        lists=torch.from_numpy(lists),
        known=torch.ones(lists.shape[:2], dtype=torch.bool),
        relation=torch.arange(n_relations).repeat_interleave(n_facts),
        criterion=Criterion(min_languages=2),
        scripts=("Latin", "Latin", "Cyrillic", "Han"),
        shape=(1, width),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "n_facts"),
    [
        ("alike", 4),
        ("alike", 12),
        ("unequal sizes", 8),
        ("unequal use of common neurons", 8),
        ("neurons that come in fours", 8),
    ],
)
def test_one_fact_in_twenty_without_sharing_of_its_own_reaches_5_percent(world, n_facts):
    fact_sets = facts_without_sharing(world, 500, n_facts, np.random.default_rng(4))
    observed = fact_sets.statistics(fact_sets.lists)
    rng = torch.Generator().manual_seed(0)
    # With 19 draws p is 0.05 where none of them reaches the observed value.
    highest = torch.stack([fact_sets.other_facts(rng) for _ in range(19)]).amax(0)
    rejected = (observed > highest + ROUNDING).float().mean(1)
    assert (rejected > 0.03).all()
    assert (rejected < 0.07).all()


def test_few_facts_are_warned_of():
    overlap = lv.overlap(random_sets(4, np.random.default_rng(8)))
    with pytest.warns(UserWarning, match="'capital' has 4 facts, too few .* take 5 or more"):
        lv.significance(overlap, n_permutations=19)


@pytest.mark.slow
def test_p_is_small_for_planted_sharing_and_uniform_without():
    rng = np.random.default_rng(3)
    planted = lv.significance(lv.overlap(random_sets(8, rng, shared=8)), n_permutations=199)
    assert (planted.q_value < 0.05).mean() > 0.95
    nothing = lv.significance(lv.overlap(random_sets(150, rng)), n_permutations=199)
    for null in range(len(NULLS)):
        p = nothing.p_value[null, STATISTICS.index("shared")]
        assert 0.4 < p.mean() < 0.65
        assert (p < 0.05).mean() < 0.12
    assert (nothing.q_value < 0.05).mean() < 0.02
    again = lv.significance(lv.overlap(random_sets(8, np.random.default_rng(4))), n_permutations=19)
    same = lv.significance(lv.overlap(random_sets(8, np.random.default_rng(4))), n_permutations=19)
    np.testing.assert_array_equal(again.p_value, same.p_value)


def test_habits_of_a_relation_beat_random_neurons_but_not_other_facts():
    rng = np.random.default_rng(5)
    habit = [(0, n) for n in range(8)]  # in every fact and language
    sets = [
        a_set(s.fact_id, s.language, {*s.neurons, *habit})
        for s in random_sets(12, rng, counts=(4, 3))
    ]
    found = lv.significance(lv.overlap(sets), n_permutations=199)
    assert (found.q_value[0] < 0.05).all()
    assert (found.q_value[1] < 0.05).mean() < 0.1


def test_one_fact_has_no_other_facts_to_be_compared_with():
    found = lv.significance(lv.overlap(random_sets(1, np.random.default_rng(6))), n_permutations=19)
    assert np.isnan(found.p_value[1]).all()
    assert np.isfinite(found.p_value[0]).all()
    assert "nan" in repr(found)


def test_pairs_of_one_layer_follow_the_hypergeometric_distribution():
    shape = (1, 20)
    a, b, shared = 6, 8, 4
    sets = [
        a_set("F", "en", [(0, n) for n in range(a)], shape=shape),
        a_set("F", "ru", [(0, n) for n in range(a - shared, a - shared + b)], shape=shape),
    ]
    found = lv.significance(lv.overlap(sets), n_permutations=19)
    tail = sum(comb(a, k) * comb(20 - a, b - k) for k in range(shared, min(a, b) + 1)) / comb(20, b)
    assert found.pair_p[0, 0, 1] == pytest.approx(tail, rel=1e-9)
    assert found.pair_p[0, 1, 0] == found.pair_p[0, 0, 1]


def test_pairs_of_two_layers_agree_with_simulation():
    rng = np.random.default_rng(7)
    sets = random_sets(1, rng, counts=(12, 5))[:2]
    found = lv.significance(lv.overlap(sets), n_permutations=19)
    observed = len(sets[0].neurons & sets[1].neurons)
    hits = 0
    for _ in range(4000):
        shared = sum(
            len(set(rng.choice(30, n, replace=False)) & set(rng.choice(30, n, replace=False)))
            for n in (12, 5)
        )
        hits += shared >= observed
    assert found.pair_p[0, 0, 1] == pytest.approx(hits / 4000, abs=0.03)


def test_too_few_permutations_are_refused():
    overlap = lv.overlap(random_sets(1, np.random.default_rng(0)))
    with pytest.raises(ValueError, match="at least 19"):
        lv.significance(overlap, n_permutations=10)
