"""One planted model for all tests of this folder: planting takes half a minute."""

import pytest

import lafn_viz as lv
from lafn_viz.interventions.planted import examples

SETTINGS = {"languages": ["en", "ru", "zh"], "n_facts": 2, "n_agnostic": 6, "n_specific": 2}


@pytest.fixture(scope="package")
def planted():
    with pytest.MonkeyPatch.context() as patch:  # fewer negatives are quicker
        patch.setattr(examples, "NEGATIVES", 800)
        return lv.plant(**SETTINGS, layers=(2, 3))
