"""Degenerate neurons against one-by-one interventions and against a P known by hand."""

import dataclasses
import re
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from made_up import scores_of

import lafn_viz as lv
from lafn_viz import plots
from lafn_viz.interventions import degenerate_search
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import Neuron, neurons_of

SHAPE = (3, 48)
A, B, C, D, E = (Neuron(*n) for n in ((0, 1), (1, 5), (1, 9), (2, 3), (2, 40)))


def scores_over(neurons, n=2, **options) -> lv.NeuronScores:
    """Made-up scores: the given neurons from best to worst, all others below 0."""
    values = torch.full((n, *SHAPE), -1.0)
    for place, (layer, neuron) in enumerate(neurons):
        values[:, layer, neuron] = 1.0 / (place + 1)
    return scores_of(values, **options)


@pytest.fixture
def made_up(monkeypatch):
    """Replace the model's answers by a function from the zeroed neurons to P."""

    def use(probability):
        calls = []

        def measure(model, prompts, masks, *, position="all"):
            calls.append(len(masks))
            after = [probability(neurons_of(m)) for m in masks]
            rows = torch.tensor(after)[:, None].expand(-1, len(prompts))
            return torch.tensor([probability(frozenset())] * len(prompts)).log(), rows.log()

        monkeypatch.setattr(degenerate_search, "measure_ablation", measure)
        return calls

    return use


def test_every_change_is_that_of_one_intervention(tiny, prompts):
    model = tiny("gpt2")
    mine = [p for p in prompts if p.language == "en" and p.fact_id == prompts[0].fact_id]
    scores = lv.attribute(model, mine)
    scores = dataclasses.replace(scores, known=torch.ones_like(scores.known))
    (found,) = lv.find_degenerate(
        model, scores, top=4, t_low=0.02, t_high=0.02, max_size=3, controls=1
    )
    best = scores.values.mean(0).flatten().topk(4).indices.tolist()
    assert found.candidates == tuple(Neuron(*divmod(i, 48)) for i in best)

    def change(neurons):
        return lv.intervene(model, mine, neurons, controls=0).change

    for i, j in combinations(range(4), 2):
        two = [found.candidates[i], found.candidates[j]]
        assert found.pair[i, j] == pytest.approx(change(two), rel=1e-3, abs=1e-5)
    alone = [change([one]) for one in found.candidates]
    np.testing.assert_allclose(found.single, alone, rtol=1e-3, atol=1e-5)
    assert found.together == pytest.approx(change(found.candidates), rel=1e-3, abs=1e-5)
    random = random_like(found.candidates, SHAPE, seed=0)
    assert found.together_random == pytest.approx(change(random), rel=1e-3, abs=1e-5)
    for some, value in zip(found.sets, found.changes, strict=True):
        assert value == pytest.approx(change(some), rel=1e-3, abs=1e-5)
    assert found.p_before == pytest.approx(scores.target_prob.double().mean().item(), rel=1e-4)


def test_two_neurons_that_stand_in_for_each_other(tiny, made_up):
    # Either of A and B carries half of P; C costs everything alone, D and E do nothing.
    def p(gone):
        return 0.8 * (0.3 if {A, B} <= gone else 1.0) * (0.1 if C in gone else 1.0)

    calls = made_up(p)
    (found,) = lv.find_degenerate(tiny("gpt2"), scores_over([A, C, B, D, E]), controls=2)
    assert found.candidates == (A, C, B, D, E)
    np.testing.assert_allclose(found.single, [0, -0.9, 0, 0, 0], atol=1e-6)
    assert found.pair[0, 2] == pytest.approx(-0.7)
    assert (found.pair == found.pair.T).all()
    assert found.sets == (frozenset({A, B}),)
    np.testing.assert_allclose(found.changes, [-0.7], atol=1e-6)
    np.testing.assert_allclose(found.expected, [0], atol=1e-6)
    assert found.reason is None
    assert found.control == (0, 0)
    assert found.control_seeds == (0, 1)
    assert found.p_before == pytest.approx(0.8)
    assert found.together == pytest.approx(0.3 * 0.1 - 1)
    # Of A, B, D, E without the pair: two triples. Random neurons: 5 singles, 10 pairs, 10 triples.
    assert found.searched == {1: 5, 2: 10, 3: 2}
    assert found.left_out == {1: 0, 2: 0, 3: 0}
    assert calls == [3, 15, 30, 22]  # all together; then one call a size
    line = lv.overview([found]).loc[(found.fact_id, "en")]
    assert (line["sets"], line["beyond"], line["random"]) == (1, 1, 0)
    row = found.to_frame().iloc[0]
    assert (row["size"], row["neurons"]) == (2, ((0, 1), (1, 5)))
    assert "1 sets; among random neurons 0.0" in repr(found)


def test_two_neurons_that_act_one_by_one_pass_and_are_seen_through(tiny, made_up):
    made_up(lambda gone: 0.8 * 0.86 ** len(gone & {A, B}))
    (found,) = lv.find_degenerate(tiny("gpt2"), scores_over([A, B, D]))
    assert found.sets == (frozenset({A, B}),)
    np.testing.assert_allclose(found.changes, found.expected, atol=1e-6)


def test_larger_sets_are_minimal(tiny, made_up):
    # A with B, and C with D and E: any set that holds one of the two is not minimal.
    def p(gone):
        return 0.5 * (0.5 if {A, B} <= gone else 1.0) * (0.6 if {C, D, E} <= gone else 1.0)

    made_up(p)
    for size, expected in ((2, [{A, B}]), (3, [{A, B}, {C, D, E}]), (5, [{A, B}, {C, D, E}])):
        (found,) = lv.find_degenerate(
            tiny("gpt2"), scores_over([A, B, C, D, E]), max_size=size, controls=0
        )
        assert [set(some) for some in found.sets] == expected


