"""Rules that turn an integral over [0, 1] into a weighted sum over points.

The Riemann sums are what the papers use (left in AMIG's release, right in knowledge neurons); Gauss
rules reach the same accuracy with far fewer points where the integrand is smooth. `gauss_radau`
holds the point 0: an attribution needs F there anyway, to say whether it is complete.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy.polynomial import legendre

Quadrature = Literal[
    "gauss_legendre", "gauss_radau", "riemann_left", "riemann_right", "riemann_midpoint"
]


def nodes_and_weights(
    rule: Quadrature, n: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Ascending nodes in [0, 1] and their weights, which sum to 1.

    Exact for polynomials up to degree 2n - 1 (gauss_legendre), 2n - 2 (gauss_radau), 1
    (riemann_midpoint), 0 (riemann_left, riemann_right).

    Raises:
        ValueError: for an unknown rule or fewer than one node.
    """
    if rule not in get_args(Quadrature):
        allowed = ", ".join(get_args(Quadrature))
        raise ValueError(f"unknown quadrature {rule!r}; there are {allowed}")
    if n < 1:
        raise ValueError(f"{n} nodes; a quadrature needs 1 or more")
    if rule == "gauss_legendre":
        nodes, weights = legendre.leggauss(n)
        return (nodes + 1) / 2, weights / 2
    if rule == "gauss_radau":
        both = np.zeros(n + 1)
        both[-2:] = 1  # P_{n-1} + P_n vanishes at -1 and at the other nodes
        nodes = np.sort(legendre.legroots(both).real)
        nodes[0] = -1
        last = legendre.legval(nodes, np.eye(n)[n - 1])
        return (nodes + 1) / 2, (1 - nodes) / (n * last) ** 2 / 2
    shift = {"riemann_left": 0.0, "riemann_midpoint": 0.5, "riemann_right": 1.0}[rule]
    return (np.arange(n) + shift) / n, np.full(n, 1 / n)
