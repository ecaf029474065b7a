"""Values of another subject, put where the subject is read, bring out its answer."""

import numpy as np
import pytest

import lafn_viz as lv
from lafn_viz.interventions.activation_patching import WHERES, trace_subject


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
    assert "neurons carry the subject most in layer 0 at the answer" in repr(trace)
    frame = trace.to_frame()
    assert len(frame) == 2 * 4 * len(WHERES)
    assert set(frame["where"]) == set(WHERES)


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