def test_what_was_not_searched_is_counted(tiny, made_up):
    made_up(lambda gone: 0.5)
    (found,) = lv.find_degenerate(
        tiny("gpt2"), scores_over([A, B, C, D, E]), max_size=4, max_sets=3, controls=0
    )
    assert found.searched == {1: 5, 2: 10, 3: 3, 4: 0}
    assert found.left_out == {1: 0, 2: 0, 3: 7, 4: 5}
    assert "no set of up to 3 of 5 candidates of those searched" in found.reason


def test_odds_see_what_a_sure_probability_hides(tiny, made_up):
    made_up(lambda gone: 0.99 if {A, B} <= gone else 0.999)
    probability, odds = (
        lv.find_degenerate(tiny("gpt2"), scores_over([A, B, C]), of=of, controls=0)[0]
        for of in ("probability", "odds")
    )
    assert not probability.sets
    assert odds.sets == (frozenset({A, B}),)
    assert odds.changes[0] == pytest.approx(99 / 999 - 1, rel=1e-3)


def test_only_known_prompts_count_and_languages_are_apart(tiny, made_up):
    made_up(lambda gone: 0.5)
    scores = scores_over(
        [A, B], n=4, known=[True, False, True, True], languages=["en", "en", "ru", "ru"]
    )
    scores.values[1] = -scores.values[1]  # of the unknown prompt: must not be seen
    english, russian = lv.find_degenerate(tiny("gpt2"), scores, controls=0)
    assert (english.language, russian.language) == ("en", "ru")
    assert len(english.prompts) == 1
    assert english.candidates == (A, B)


@pytest.mark.parametrize(
    ("neurons", "options", "p", "reason"),
    [
        ([A, B], {"known": [False, False]}, None, "the model knows none of the 2 prompts"),
        ([], {}, None, "0 neurons have a score above 0"),
        ([A, B, C], {}, lambda gone: 0.5 ** len(gone), "only 0 of 3 candidates"),
        ([A, B, C], {}, lambda gone: 0.5, r"no set of up to 3 of 3 candidates lowers .*\+0.0%"),
    ],
)
def test_an_empty_result_says_why(tiny, made_up, neurons, options, p, reason):
    if p:
        made_up(p)
    (found,) = lv.find_degenerate(tiny("gpt2"), scores_over(neurons, **options))
    assert not found.sets
    assert found.neurons == frozenset()
    assert len(found.to_frame()) == 0
    assert re.search(reason, found.reason)
    assert found.reason in repr(found)


def test_bad_options_and_scores_are_refused(tiny):
    model, scores = tiny("gpt2"), scores_over([A, B])
    for options in ({"t_low": 0.5}, {"top": 1}, {"max_size": 1}, {"t_high": 1.0}):
        with pytest.raises(ValueError, match="; give"):
            lv.find_degenerate(model, scores, **options)
    scores.values[:, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"'A is' are not all numbers"):
        lv.find_degenerate(model, scores)


def test_a_prompt_with_a_score_that_is_no_number_is_left_out(tiny, made_up):
    made_up(lambda gone: 0.8 * (0.3 if {A, B} <= gone else 1.0))
    scores = scores_over([A, B, C], n=3, languages=["en", "fr", "fr"])
    (_, expected) = lv.find_degenerate(tiny("gpt2"), scores.at([0, 1]))
    scores.values[2, 0, 0] = torch.nan
    with pytest.warns(lv.SkippedWarning, match=r"1 of 3 prompts left out: 'r/A, fr, paraphrase 2'"):
        (_, found) = lv.find_degenerate(tiny("gpt2"), scores)
    assert repr(found) == repr(expected)
    pd.testing.assert_frame_equal(found.to_frame(), expected.to_frame(), check_exact=True)
    with pytest.warns(lv.SkippedWarning, match="1 of 3 prompts"):
        table = lv.neuron_table(scores)
    pd.testing.assert_frame_equal(table, lv.neuron_table(scores.at([0, 1])), check_exact=True)


def test_graph_draws_each_pair_between_its_neurons(tiny, made_up):
    def p(gone):
        both = 0.3 if {A, B} <= gone else 1.0
        return 0.8 * both * 0.86 ** len(gone & {D, E}) * (0.5 if {A, C, D} <= gone else 1.0)

    made_up(p)
    (found,) = lv.find_degenerate(tiny("gpt2"), scores_over([A, B, C, D, E]), controls=2)
    assert set(found.sets) == {frozenset({A, B}), frozenset({D, E}), frozenset({A, C, D})}
    figure = plots.degenerate_graph(found)
    together, alone, nodes = figure.data
    assert list(nodes.text) == ["1", "5", "9", "3", "40"]
    np.testing.assert_allclose(nodes.marker.color, found.single)
    assert list(together.x[:2]) == [nodes.x[0], nodes.x[1]]
    places = zip(found.candidates, nodes.x, strict=True)
    assert [neuron for neuron, _ in sorted(places, key=lambda place: place[1])] == sorted(
        found.candidates
    )
    assert list(alone.y[:2]) == [nodes.y[3], nodes.y[4]]
    assert "more than" in together.name
    assert together.line.width > alone.line.width
    caption = figure.layout.title.subtitle.text
    assert "2 degenerate pairs (lines, thick where they cost most) and 1 larger set" in caption
    assert "0.0 among as many random neurons" in caption
    empty = dataclasses.replace(found, sets=(), changes=np.zeros(0), control=())
    assert "No set of neurons is degenerate; no control" in (
        plots.degenerate_graph(empty).layout.title.subtitle.text
    )
