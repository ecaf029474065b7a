"""Figures of the lens: the right number in the right cell, and what they leave out."""

import numpy as np
import pytest
from made_up import made_up_lens

from lafn_viz import plots


@pytest.fixture
def lens():
    return made_up_lens()


def test_a_panel_for_each_language_that_can_be_told_apart(lens):
    (panel,) = plots.latent_languages(lens).data
    assert list(panel.y) == ["English", "French", "<b>Russian</b>", "<i>other facts</i>"]
    np.testing.assert_array_equal(panel.z[:3], [[0, 0.5, 0], [0, 0.5, 0], [0, 0, 1]])
    np.testing.assert_array_equal(panel.z[3], [0, 0.25, 0.5])
    np.testing.assert_array_equal(panel.customdata[0], [0, 0.25, 0.25])


def test_rank_curves_are_medians_beside_a_band(lens):
    figure = plots.language_ranks(lens)
    band, english, _, own = figure.data
    np.testing.assert_array_equal(english.y, [51, 11, 9])
    np.testing.assert_array_equal(own.y, [91, 36, 2])
    # Both prompts have two other objects, one of which has no English name.
    low, high = np.array(band.y[:3]), np.array(band.y[:2:-1])
    others = [[99, 99, 99], [3, 99, 99], [99, 4, 5]]
    np.testing.assert_allclose(low, np.quantile(others, 0.1, axis=1) + 1)
    np.testing.assert_allclose(high, np.quantile(others, 0.9, axis=1) + 1)
    assert figure.layout.yaxis.type == "log"
    with pytest.raises(ValueError, match="unknown pivot 'zh'"):
        plots.language_ranks(lens, pivot="zh")


def test_a_strip_shows_what_each_layer_writes(lens):
    written, ranks = plots.lens_strip(lens, prompt=1).data
    assert [row[0] for row in written.text] == ["␣x"] * 3
    assert list(ranks.x) == ["B en<br>English", "B fr<br>French", "B ru<br>Russian", ranks.x[3]]
    assert ranks.x[3] == "<i>other facts</i><br>Russian"
    assert [row[2] for row in ranks.text] == ["91", "41", "3"]
    with pytest.raises(ValueError, match="prompt=3, but the lens has 3 prompts"):
        plots.lens_strip(lens, prompt=3)
