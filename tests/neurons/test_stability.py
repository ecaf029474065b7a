from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up import scores_of as the_scores

import lafn_viz as lv
from lafn_viz.neurons.neuron_sets import Neuron


@pytest.fixture(scope="module")
def prompts(facts):
    return facts.filter(relation="capital", subjects=["FR", "JP"], languages=["en", "ru"]).prompts()


def scores_of(prompts, chosen):
    """Each prompt keeps the neurons that `chosen` names for it, of 2 layers of 10."""
    values = torch.zeros(len(prompts), 2, 10)
    for row, prompt in enumerate(prompts):
        for layer, neuron in chosen(prompt):
            values[row, layer, neuron] = 1.0
    return the_scores(values, prompts=prompts)


def test_the_same_in_every_paraphrase_is_perfectly_stable(prompts):
    scores = scores_of(prompts, lambda p: [(0, 1), (0, 2 if p.language == "en" else 3)])
    found = lv.stability(scores, draws=50)
    np.testing.assert_allclose(found.jaccard, 1 / 3)
    np.testing.assert_allclose(found.low[:, 0, 1], 1 / 3)
    assert all(some == {Neuron(0, 1): 1.0} for some in found.agnostic.values())


def test_what_one_wording_carries_comes_and_goes(prompts):
    # Neuron (0, 2) is in half of the paraphrases and one more: on the edge of being kept.
    edge = max(p.paraphrase for p in prompts) // 2 + 1
    scores = scores_of(prompts, lambda p: [(0, 1), *([(0, 2)] if p.paraphrase <= edge else [])])
    found = lv.stability(scores, draws=400, seed=1)
    for some in found.agnostic.values():
        assert some[Neuron(0, 1)] == 1.0
        assert 0.3 < some[Neuron(0, 2)] < 0.9
    assert (found.low[:, 0, 1] < found.high[:, 0, 1]).all()
    frame = found.to_frame()
    assert (frame["low"] <= frame["jaccard"]).all()
    np.testing.assert_array_equal(
        lv.stability(scores, draws=20).jaccard, lv.stability(scores, draws=20).jaccard
    )


def test_one_paraphrase_cannot_be_drawn_anew(prompts):
    one = [p for p in prompts if p.paraphrase == 0]
    with pytest.raises(ValueError, match="one known paraphrase only"):
        lv.stability(scores_of(one, lambda p: [(0, 1)]))


def test_scores_that_are_no_numbers_are_refused(prompts):
    scores = scores_of(prompts, lambda p: [(0, 1)])
    broken = replace(scores, values=scores.values / 0)
    for call in (lv.stability, lambda s: lv.threshold_curve(s, [0.1])):
        with pytest.raises(ValueError, match="not all numbers"):
            call(broken)


def test_threshold_curve_is_the_overlap_at_each_threshold(prompts):
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(len(prompts), 2, 10, generator=generator) / 10
    for row, prompt in enumerate(prompts):
        values[row, 0, [1, 2, 3, 4 + len(prompt.subject) % 4]] += 1
    scores = the_scores(values, prompts=prompts)
    table = lv.threshold_curve(scores, [0.2, 0.4], by="fraction")
    for fraction in (0.2, 0.4):
        found = lv.overlap(lv.select_neurons(scores, fraction=fraction))
        rows = table[table["fraction"] == fraction].set_index("comparison")
        assert rows.loc["same fact", "jaccard"] == pytest.approx(found.jaccard[0, 1])
        assert rows.loc["other fact", "jaccard"] == pytest.approx(found.jaccard_other_fact[0, 1])
    with pytest.raises(ValueError, match="no thresholds"):
        lv.threshold_curve(scores, [])
