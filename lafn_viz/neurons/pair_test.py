"""The exact test of two languages: do they share more neurons than random sets of their layers?

The shared neurons of a layer of d_mlp, of which one language holds a and the other b, follow a
hypergeometric distribution. Those of all layers follow the convolution of these, which is a product
after a Fourier transform.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lafn_viz.neurons.overlap_result import Overlap

PAIRS_AT_ONCE = 1024  # bounds the memory of their spectra
# The accuracy of the transform: a smaller p is not known, and none is quite zero.
LEAST = 1e-15


@dataclass(frozen=True)
class _Pairs:
    """Two languages of a fact: where they stand in its table, their counts, what they share."""

    cells: list[tuple[int, int, int]]
    counts: Int[np.ndarray, "pair layer 2"]
    shared: Int[np.ndarray, " pair"]


def pair_p_values(overlap: Overlap) -> Float[np.ndarray, "fact language language"]:
    """Exact probability of sharing at least so many neurons with random ones of the same layers."""
    n = len(overlap.languages)
    table = np.full((len(overlap.facts), n, n), np.nan)
    pairs = _pairs(overlap)
    p = _tails(pairs.counts, pairs.shared, overlap.shape[1])
    for (row, i, j), value in zip(pairs.cells, p, strict=True):
        table[row, i, j] = table[row, j, i] = value
    return table


def _pairs(overlap: Overlap) -> _Pairs:
    cells, counts, shared = [], [], []
    for row, fact in enumerate(overlap.facts):
        sets = {
            column: overlap.sets[fact, language].neurons
            for column, language in enumerate(overlap.languages)
            if (fact, language) in overlap.sets
        }
        sizes = {
            column: np.bincount([layer for layer, _ in neurons], minlength=overlap.shape[0])
            for column, neurons in sets.items()
        }
        for i in sets:
            for j in sets:
                if i < j:
                    cells.append((row, i, j))
                    counts.append(np.stack([sizes[i], sizes[j]], 1))
                    shared.append(len(sets[i] & sets[j]))
    return _Pairs(cells, np.stack(counts), np.array(shared))


def _tails(
    counts: Int[np.ndarray, "pair layer 2"], shared: Int[np.ndarray, " pair"], d_mlp: int
) -> Float[np.ndarray, " pair"]:
    """Probability that the pairs share at least so many neurons, over all layers together."""
    from scipy.stats import hypergeom

    n_pairs, n_layers, _ = counts.shape
    most = int(counts.min(2).sum(1).max()) + 1
    size = 1 << (2 * most - 1).bit_length()
    kinds, which = np.unique(counts.reshape(-1, 2), axis=0, return_inverse=True)
    pmf = hypergeom.pmf(np.arange(most), d_mlp, kinds[:, :1], kinds[:, 1:])
    spectrum = np.fft.rfft(pmf, size, axis=1)
    which = which.reshape(n_pairs, n_layers)
    p = np.empty(n_pairs)
    for start in range(0, n_pairs, PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        product = np.ones((len(which[part]), spectrum.shape[1]), dtype=complex)
        for layer in range(n_layers):
            product *= spectrum[which[part, layer]]
        mass = np.fft.irfft(product, size, axis=1)[:, :most].clip(0)
        tail = mass[:, ::-1].cumsum(1)[:, ::-1]
        p[part] = tail[np.arange(len(tail)), shared[part]].clip(LEAST, 1)
    return p
