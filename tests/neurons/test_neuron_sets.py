import pytest
from made_up import scores_of

import lafn_viz as lv
from lafn_viz.neurons.neuron_sets import Neuron, masks_of, neurons_of, validate_neurons


def test_threshold_by_hand():
    scores = scores_of([[[1.0, 0.5], [0.1, -2.0]]])
    assert lv.select_neurons(scores)[0].neurons == {(0, 0), (0, 1)}
    assert lv.select_neurons(scores, threshold=0.05)[0].neurons == {(0, 0), (0, 1), (1, 0)}
    assert lv.select_neurons(scores, threshold=0.5)[0].neurons == {(0, 0)}  # above, not equal
    assert lv.select_neurons(scores, top=3)[0].neurons == {(0, 0), (0, 1), (1, 0)}
    assert lv.select_neurons(scores, fraction=0.5)[0].neurons == {(0, 0), (0, 1)}


@pytest.mark.parametrize("options", [{"top": 4}, {"fraction": 0.9}, {"threshold": 0.0}])
def test_silent_neurons_and_those_against_the_answer_are_never_kept(options):
    scores = scores_of([[[0.0, 0.3], [-1.0, 0.1]]])
    assert lv.select_neurons(scores, **options)[0].neurons == {(0, 1), (1, 1)}


def test_refining_keeps_what_more_than_a_share_of_paraphrases_has():
    scores = scores_of([[[1.0, 1.0, 0]], [[1.0, 0, 1.0]], [[1.0, 1.0, 0]]])
    assert lv.select_neurons(scores)[0].neurons == {(0, 0), (0, 1)}
    assert lv.select_neurons(scores, share=0.7)[0].neurons == {(0, 0)}


def test_unknown_paraphrases_are_left_out_and_counted():
    values = [[[1.0, 0]], [[0, 1.0]], [[0, 1.0]]]
    (one,) = lv.select_neurons(scores_of(values, known=[True, False, False]))
    assert one.neurons == {(0, 0)}
    assert (one.n_prompts, one.n_known, one.known) == (3, 1, False)
    (none,) = lv.select_neurons(scores_of(values, known=[False] * 3))
    assert none.neurons == set()
    assert not none.known


def test_a_prompt_of_no_positive_score_selects_nothing():
    assert lv.select_neurons(scores_of([[[-1.0, -2.0]]]))[0].neurons == set()


def test_one_set_a_fact_and_language_with_mask_and_frame():
    scores = scores_of([[[1.0, 0]], [[0, 1.0]]], languages=["en", "fr"])
    en, fr = lv.select_neurons(scores)
    assert (en.language, fr.language) == ("en", "fr")
    assert en.mask().tolist() == [[True, False]]
    assert fr.to_frame()[["layer", "neuron"]].to_numpy().tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="not all numbers"):
        lv.select_neurons(scores_of([[[float("nan"), 1]]]))


def test_masks_hold_the_sets_one_after_the_other():
    sets = [{Neuron(0, 2), Neuron(1, 0)}, [], [(1, 3)]]
    masks = masks_of(sets, (2, 4))
    assert masks.shape == (3, 2, 4)
    assert [neurons_of(mask) for mask in masks] == [frozenset(Neuron(*n) for n in s) for s in sets]


def test_neurons_that_the_model_lacks_are_refused():
    assert validate_neurons([(0, 2), (1, 0)], (2, 4)) == [Neuron(0, 2), Neuron(1, 0)]
    assert validate_neurons([], (2, 4), allow_empty=True) == []
    with pytest.raises(ValueError, match="at least one"):
        validate_neurons([], (2, 4))
    for wrong in ((2, 0), (0, 4), (-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="layers from 0 to 1, neurons from 0 to 3"):
            validate_neurons([(0, 2), wrong], (2, 4), allow_empty=True)
