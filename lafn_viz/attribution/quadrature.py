"""Rules that turn an integral over [0, 1] into a weighted sum over points.

The Riemann sums are what the papers use (the left one in AMIG's released code, the right one in
"Knowledge Neurons"). Gauss rules reach the same accuracy with far fewer points where the integrand
is smooth. `gauss_radau` has the point 0 among its nodes, where an attribution needs F anyway, to
tell whether it is complete.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

Quadrature = Literal[
    "gauss_legendre", "gauss_radau", "riemann_left", "riemann_right", "riemann_midpoint"
]
# Where in its interval a Riemann sum takes the integrand.
OFFSETS = {"riemann_left": 0.0, "riemann_midpoint": 0.5, "riemann_right": 1.0}


def nodes_and_weights(
    rule: Quadrature, n: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return n ascending nodes in [0, 1] and their weights, which sum to 1.

    The sum is exact for polynomials of degree up to 2n - 1 (gauss_legendre), 2n - 2 (gauss_radau),
    1 (riemann_midpoint) or 0 (riemann_left, riemann_right).

    Raises:
        ValueError: for an unknown rule or fewer than one node.
    """
    if rule not in get_args(Quadrature):
        allowed = ", ".join(get_args(Quadrature))
        raise ValueError(f"unknown quadrature {rule!r}; there are {allowed}")
    if n < 1:
        raise ValueError(f"{n} nodes; a quadrature needs 1 or more")
    if rule in OFFSETS:
        return (np.arange(n) + OFFSETS[rule]) / n, np.full(n, 1 / n)
    nodes, weights = np.polynomial.legendre.leggauss(n) if rule == "gauss_legendre" else _radau(n)
    return (nodes + 1) / 2, weights / 2


def lobatto(n: int) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return the n ascending nodes in [0, 1] of Gauss-Lobatto, 0 and 1 among them, and weights.

    The sum is exact for polynomials of degree up to 2n - 3. The rule of 2 nodes is the trapezoid
    rule, that of 3 Simpson's; those of 3 and 5 nodes share 0, 1/2 and 1.
    """
    legendre = np.polynomial.Legendre.basis(n - 1)
    inner = legendre.deriv().roots().real
    nodes = np.r_[-1.0, (inner - inner[::-1]) / 2, 1.0]  # symmetric, so that the middle is exact
    return (nodes + 1) / 2, 1 / (n * (n - 1) * legendre(nodes) ** 2)


def _radau(n: int) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Nodes and weights on [-1, 1]: the point -1, and a Gauss-Jacobi rule of weight 1 + x."""
    from scipy.special import roots_jacobi

    nodes, weights = roots_jacobi(n - 1, 0, 1) if n > 1 else np.empty((2, 0))
    # The rule integrates (1 + x) f(x); the factor goes back into the weights.
    return np.append(-1.0, nodes), np.append(2 / n**2, weights / (1 + nodes))
