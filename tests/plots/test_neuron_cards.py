"""The card of a neuron."""

import dataclasses

import numpy as np
import pytest

import lafn_viz as lv
from lafn_viz import plots
from lafn_viz.plots.style import LANGUAGE_COLOURS, visible


@pytest.mark.slow
def test_card_draws_paraphrases_means_control_and_tokens(embedded, facts):
    prompts = facts.filter(relation="capital", subjects="PE", languages=["en", "ar"]).prompts()
    card = lv.neuron_card(embedded, prompts, (1, 7), n_tokens=3, controls=2)
    figure = plots.neuron_card(card)
    frame, means = card.to_frame(), card.by_language()
    scatters = [trace for trace in figure.data if trace.type == "scatter"]
    attribution, mean = scatters[:2]
    np.testing.assert_allclose(attribution.x, frame["attribution"])
    np.testing.assert_allclose(mean.x, means["attribution"])
    assert list(np.round(attribution.y)) == [0] * 6 + [1] * 6
    assert set(attribution.marker.color) == {LANGUAGE_COLOURS["en"], LANGUAGE_COLOURS["ar"]}
    assert list(figure.layout.yaxis.ticktext) == ["English", "Arabic"]
    in_third = [trace for trace in scatters if trace.xaxis == "x3"]
    control, control_mean, change, change_mean = in_third
    np.testing.assert_allclose(control.x, frame["log_prob_control"] - frame["log_prob_before"])
    np.testing.assert_allclose(control_mean.x, means["control_log_p"])
    np.testing.assert_allclose(change.x, frame["log_prob_after"] - frame["log_prob_before"])
    np.testing.assert_allclose(change_mean.x, means["change_log_p"])
    up, down = (trace for trace in figure.data if trace.type == "bar")
    assert list(up.text) == [visible(text) for text, _ in card.promoted]
    assert list(down.x) == [value for _, value in card.demoted]
    assert figure.layout.title.text == "Layer 1, neuron 7: Peru – capital"
    assert figure.layout.xaxis.title.text == "probability"
    bare = dataclasses.replace(card, promoted=(), demoted=())
    assert not [trace for trace in plots.neuron_card(bare).data if trace.type == "bar"]
