"""Means, 95% intervals and adjusted p-values; all of them skip values that are not finite.

**The interval of a mean** is the bias-corrected and accelerated bootstrap (BCa; Efron 1987, "Better
Bootstrap Confidence Intervals"): draw the items with replacement, and shift
the percentiles that are read off the drawn means by the bias and the skewness that a jackknife
estimates. A bootstrap of n items is too narrow, since it divides by n, and takes the normal
distribution where few items need Student's t (Hesterberg 2015, "What Teachers Should Know About the
Bootstrap", section 4.3). Both ends are therefore moved away from the mean by what the interval of
normal data lacks, t(n - 1) / z * sqrt(n / (n - 1)): 1.9 times for 4 items, 1.08 for 24. How often
the 95% interval held the true mean, in 2,000 data sets of each kind:

    ============  ============  =====  =====  =====  =====  =====
    data          interval      n=4    n=8    n=12   n=24   n=100
    ============  ============  =====  =====  =====  =====  =====
    normal        BCa           0.787  0.890  0.913  0.926  0.946
    normal        Student's t   0.942  0.949  0.953  0.948  0.955
    normal        BCa, widened  0.945  0.946  0.945  0.945  0.947
    lognormal     BCa           0.700  0.795  0.831  0.886  0.924
    lognormal     Student's t   0.825  0.834  0.843  0.882  0.926
    lognormal     BCa, widened  0.850  0.858  0.890  0.898  0.913
    Beta(.1, .2)  BCa           0.794  0.944  0.958  0.950  0.939
    Beta(.1, .2)  Student's t   0.829  0.939  0.933  0.944  0.942
    Beta(.1, .2)  BCa, widened  0.857  0.956  0.974  0.973  0.958
    ============  ============  =====  =====  =====  =====  =====

Caveats: no interval of few and very skewed items holds what it promises. Items that are all alike
show no spread, so their interval has no width, although a value that occurs in fewer than 3 of n
cases may well have gone unseen. A call takes 0.7 ms for 24 items and 2.4 ms for 100.

**Items must be independent.** The items of this package are facts (or edits, each of one fact):
prompts, languages and pairs of one fact are first averaged, or taken together by `group_items`.
Languages and relations are fixed, not drawn: an interval says what other facts of these relations
would give in these languages. Where each item is a mean over its pairs with all others, as the
overlap with other facts, the items are not independent, and `pair_items` turns them into such as
may stand for them.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

QUANTILES = (0.025, 0.975)
NUMBERS_AT_ONCE = 100_000  # drawn at once; bounds the memory


def bootstrap(
    values: Float[np.ndarray, " item"],
    *,
    draws: int = 2000,
    seed: int = 0,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the mean over independent items: (low, high).

    The interval is BCa (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", eqs. 14.9 to
    14.15), `widened` for the number of items. It is (c, c) when all items are c, and NaN for fewer
    than two finite items. The same seed gives the same interval. `limits` are the least and the
    greatest value that the mean can have, beyond which no end goes.
    """
    from scipy.special import ndtr, ndtri

    values = values[np.isfinite(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    mean, means = float(values.mean()), _means_of_draws(values, draws, seed)
    # The jackknife of a mean: without an item it moves by the item's distance, over n - 1.
    distance = (values - mean) / np.abs(values - mean).max()
    skewness = (distance**3).sum() / (6 * (distance**2).sum() ** 1.5)
    bias = ndtri(((means < mean).mean() + (means <= mean).mean()) / 2)
    z = bias + ndtri(QUANTILES)
    quantiles = ndtr(bias + z / (1 - skewness * z))
    if not np.isfinite(quantiles).all():
        quantiles = QUANTILES  # all draws are on one side of the mean, which shows no bias
    low, high = np.quantile(means, quantiles)
    low, high = widened(mean, float(low), float(high), len(values))
    return max(low, limits[0]), min(high, limits[1])


def share_interval(shares: Float[np.ndarray, " item"]) -> tuple[float, float]:
    """Return the 95% interval of the mean of shares, each in [0, 1].

    It is that of `bootstrap`. Where all items are alike, none or all, that would have no width;
    there it is the exact one of Clopper and Pearson (1934).
    """
    if len(shares) and shares[0] in (0.0, 1.0) and (shares == shares[0]).all():
        unseen = 1 - QUANTILES[0] ** (1 / len(shares))
        return (0.0, unseen) if shares[0] == 0.0 else (1 - unseen, 1.0)
    return bootstrap(shares, limits=(0.0, 1.0))


def _means_of_draws(
    values: Float[np.ndarray, " item"], draws: int, seed: int
) -> Float[np.ndarray, " draw"]:
    """The mean of as many items, drawn with replacement, in each draw."""
    rng, n = np.random.default_rng(seed), len(values)
    at_once = max(1, NUMBERS_AT_ONCE // n)
    sizes = [min(at_once, draws - done) for done in range(0, draws, at_once)]
    return np.concatenate([values[rng.integers(0, n, (size, n))].mean(1) for size in sizes])


def widened(mean: float, low: float, high: float, items: int) -> tuple[float, float]:
    """Move the ends of a 95% bootstrap interval away from the mean, as its few items demand.

    The factor is what the interval of normal data lacks (see the module): (low, high) are NaN for
    fewer than two items.
    """
    from scipy.special import ndtri, stdtrit

    if items < 2:
        return float("nan"), float("nan")
    upper = QUANTILES[1]
    factor = stdtrit(items - 1, upper) / ndtri(upper) * np.sqrt(items / (items - 1))
    return float(mean - (mean - low) * factor), float(mean + (high - mean) * factor)


def pair_items(
    means: Float[np.ndarray, " item"], groups: Sequence[str]
) -> Float[np.ndarray, " item"]:
    """Turn each item's mean over its pairs with the others of its group into independent values.

    A mean over pairs of items is a U-statistic of degree two (Hoeffding 1948). Each item is in the
    mean of every other, so the spread of the means shows a quarter of their variance only. The
    jackknife's pseudo-values, n * all - (n - 1) * (all without the item), have nearly the same mean
    and the spread that `bootstrap` should see (Arvesen 1969, "Jackknifing U-statistics").

    Args:
        means: of each item over all others of its group; NaN where it has none.
        groups: of each item.

    Returns:
        The pseudo-values, with the mean of `means`; NaN where these are, and everywhere if fewer
        than three items would be left, of which a jackknife shows no spread.
    """
    finite = np.isfinite(means)
    total, n = means[finite].sum(), int(finite.sum())
    out, names = np.full_like(means, np.nan), np.array(groups, dtype=object)
    for group in dict.fromkeys(names[finite]):
        rows = finite & (names == group)
        size, of_group = int(rows.sum()), means[rows]
        if size > 2:
            left = (size - 1) * (of_group.sum() - 2 * of_group) / (size - 2)
            without = (total - of_group.sum() + left) / (n - 1)
        elif n > size:  # one of two takes its partner's only pair with it
            without = np.full(size, (total - of_group.sum()) / (n - size))
        else:
            return out
        out[rows] = total - (n - 1) * without
    return out + (total / n - out[finite].mean()) if n else out


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


def group_items(
    values: Float[np.ndarray, " value"], groups: Sequence[str]
) -> Float[np.ndarray, " group"]:
    """Turn values, of which those of one group depend on each other, into one item a group.

    The mean of the items is that of the values, also where groups differ in size, and their spread
    is that of the sums of the groups' distances from it (linearised cluster means; Cochran 1977,
    "Sampling Techniques", section 9A).

    Args:
        values: those that are not finite are skipped.
        groups: of each value, such as its fact.
    """
    finite = np.isfinite(values)
    values = values[finite]
    names, number = np.unique(np.array(groups, dtype=object)[finite], return_inverse=True)
    mean = values.mean() if len(values) else np.nan
    distance = np.bincount(number, values - mean, minlength=len(names))
    return mean + distance * len(names) / max(len(values), 1)


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
