import numpy as np
import pytest
from numpy.polynomial import legendre

from lafn_viz.attribution.quadrature import lobatto, nodes_and_weights


@pytest.mark.parametrize("n", [1, 2, 4])
def test_quadrature_is_exact_up_to_its_degree(n):
    degrees = {
        "gauss_legendre": 2 * n - 1, "gauss_radau": 2 * n - 2, "riemann_midpoint": 1,
        "riemann_left": 0, "riemann_right": 0,
    }  # fmt: skip
    for rule, degree in degrees.items():
        nodes, weights = nodes_and_weights(rule, n)
        assert (np.diff(nodes) > 0).all()
        assert nodes[0] >= 0
        assert nodes[-1] <= 1
        for power in range(degree + 1):
            assert weights @ nodes**power == pytest.approx(1 / (power + 1)), (rule, power)
        assert weights @ nodes ** (degree + 1) != pytest.approx(1 / (degree + 2), rel=1e-9), rule
    assert nodes_and_weights("gauss_radau", n)[0][0] == 0


def test_gauss_radau_nodes_are_the_roots_of_a_sum_of_legendre_polynomials():
    for n in range(1, 41):
        coefficients = np.zeros(n + 1)
        coefficients[-2:] = 1  # P_(n-1) + P_n
        roots = np.sort(legendre.legroots(coefficients).real)
        last = legendre.legval(roots, np.eye(n)[n - 1])
        nodes, weights = nodes_and_weights("gauss_radau", n)
        np.testing.assert_allclose(nodes, (roots + 1) / 2, atol=1e-13)
        np.testing.assert_allclose(weights, (1 - roots) / (n * last) ** 2 / 2, atol=1e-13)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_gauss_lobatto_has_both_ends_and_is_exact_up_to_its_degree(n):
    nodes, weights = lobatto(n)
    assert (nodes[0], nodes[-1]) == (0, 1)
    assert (np.diff(nodes) > 0).all()
    for power in range(2 * n - 2):
        assert weights @ nodes**power == pytest.approx(1 / (power + 1)), power
    assert weights @ nodes ** (2 * n - 2) != pytest.approx(1 / (2 * n - 1), rel=1e-9)
    assert set(lobatto(3)[0]) <= set(lobatto(5)[0])


def test_no_nodes_are_refused():
    with pytest.raises(ValueError, match="0 nodes"):
        nodes_and_weights("gauss_radau", 0)
