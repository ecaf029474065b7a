"""The figure of failures: shares of each language, of all, and of other objects."""

import numpy as np
from made_up import lens_of

import lafn_viz as lv
from lafn_viz import plots


def test_bars_are_shares_beside_those_of_other_objects():
    lens = lens_of(np.zeros((3, 2, 3)), np.zeros((3, 2, 1, 3)), [[1, 2, 3]] * 3,
                   [("A", "ru"), ("B", "ru"), ("B", "fr")])  # fmt: skip
    found = lv.Failures(
        prompts=lens.prompts, kind=np.array([0, 1, 1]), led_by=("", "en", "en"),
        layer=np.array([-1, 1, 1]), written=("x",) * 3, within=np.array([1, 1, 1]),
        control=np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [1, 0, 0, 0]]), false_leads=0.05,
        n_answered=5, n_left_out=2, provenance=lens.provenance,
    )  # fmt: skip
    figure = plots.failure_kinds(found)
    unknown, lost, other, form = figure.data
    np.testing.assert_allclose(unknown.x, [1 / 2, 0, 1 / 3, 2.5 / 3])
    np.testing.assert_allclose(lost.x, [1 / 2, 1, 2 / 3, 0.5 / 3])
    assert not any(other.x)
    assert not any(form.x)
    assert list(lost.y[:2]) == ["Russian (2)", "French (1)"]
    assert list(lost.text[:2]) == ["1", "1"]
    assert "3 failed prompts of 8" in figure.layout.title.subtitle.text
