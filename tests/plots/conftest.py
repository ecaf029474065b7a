"""Results by hand, on arrays that are not square: the right cell must hold the right number."""

import pytest
from made_up import a_set

import lafn_viz as lv


@pytest.fixture
def overlap() -> lv.Overlap:
    return lv.overlap(
        [
            a_set("A", "en", [(0, 1), (1, 1)]),
            a_set("A", "fr", [(0, 1), (1, 2)]),
            a_set("A", "zh", [(0, 1), (1, 2)]),
            a_set("B", "en", [(0, 3)]),
            a_set("B", "fr", [(0, 4)]),
            a_set("B", "zh", [(0, 3)]),
        ]
    )
