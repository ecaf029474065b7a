from functools import partial
from itertools import combinations
from math import comb

import made_up
import numpy as np
import pytest
import torch

import lafn_viz as lv
from lafn_viz.neurons.null_models import NULLS, STATISTICS, FactSets

SHAPE = (2, 30)
LANGUAGES = ("en", "fr", "ru", "zh")
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
    for needed in (None, 2, 3):
        overlap = lv.overlap(sets, min_languages=needed)
        fact_sets = FactSets.of(overlap)
        got = fact_sets.statistics(fact_sets.lists)
        np.testing.assert_allclose(got.numpy(), brute_force(overlap), rtol=1e-6)


def test_random_neurons_keep_the_counts_of_each_layer():
    overlap = lv.overlap(random_sets(4, np.random.default_rng(1)))
    fact_sets = FactSets.of(overlap)
    drawn = fact_sets.random_neurons(torch.Generator().manual_seed(0))
    assert not torch.equal(drawn, fact_sets.lists)
    for before, after in zip(fact_sets.lists.flatten(0, 1), drawn.flatten(0, 1), strict=True):
        real = before < fact_sets.width
        assert len(set(after[real].tolist())) == int(real.sum())
        assert (
            (before[real] // SHAPE[1]).sort().values.equal((after[real] // SHAPE[1]).sort().values)
        )
        assert (after[~real] == fact_sets.width).all()


def test_other_facts_are_others_of_the_same_relation_and_known():
    rng = np.random.default_rng(2)
    sets = random_sets(4, rng) + [
        a_set(f"G{i}", lang, [(1, i), (0, n)], relation="other")
        for i in range(3)
        for n, lang in enumerate(LANGUAGES)
    ]
    sets[1] = a_set("F0", "fr", [], known=False)
    overlap = lv.overlap(sets)
    fact_sets = FactSets.of(overlap)
    own = {tuple(row.tolist()): i for i, row in enumerate(fact_sets.lists.flatten(0, 1))}
    seen = set()
    for seed in range(30):
        drawn = fact_sets.other_facts(torch.Generator().manual_seed(seed))
        for fact in range(len(drawn)):
            for language in range(len(LANGUAGES)):
                row = drawn[fact, language]
                if not fact_sets.known[fact, language]:
                    assert (row == fact_sets.width).all()
                    continue
                source, column = divmod(own[tuple(row.tolist())], len(LANGUAGES))
                assert column == language
                assert source != fact
                assert overlap.relations[source] == overlap.relations[fact]
                assert fact_sets.known[source, language]
                seen.add((fact, source))
    assert len(seen) == 4 * 3 + 3 * 2  # everyone takes everyone's place


def test_p_is_small_for_planted_sharing_and_uniform_without():
    rng = np.random.default_rng(3)
    planted = lv.significance(lv.overlap(random_sets(8, rng, shared=8)), n_permutations=199)
    assert (planted.q_value < 0.05).all()
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
