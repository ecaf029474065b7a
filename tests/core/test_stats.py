import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from scipy.stats import norm, t

from lafn_viz.core.stats import (
    bootstrap,
    group_items,
    mean_of_finite,
    pair_items,
    q_values,
    quantile_interval,
    widened,
)


@pytest.mark.parametrize("n", [4, 30, 300])
def test_bootstrap_is_bias_corrected_accelerated_and_widened(n):
    values = np.random.default_rng(n).lognormal(size=n)
    plain = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, rng=0, batch=1000)
    low, high = plain.confidence_interval
    # What a bootstrap of normal data gives, and what Student's t gives.
    percentile = norm.ppf(0.975) * values.std() / np.sqrt(n)
    student = t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
    expected = values.mean() + (np.array([low, high]) - values.mean()) * student / percentile
    assert bootstrap(values, draws=20_000) == pytest.approx(expected, rel=0.02)


def coverage(intervals, truth):
    return np.mean([low <= truth <= high for low, high in intervals])


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 24])
def test_the_interval_covers_the_mean_as_often_as_it_says(n):
    rng = np.random.default_rng(1)
    normal = [bootstrap(rng.normal(1.0, 2.0, n), draws=300) for _ in range(400)]
    assert 0.92 < coverage(normal, 1.0) < 0.98
    # Skewed items; of 4 a plain bootstrap covers 0.70.
    skewed = [bootstrap(rng.lognormal(size=n), draws=300) for _ in range(400)]
    assert coverage(skewed, np.exp(0.5)) > {4: 0.79, 24: 0.85}[n]


def shared_between(strength, rng):
    """What each two facts share when some share more with all: symmetric, nothing with itself."""
    table = np.outer(strength, strength) + rng.normal(0, 0.01, (len(strength),) * 2)
    table = (table + table.T) / 2
    np.fill_diagonal(table, np.nan)
    return table


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 12, 24])
def test_intervals_of_means_over_pairs_of_facts_cover_as_often_as_they_say(n):
    rng = np.random.default_rng(2)
    intervals = {"other": [], "taken for independent": [], "same minus other": []}
    for _ in range(700):
        strength = rng.normal(0.25, 0.05, n)
        same = strength**2 + rng.normal(0.1, 0.02, n)
        other = np.nanmean(shared_between(strength, rng), 1)
        items = pair_items(other, ["capital"] * n)
        for name, values in zip(intervals, (items, other, same - items), strict=True):
            intervals[name].append(bootstrap(values, draws=300))
    between, within = 0.25**2, 0.25**2 + 0.05**2
    assert 0.93 <= coverage(intervals["other"], between) <= 0.97
    assert 0.93 <= coverage(intervals["same minus other"], within + 0.1 - between) <= 0.97
    assert coverage(intervals["taken for independent"], between) < 0.8


def test_pair_items_are_the_pseudo_values_of_leaving_one_fact_out():
    rng = np.random.default_rng(3)
    groups = ["a"] * 4 + ["b"] * 5 + ["c"] * 2 + ["d"]

    def mean_over_others(kept):
        names = np.array(groups, dtype=object)[kept]
        pairs = np.where(names[:, None] == names, table[np.ix_(kept, kept)], np.nan)
        finite = np.isfinite(pairs)
        return np.where(finite, pairs, 0).sum(1) / np.where(finite.any(1), finite.sum(1), np.nan)

    table = shared_between(rng.lognormal(size=12), rng)
    everyone = np.arange(12)
    means = mean_over_others(everyone)
    items = pair_items(means, groups)
    total, n = np.nanmean(means), 11
    expected = np.array(
        [n * total - (n - 1) * np.nanmean(mean_over_others(everyone[everyone != i]))
         for i in everyone[:11]]
    )  # fmt: skip
    np.testing.assert_allclose(items[:11] - items[:11].mean(), expected - expected.mean())
    assert items[:11].mean() == pytest.approx(total)
    assert np.isnan(items[11])


