"""Cases that the tests of evaluation share."""

import pytest

import lafn_viz as lv


@pytest.fixture(scope="module")
def cases(facts):
    return lv.counterfactual_cases(facts, n=2, seed=1).filter(languages=["en", "ru", "zh"])
