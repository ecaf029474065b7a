"""Means, 95% intervals and adjusted p-values; all of them skip values that are not finite.

**The interval of a mean** is the bias-corrected and accelerated bootstrap (BCa; Efron 1987, "Better
Bootstrap Confidence Intervals"), as scipy computes it: draw the items with replacement, and shift
the percentiles that are read off the drawn means by the bias and the skewness that a jackknife
estimates. How often the 95% interval held the true mean, in 2,000 data sets of each kind:

    ============  ==========  =====  =====  =====  =====
    data          interval    n=4    n=8    n=24   n=100
    ============  ==========  =====  =====  =====  =====
    normal        percentile  0.804  0.882  0.926  0.950
    normal        BCa         0.810  0.877  0.922  0.949
    lognormal     percentile  0.706  0.789  0.876  0.929
    lognormal     BCa         0.716  0.809  0.888  0.936
    Beta(.1, .2)  percentile  0.786  0.897  0.937  0.945
    Beta(.1, .2)  BCa         0.797  0.931  0.957  0.948
    ============  ==========  =====  =====  =====  =====

Caveat: with fewer than about 20 items every bootstrap interval is too narrow. A call takes 1 ms for
24 items and 2.5 ms for 100.
"""

import warnings

import numpy as np
from jaxtyping import Float

QUANTILES = (0.025, 0.975)
# The jackknife takes time that is quadratic in the items; with more of them it changes little.
MOST_JACKKNIFED = 2000
NUMBERS_AT_ONCE = 100_000  # drawn at once; bounds the memory


def bootstrap(
    values: Float[np.ndarray, " item"], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the mean over items: (low, high).

    The interval is BCa, or plain percentiles for more than 2,000 items. It is (c, c) when all items
    are c, and NaN for fewer than two finite items. The same seed gives the same interval.
    """
    from scipy.stats import bootstrap as scipy_bootstrap

    values = values[np.isfinite(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    with warnings.catch_warnings():
        # scipy warns of an undefined correction, and numpy of the division; see below.
        warnings.simplefilter("ignore", RuntimeWarning)
        result = scipy_bootstrap(
            (values,),
            np.mean,
            n_resamples=draws,
            batch=max(1, NUMBERS_AT_ONCE // len(values)),
            method="BCa" if len(values) <= MOST_JACKKNIFED else "percentile",
            random_state=np.random.default_rng(seed),
        )
    interval = result.confidence_interval
    if not np.isfinite(interval).all():
        # Values that differ by less than rounding have no skewness to correct for.
        interval = quantile_interval(result.bootstrap_distribution)
    return float(interval[0]), float(interval[1])


def quantile_interval(
    draws: Float[np.ndarray, "draw *shape"],
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """Return the 2.5% and 97.5% quantiles over draws: (low, high).

    Draws that are not finite are skipped; NaN where fewer than two are finite.
    """
    table = draws.reshape(len(draws), -1)
    finite = np.isfinite(table)
    enough = finite.sum(0) >= 2
    low, high = np.full((2, table.shape[1]), np.nan)
    if enough.any():
        usable = np.where(finite, table, np.nan)[:, enough]
        low[enough], high[enough] = np.nanquantile(usable, QUANTILES, axis=0)
    return low.reshape(draws.shape[1:]), high.reshape(draws.shape[1:])


def mean_of_finite(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean over finite values along an axis; NaN where there are none."""
    finite = np.isfinite(values)
    count = finite.sum(axis)
    total = np.where(finite, values, 0.0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def q_values(p: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Adjust p-values after Benjamini and Hochberg (1995), over all that are finite.

    An array of three axes is a stack of symmetric tables, in which each pair counts once.
    """
    from scipy.stats import false_discovery_control

    if p.ndim == 3:
        upper = np.triu(np.ones(p.shape[1:], dtype=bool), 1)
        out = np.full_like(p, np.nan)
        out[:, upper] = q_values(p[:, upper].ravel()).reshape(len(p), -1)
        return np.where(upper, out, out.swapaxes(1, 2))
    out, finite = np.full_like(p, np.nan), np.isfinite(p)
    if finite.any():
        out[finite] = false_discovery_control(p[finite])
    return out
