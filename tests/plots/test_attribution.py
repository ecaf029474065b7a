"""Figures of attribution: the strip, completeness, two methods."""

import dataclasses

import numpy as np
import pytest
import torch
from made_up import scores_of

from lafn_viz import plots


def test_strip_shows_the_strongest_neuron_of_each_bin_where_it_is():
    values = np.zeros((3, 2, 10))
    values[0, 1, 7], values[1, 1, 7] = 4.0, 2.0  # two paraphrases of en
    values[2, 0, 2], values[2, 0, 3] = -3.0, 1.0  # one of ru
    scores = scores_of(values, languages=["en", "en", "ru"])
    figure = plots.attribution_strip(scores, agnostic=[(1, 7)], bins=5)
    cells = np.array(figure.data[0].z)
    assert cells.shape == (2, 10)
    assert cells[0, 5 + 3] == pytest.approx(3.0)  # layer 1, neurons 6 to 7
    assert cells[1, 1] == pytest.approx(-3.0)  # layer 0, neurons 2 to 3: the larger magnitude
    assert figure.data[0].zmin == -figure.data[0].zmax
    assert list(figure.data[1].x) == [8]
    two = scores_of(values[:2])
    object.__setattr__(two.prompts[1], "fact_id", "other")
    with pytest.raises(ValueError, match="scores of 2 facts, and a strip shows one"):
        plots.attribution_strip(two)


def test_a_column_of_the_strip_is_one_neuron_and_a_marked_one_is_agnostic():
    values = np.zeros((2, 1, 4))
    values[0, 0], values[1, 0] = [1.0, 0.4, 3.0, 0.2], [0.1, 0.5, 0.3, 0.6]
    scores = scores_of(values, languages=["en", "ru"])
    cells = plots.attribution_strip(scores, bins=2).data[0]
    assert cells.customdata[0] == cells.customdata[1] == ["0:0", "0:2"]
    np.testing.assert_allclose(cells.z, [[1.0, 3.0], [0.1, 0.3]], rtol=1e-6)
    marked = plots.attribution_strip(scores, bins=2, agnostic=[(0, 1)])
    assert list(marked.data[1].x) == [0]
    assert marked.data[0].customdata[0] == ["0:1", "0:2"]
    np.testing.assert_allclose(marked.data[0].z, [[0.4, 3.0], [0.5, 0.3]], rtol=1e-6)


def test_a_strip_stands_above_the_same_neurons_in_other_facts():
    values = np.zeros((2, 2, 4))
    values[0, 0], values[1, 1] = [1.0, 0.4, 3.0, 0.2], [0.1, 0.5, 0.3, 0.6]
    scores = scores_of(values, languages=["en", "ru"])
    one = scores_of(np.arange(24.0).reshape(3, 2, 4), languages=["en", "en", "fr"])
    other = scores_of(np.full((1, 2, 4), 2.0), languages=["en"])
    figure = plots.attribution_strip(scores, bins=2, agnostic=[(0, 1)], control=[one, other])
    own, marks, control = figure.data
    assert control.customdata[0] == own.customdata[0] == ["0:1", "0:2", "1:1", "1:3"]
    assert (control.zmin, control.zmax) == (own.zmin, own.zmax)
    # In one, the English prompts have the values n and n + 8 at place n, so n + 4 in the mean.
    np.testing.assert_allclose(control.z[0], [(n + 4 + 2) / 2 for n in (1, 2, 5, 7)])
    assert np.isnan(control.z[1]).all()  # no Russian prompt
    assert "the same neurons in 2 other facts (mean)" in figure.layout.annotations[-1].text
    tops = [figure.layout[name].domain[1] for name in ("yaxis3", "yaxis", "yaxis2")]
    assert tops == sorted(tops)
    assert len(figure.layout.shapes) == 2  # between the layers, once in each strip
    alone = plots.attribution_strip(scores, bins=2, control=other)
    assert "in 1 other fact" in alone.layout.annotations[-1].text
    assert marks.yaxis == "y2"
    with pytest.raises(ValueError, match="is of another model"):
        plots.attribution_strip(scores, control=scores_of(np.zeros((1, 2, 5))))


def test_completeness_curve_joins_a_rule_and_marks_auto():
    def scores_with(error, n, rule="riemann_left"):
        scores = scores_of(torch.rand(2, 3, 5))
        options = {"n_steps": n, "quadrature": rule}
        return dataclasses.replace(
            scores,
            relative_error=torch.tensor(error),
            n_points=torch.full((2, 3), 7 if n == "auto" else n),
            provenance=dataclasses.replace(scores.provenance, options=options),
        )

    errors = [[0.1, 0.2, 0.3], [0.3, 0.4, 0.9]]
    figure = plots.completeness_curve(
        [
            scores_with(errors, 20),
            scores_with([[0.5] * 3] * 2, 2),
            scores_with([[1e-4] * 3] * 2, "auto"),
        ]
    )
    auto, left = figure.data
    assert (auto.name, list(auto.x)) == ("auto", [7])
    assert list(left.x) == [2, 20]
    assert left.y[1] == pytest.approx(0.3)
    assert left.customdata[1] == pytest.approx(0.9)
    assert "90%" in figure.layout.title.subtitle.text


def test_method_scatter_puts_each_neuron_where_its_scores_are():
    first = scores_of([[[4.0, -1.0, 0.0], [3.0, 1.0, 1.0]]])
    second = scores_of([[[4.0, 1.0, 2.0], [1.0, 1.0, 1.0]]])
    figure = plots.method_scatter(first, second, top=2)
    neither, single, both = figure.data
    assert list(both.text) == ["layer 0, neuron 0"]
    assert (both.x[0], both.y[0]) == (pytest.approx(0.4), pytest.approx(0.4))
    assert set(single.text) == {"layer 0, neuron 2", "layer 1, neuron 0"}
    assert len(neither.x) == 3
    assert "20%" in figure.layout.title.subtitle.text  # one sign of the five that both score
