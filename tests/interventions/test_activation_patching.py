"""Values of another subject, put where the subject is read, bring out its answer."""

from dataclasses import replace

import numpy as np
import pytest

import lafn_viz as lv
from lafn_viz.interventions import activation_patching
from lafn_viz.interventions.activation_patching import WHERES, _pairs, trace_subject


@pytest.fixture(scope="module")
def trace(embedded, facts):
    some = facts.filter(relation="capital", languages=["en", "ru"]).prompts()
    return trace_subject(embedded, [p for p in some if p.paraphrase == 2], max_pairs=30)


def test_the_whole_subject_at_the_first_layer_is_the_donors_prompt(trace):
    at = WHERES.index("whole subject")
    assert trace.share[0, 0, at] == trace.donor > 0.8
    assert trace.untouched == 0
    assert 0 < trace.n_pairs <= 30


def test_what_the_embedded_model_does(trace):
    """The answer's position holds all there is of the subject once the first layer has read it."""
    answer = WHERES.index("answer")
    assert trace.share[0, 0, answer] == 0
    assert (trace.share[0, 1:, answer] > 0.8).all()
    others = np.delete(trace.share, answer, axis=2)
    assert np.nanmax(others[0, 1:]) < 0.1
    assert np.nanmax(others[1]) < 0.1
    frame = trace.to_frame()
    assert len(frame) == 2 * 4 * len(WHERES)
    assert set(frame["where"]) == set(WHERES)
    np.testing.assert_array_equal(frame.gain, trace.gain.ravel())


def test_the_place_to_edit_is_that_of_the_largest_gain_of_neurons(trace):
    at = [WHERES.index("subject's last token"), answer := WHERES.index("answer")]
    neurons = trace.gain[1]
    layer, position = trace.place
    assert position == "answer"
    assert neurons[layer, answer] == neurons[:, at].max() > 1
    assert f"neurons carry the subject most in layer {layer} at the answer" in repr(trace)
    at_subject = trace.gain.copy()
    at_subject[1, 2, at[0]] = 100
    assert replace(trace, gain=at_subject).place == (2, "subject_last")


@pytest.mark.parametrize("family", ["llama", "gemma3", "opt"])
def test_gain_is_the_rise_of_the_donors_log_probability(tiny, facts, family):
    """With the whole subject at the first layer, the prompt is the donor's."""
    model = tiny(family)
    prompts = facts.filter(relation="capital", languages="en").prompts()
    trace = trace_subject(model, prompts, max_pairs=3)
    groups = _pairs(model, prompts, 3, seed=0)
    gains = []
    for read, donor in (pair for pairs in groups for pair in pairs):
        asked = [replace(read, answer=donor.answer), donor]
        before, after = lv.score_answers(model, asked).log_prob.tolist()
        gains.append(after - before)
    whole = WHERES.index("whole subject")
    assert len(gains) == trace.n_pairs == 3
    assert trace.gain[0, 0, whole] == pytest.approx(np.mean(gains), abs=1e-4)


def test_layers_are_tried_side_by_side_as_one_by_one(tiny, facts, monkeypatch):
    prompts = facts.filter(relation="capital", languages="en").prompts()
    traces = []
    for rows in (1, 64):
        monkeypatch.setattr(activation_patching, "MAX_ROWS", rows)
        traces.append(trace_subject(tiny("gemma3"), prompts, max_pairs=5))
    np.testing.assert_allclose(traces[0].gain, traces[1].gain, atol=1e-5)
    np.testing.assert_array_equal(traces[0].share, traces[1].share)


def test_figure(trace):
    figure = lv.plots.subject_trace(trace)
    for number, table in enumerate(trace.share):
        np.testing.assert_array_equal(np.array(figure.data[number].z, float), table)
    assert str(trace.n_pairs) in figure.layout.title.subtitle.text


def test_prompts_that_cannot_be_paired(tiny, facts):
    one = facts.filter(relation="capital", subjects="Peru", languages="en").prompts()
    with pytest.raises(ValueError, match="no two of 6 prompts differ in the subject alone"):
        trace_subject(tiny("gpt2"), one)
    with pytest.raises(ValueError, match="give a causal one"):
        trace_subject(tiny("bert"), one)