@pytest.mark.slow
def test_prompts_of_one_fact_are_one_item():
    rng = np.random.default_rng(4)
    grouped, alone = [], []
    for _ in range(400):
        sizes = rng.integers(1, 9, 12)
        facts = np.repeat([str(fact) for fact in range(12)], sizes)
        values = rng.normal(size=12).repeat(sizes) + rng.normal(0, 0.3, len(facts))
        values = np.append(values, np.nan)
        items = group_items(values, [*facts, "0"])
        assert items.mean() == pytest.approx(np.nanmean(values))
        grouped.append(bootstrap(items, draws=300))
        alone.append(bootstrap(values, draws=300))
    assert 0.89 < coverage(grouped, 0.0) < 0.98
    assert coverage(alone, 0.0) < 0.75
    assert group_items(np.array([]), []).shape == (0,)


def test_means_over_pairs_of_fewer_than_three_facts_have_no_interval():
    assert np.isnan(pair_items(np.array([0.2, 0.2]), ["a", "a"])).all()
    assert np.isnan(pair_items(np.array([0.2, np.nan]), ["a", "b"])).all()
    assert pair_items(np.array([]), []).shape == (0,)
    assert np.isfinite(pair_items(np.array([0.2, 0.3, 0.4]), ["a"] * 3)).all()


def test_bootstrap_of_equal_few_and_missing_items():
    values = np.array([0.2, 0.5, 0.9, 0.1])
    with_gaps = np.array([np.nan, 0.2, 0.5, np.inf, 0.9, 0.1])
    assert bootstrap(with_gaps) == bootstrap(values)
    assert bootstrap(np.full(5, 0.1)) == (0.1, 0.1)
    assert np.isnan(bootstrap(np.array([1.0]))).all()
    assert np.isnan(bootstrap(np.array([1.0, np.nan]))).all()
    assert np.isnan(bootstrap(np.array([]))).all()
    assert np.isnan(widened(1.0, 0.5, 1.5, 1)).all()


def test_no_end_goes_beyond_the_limits():
    values = np.array([0.0, 0.0, 0.5, 1.0])
    low, high = bootstrap(values)
    assert low < 0
    assert high > 1
    assert bootstrap(values, limits=(0.0, 1.0)) == (0, 1)


@pytest.mark.parametrize("values", [[1e-120, 2e-120, 5e-120], [0.0, 1.0], [0, 0, 0, 1.0]])
def test_bootstrap_is_finite_and_silent_whatever_the_items(recwarn, values):
    for draws in (2, 2000):
        low, high = bootstrap(np.array(values), draws=draws)
        assert np.isfinite([low, high]).all()
        assert low <= high
    assert not recwarn.list


def test_bootstrap_is_the_same_in_another_process():
    script = "import numpy as np; from lafn_viz.core.stats import bootstrap;"
    script += "print(bootstrap(np.random.default_rng(0).lognormal(size=24), seed=7))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(bootstrap(np.random.default_rng(0).lognormal(size=24), seed=7))


def test_quantile_interval_skips_draws_that_are_not_finite():
    draws = np.random.default_rng(0).normal(size=(50, 2, 3))
    draws[:10, 0, 1] = np.nan
    draws[1:, 1, 2] = np.nan
    low, high = quantile_interval(draws)
    assert low.shape == high.shape == (2, 3)
    np.testing.assert_array_equal(low[0, 0], np.quantile(draws[:, 0, 0], 0.025))
    np.testing.assert_array_equal(high[0, 1], np.quantile(draws[10:, 0, 1], 0.975))
    assert np.isnan([low[1, 2], high[1, 2]]).all()  # one draw has no interval
    assert [float(end) for end in quantile_interval(np.array([1.0, 1.0]))] == [1.0, 1.0]


def test_mean_of_finite_by_hand():
    values = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, np.inf]])
    np.testing.assert_array_equal(mean_of_finite(values, 1), [2.0, np.nan])
    np.testing.assert_array_equal(mean_of_finite(values, 0), [1.0, np.nan, 3.0])


def test_q_values_are_those_of_the_step_up_procedure():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    # By hand: sorted p times 4 / rank, from the largest down the running minimum.
    np.testing.assert_allclose(q_values(p), [0.02, 0.04, np.nan, 0.04, 0.02])


def test_q_values_count_each_pair_of_symmetric_tables_once():
    pairs = np.array([0.01, 0.04, 0.03])
    table = np.full((1, 3, 3), np.nan)
    rows, columns = np.triu_indices(3, 1)
    table[0, rows, columns] = table[0, columns, rows] = pairs
    adjusted = q_values(table)[0]
    np.testing.assert_allclose(adjusted[rows, columns], q_values(pairs))
    np.testing.assert_array_equal(adjusted, adjusted.T)
