import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import norm

from lafn_viz.core.stats import (
    MOST_JACKKNIFED,
    bootstrap,
    mean_of_finite,
    q_values,
    quantile_interval,
)


def bca(values, draws, seed):
    """The interval by its formulas (Efron 1987; Efron and Tibshirani 1993, eqs. 14.9 to 14.15)."""
    rng, n = np.random.default_rng(seed), len(values)
    means = values[rng.integers(0, n, (draws, n))].mean(1)
    bias = norm.ppf(((means < values.mean()).mean() + (means <= values.mean()).mean()) / 2)
    without = (values.sum() - values) / (n - 1)
    difference = without.mean() - without
    skewness = (difference**3).sum() / (6 * (difference**2).sum() ** 1.5)
    z = bias + norm.ppf([0.025, 0.975])
    return np.quantile(means, norm.cdf(bias + z / (1 - skewness * z)))


@pytest.mark.parametrize("n", [4, 30, 300])
def test_bootstrap_is_bias_corrected_and_accelerated(n):
    values = np.random.default_rng(n).lognormal(size=n)
    assert bootstrap(values, draws=500, seed=3) == pytest.approx(bca(values, 500, 3), rel=1e-6)


def test_bootstrap_of_many_items_is_that_of_percentiles():
    values = np.random.default_rng(0).lognormal(size=MOST_JACKKNIFED + 1)
    drawn = np.random.default_rng(5).choice(values, (200, len(values))).mean(1)
    expected = np.quantile(drawn, [0.025, 0.975])
    assert bootstrap(values, draws=200, seed=5) == pytest.approx(expected, rel=0.01)


def test_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = 0
    for seed in range(300):
        low, high = bootstrap(rng.normal(1.0, 2.0, 60), draws=400, seed=seed)
        inside += low < 1.0 < high
    assert 0.90 < inside / 300 < 0.99


def test_bootstrap_of_equal_few_and_missing_items():
    values = np.array([0.2, 0.5, 0.9, 0.1])
    with_gaps = np.array([np.nan, 0.2, 0.5, np.inf, 0.9, 0.1])
    assert bootstrap(with_gaps) == bootstrap(values)
    assert bootstrap(np.full(5, 0.1)) == (0.1, 0.1)
    assert np.isnan(bootstrap(np.array([1.0]))).all()
    assert np.isnan(bootstrap(np.array([1.0, np.nan]))).all()
    assert np.isnan(bootstrap(np.array([]))).all()


@pytest.mark.parametrize("values", [[1e-120, 2e-120, 5e-120], [0.0, 1.0], [0, 0, 0, 1.0]])
def test_bootstrap_is_finite_and_silent_whatever_the_items(recwarn, values):
    for draws in (2, 2000):
        low, high = bootstrap(np.array(values), draws=draws)
        assert min(values) <= low <= high <= max(values)
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
