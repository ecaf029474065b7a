"""Means, bootstrap intervals and corrected p-values, all of which skip what is not a number."""

import numpy as np
from jaxtyping import Float


def bootstrap(
    values: Float[np.ndarray, " item"], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95% percentile interval of the mean, by drawing items with replacement."""
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def mean_of_finite(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of what is there; not a number where nothing is."""
    there = np.isfinite(values)
    count = there.sum(axis)
    total = np.where(there, values, 0.0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def q_values(p: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Benjamini-Hochberg over all that is a number; symmetric tables count each pair once."""
    from scipy.stats import false_discovery_control

    if p.ndim == 3:
        upper = np.triu(np.ones(p.shape[1:], dtype=bool), 1)
        out = np.full_like(p, np.nan)
        out[:, upper] = q_values(p[:, upper].ravel()).reshape(len(p), -1)
        return np.where(upper, out, out.swapaxes(1, 2))
    out, there = np.full_like(p, np.nan), np.isfinite(p)
    if there.any():
        out[there] = false_discovery_control(p[there])
    return out
