"""Prompts are put into groups in which they are read with the least padding and passes."""

from itertools import combinations

import pytest

from lafn_viz.editing.side_by_side import grouped


def spent(widths, groups, cost):
    return sum(cost + len(group) * max(widths[i] for i in group) for group in groups)


@pytest.mark.parametrize("cost", [0.5, 3.0, 20.0])
def test_no_other_groups_cost_less(cost):
    widths = [5, 1, 2, 2, 9, 1, 5, 3]
    groups = grouped(widths, cost)
    assert sorted(i for group in groups for i in group) == list(range(len(widths)))
    order = sorted(range(len(widths)), key=lambda i: widths[i])
    every = [
        [order[a:b] for a, b in zip((0, *cuts), (*cuts, len(order)), strict=True)]
        for n in range(len(order))
        for cuts in combinations(range(1, len(order)), n)
    ]
    assert spent(widths, groups, cost) == min(spent(widths, x, cost) for x in every)


def test_a_pass_that_costs_everything_reads_all_prompts_in_their_order():
    assert grouped([5, 1, 2], float("inf")) == [[0, 1, 2]]
