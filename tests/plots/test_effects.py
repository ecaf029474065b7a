"""Figures of effects beside their controls, and of transfer."""

import numpy as np
import pytest
import torch

import lafn_viz as lv
from lafn_viz import plots


def made_up_effects():
    generator = np.random.default_rng(0)
    log_p = -generator.random((5, 2, 4, 3))
    return lv.Effects(
        sets=("en", "zh"),
        facts=("A", "B", "C", "D"),
        languages=("en", "fr", "zh"),
        n_neurons=np.full((2, 4, 3), 7.0),
        p=np.exp(log_p),
        log_p=log_p,
        provenance=lv.Provenance("made-up", "", "effects", {"how": "zero"}),
    )


def test_effects_are_drawn_beside_their_controls():
    effects = made_up_effects()
    figure = plots.effects_by_language(effects)
    drawn = {trace.name: np.array(trace.x) for trace in figure.data[3:]}  # the second panel
    for kind, values in effects.changes(of="log_p").items():
        np.testing.assert_allclose(drawn[kind], values[1].mean(0))
    left, right = plots.effects_matrix(effects).data
    changes = effects.changes(of="log_p")
    np.testing.assert_allclose(left.z, changes["own fact"].mean(1))
    np.testing.assert_allclose(right.z, changes["other fact"].mean(1))
    assert (left.zmin, left.zmax) == (right.zmin, right.zmax)
    # Each cell holds its number, and all panels of effects have one scale.
    assert [float(x.replace("−", "-")) for x in left.text[0]] == [
        pytest.approx(value, abs=0.006) for value in left.z[0]
    ]
    axes = [axis for name, axis in figure.layout.to_plotly_json().items() if name[:5] == "xaxis"]
    assert {axis.get("matches") for axis in axes[1:]} == {"x"}


def test_transfer_is_drawn_by_what_training_showed(overlap, facts):
    prompts = facts.filter(relation="capital", subjects=["FR", "JP", "PE"]).prompts()
    known = lv.AnswerScores(
        log_prob=torch.zeros(len(prompts)),
        rank=torch.tensor([int(prompt.split == "held-out pair") for prompt in prompts]),
        prompts=tuple(prompts),
        provenance=lv.Provenance("made-up", "", "score_answers"),
    )
    figure = plots.transfer_and_sharing({"one": known}, {"one": overlap})
    answered, sharing = figure.data
    assert list(answered.y) == [1.0, 0.0]
    across = overlap.by_fact(across_scripts=True)
    np.testing.assert_allclose(sharing.y[0], np.nanmean(across["same fact"]))
