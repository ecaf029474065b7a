"""Figures on made-up arrays that are not square: the right cell must hold the right number."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from made_up import a_set, scores_of

import lafn_viz as lv
from lafn_viz import plots
from lafn_viz.datasets.languages import language_name
from lafn_viz.editing.evaluation.answers import Answered, Evaluation
from lafn_viz.plots.style import LANGUAGE_COLOURS, interval, language_colour, visible


@pytest.fixture
def found() -> lv.Overlap:
    return lv.overlap(
        [
            a_set("A", "en", [(0, 1), (1, 1)]),
            a_set("A", "fr", [(0, 1), (1, 2)]),
            a_set("A", "zh", [(0, 1), (1, 2)]),
            a_set("B", "en", [(0, 3)]),
            a_set("B", "fr", [(0, 4)]),
            a_set("B", "zh", [(0, 3)]),
        ]
    )


def test_heatmap_shows_claim_and_control_on_one_scale(found):
    figure = plots.overlap_heatmap(found)
    claim, control = figure.data
    assert list(claim.x) == ["English", "French", "Chinese"]
    assert (claim.zmin, claim.zmax) == (control.zmin, control.zmax)
    assert claim.z[0][1] == pytest.approx(found.jaccard[0, 1])
    assert control.z[2][1] == pytest.approx(found.jaccard_other_fact[2, 1])
    assert np.isnan(np.diag(np.array(claim.z))).all()
    assert "control" in figure.layout.annotations[1].text.lower()
    assert "chance" in figure.layout.title.subtitle.text


def test_heatmap_without_a_control_says_so():
    lone = lv.overlap([a_set("A", "en", [(0, 1)]), a_set("A", "fr", [(0, 1)])])
    assert "(none)" in plots.overlap_heatmap(lone).layout.annotations[1].text


def test_layers(found):
    agnostic, specific = plots.layer_distribution(found).data
    assert list(agnostic.y) == [0.5, 0.0]
    assert list(agnostic.x) == [0, 1]
    assert specific.marker.color != agnostic.marker.color


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


def test_models_side_by_side_have_intervals():
    summary = pd.DataFrame(
        [("same fact", 0.2, 0.1, 0.4), ("other fact", 0.1, 0.1, 0.1), ("chance", 0.0, 0.0, 0.0)],
        columns=["comparison", "jaccard", "low", "high"],
    )
    figure = plots.model_comparison({"one": summary, "two": summary})
    bars = figure.data[0]
    assert list(bars.x) == ["one", "two"]
    assert bars.error_y.array[0] == pytest.approx(0.2)
    assert bars.error_y.arrayminus[0] == pytest.approx(0.1)


def test_completeness_curve_joins_a_rule_and_marks_auto():
    def made(error, n, rule="riemann_left"):
        scores = scores_of(torch.rand(2, 3, 5))
        options = {"n_steps": n, "quadrature": rule}
        return dataclasses.replace(
            scores,
            relative_error=torch.tensor(error),
            n_points=torch.full((2, 3), 7 if n == "auto" else n),
            provenance=dataclasses.replace(scores.provenance, options=options),
        )

    some = [[0.1, 0.2, 0.3], [0.3, 0.4, 0.9]]
    figure = plots.completeness_curve(
        [made(some, 20), made([[0.5] * 3] * 2, 2), made([[1e-4] * 3] * 2, "auto")]
    )
    auto, left = figure.data
    assert (auto.name, list(auto.x)) == ("auto", [7])
    assert list(left.x) == [2, 20]
    assert left.y[1] == pytest.approx(0.3)
    assert left.customdata[1] == pytest.approx(0.9)
    assert "90%" in figure.layout.title.subtitle.text


def test_method_scatter_puts_each_neuron_where_its_scores_are():
    one = scores_of([[[4.0, -1.0, 0.0], [3.0, 1.0, 1.0]]])
    two = scores_of([[[4.0, 1.0, 2.0], [1.0, 1.0, 1.0]]])
    figure = plots.method_scatter(one, two, top=2)
    neither, single, both = figure.data
    assert list(both.text) == ["layer 0, neuron 0"]
    assert (both.x[0], both.y[0]) == (pytest.approx(0.4), pytest.approx(0.4))
    assert set(single.text) == {"layer 0, neuron 2", "layer 1, neuron 0"}
    assert len(neither.x) == 3
    assert "20%" in figure.layout.title.subtitle.text  # one sign of the five that both score


def test_tree_orders_both_panels_alike_and_by_likeness(found):
    figure = plots.language_tree(found)
    heatmaps = [trace for trace in figure.data if trace.type == "heatmap"]
    names = list(figure.layout.xaxis2.ticktext)
    # English and Chinese share most, so they stand side by side.
    assert abs(names.index("English") - names.index("Chinese")) == 1
    order = [["en", "fr", "zh"][["English", "French", "Chinese"].index(name)] for name in names]
    at = [found.languages.index(code) for code in order]
    for trace, matrix in zip(heatmaps, (found.jaccard, found.jaccard_other_fact), strict=True):
        expected = matrix[np.ix_(at, at)].copy()
        np.fill_diagonal(expected, np.nan)
        np.testing.assert_array_equal(np.array(trace.z, dtype=float), expected)


def test_upset_draws_counts_over_their_languages(found):
    figure = plots.upset(found)
    table = found.intersections()
    table = table[table["degree"] > 1].reset_index(drop=True)
    same, control = figure.data[:2]
    np.testing.assert_allclose(same.y, table["neurons"])
    np.testing.assert_allclose(control.y, table["other_facts"])
    dots = figure.data[3]
    for x, languages in enumerate(table["languages"]):
        rows = {y for at, y in zip(dots.x, dots.y, strict=True) if at == x}
        assert rows == {found.languages.index(code) for code in languages}
    with pytest.raises(ValueError, match="no neuron is in 4 languages"):
        plots.upset(found, min_degree=4)


def test_ladder_marks_the_facts_that_beat_the_others(found):
    sig = lv.significance(found, n_permutations=19)
    figure = plots.significance_ladder(sig, statistic="shared")
    shown = {trace.name: trace for trace in figure.data}
    beaten = [name for name in shown if name.startswith("observed, q")]
    firm = (sig.q_value[1, 1] < 0.05).sum()
    assert beaten == [f"observed, q < 0.05 against other facts ({firm})"]
    dots = [t for t in figure.data if t.name.startswith("observed")]
    values = {x: y for t in dots for x, y in zip(t.x, t.y, strict=True)}
    assert values == dict(zip(sig.facts, sig.observed[1], strict=True))


def test_threshold_lines_show_each_comparison():
    table = pd.DataFrame(
        {
            "fraction": [0.01, 0.1] * 3,
            "comparison": ["same fact"] * 2 + ["other fact"] * 2 + ["chance"] * 2,
            "jaccard": [0.5, 0.6, 0.1, 0.2, 0.0, 0.1],
            "low": [0.4, 0.5, 0.0, 0.1, 0.0, 0.0],
            "high": [0.6, 0.7, 0.2, 0.3, 0.1, 0.2],
        }
    )
    figure = plots.threshold_lines(table)
    assert {t.mode for t in figure.data if t.fill} == {"lines"}  # no dots on the bands
    lines = {t.name: t for t in figure.data if t.mode == "lines+markers"}
    assert list(lines["other fact"].y) == [0.1, 0.2]
    assert list(lines["same fact"].x) == [0.01, 0.1]


def made_up_effects():
    generator = np.random.default_rng(0)
    log_p = -generator.random((5, 2, 4, 3))
    return lv.Effects(
        sets=("en", "zh"),
        facts=("A", "B", "C", "D"),
        languages=("en", "fr", "zh"),
        n_neurons=np.full((2, 4), 7.0),
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


def test_transfer_is_drawn_by_what_training_showed(found, facts):
    prompts = facts.filter(relation="capital", subjects=["FR", "JP", "PE"]).prompts()
    known = lv.AnswerScores(
        log_prob=torch.zeros(len(prompts)),
        rank=torch.tensor([int(prompt.split == "held-out pair") for prompt in prompts]),
        prompts=tuple(prompts),
        provenance=lv.Provenance("made-up", "", "score_answers"),
    )
    figure = plots.transfer_and_sharing({"one": known}, {"one": found})
    told, sharing = figure.data
    assert list(told.y) == [1.0, 0.0]
    across = found.by_fact(across_scripts=True)
    np.testing.assert_allclose(sharing.y[0], np.nanmean(across["same fact"]))


def test_error_bars_reach_from_low_to_high():
    bars = interval([2.0, 5.0], [1.5, 1.0], [4.0, 5.5], width=3)
    assert (list(bars["array"]), list(bars["arrayminus"])) == ([2.0, 0.5], [0.5, 4.0])
    assert (bars["symmetric"], bars["width"]) == (False, 3)
    assert [language_name(code) for code in ("hi", "xx")] == ["Hindi", "xx"]


# What deuteranope and protanope eyes make of linear RGB (Machado et al. 2009, severity 1).
EYES = {
    "normal": np.eye(3),
    "deuteranope": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanope": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}  # fmt: skip


def cielab(colour, eye):
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    rgb = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    rgb = np.clip(np.array(EYES[eye]) @ rgb, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ rgb / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", EYES)
def test_colours_of_languages_can_be_told_apart(eye):
    assert LANGUAGE_COLOURS.keys() == set(lv.load_facts().languages)
    seen = [cielab(colour, eye) for colour in LANGUAGE_COLOURS.values()]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(distances) > 15
    assert max(lightness for lightness, _, _ in seen) < 86  # on white


def test_any_other_language_keeps_a_colour_of_its_own():
    assert language_colour("zh-TW") == LANGUAGE_COLOURS["zh"]
    # Generation down: the same in every run.
    assert [language_colour(code) for code in ("nl", "ko", "sw")] == [
        "#4A30A6",
        "#49CA4D",
        "#8849CA",
    ]


def test_tokens_show_their_spaces():
    assert visible(" Rome\n") == "␣Rome↵"
    assert visible("<b>\x00") == r"&lt;b&gt;\u0000"


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


def test_figures_of_edits(embedded, facts):
    options = {"subject": "Peru", "relation": "capital", "new_object": "Rome", "languages": ["en"]}
    edits = [lv.lafn_edit(embedded, facts, **options, n_neurons=n) for n in (3, 6)]
    curves = plots.edit_curves({"few": edits[0], "more": edits[1]})
    for trace, edit in zip(curves.data, edits, strict=True):
        assert tuple(trace.y) == edit.curve
    sizes = plots.edits_by_size({"located": edits})
    assert tuple(sizes.data[0].x) == (3, 6)
    assert tuple(sizes.data[0].y) == tuple(edit.loss for edit in edits)
    assert "nats" in sizes.layout.yaxis.title.text


def an_evaluation(editor, right):
    """Edits of two cases in two languages, alone and together; `right` says which hold."""
    answers = tuple(
        Answered(
            case=case, edited_in=edited_in, metric=metric, language=language, text="",
            reference="Rome", aliases=(), before="Paris",
            after="Rome" if right(case, edited_in, language) else "Paris",
            token_accuracy_before=0.0, token_accuracy=0.0,
        )
        for case in ("a", "b")
        for edited_in in ("en", "zh", "all")
        for metric in ("reliability", "generality")
        for language in ("en", "zh")
    )  # fmt: skip
    return Evaluation(editor, answers, lv.Provenance("made-up", "", "made-up"))


def test_figures_of_an_evaluation():
    own = an_evaluation("own", lambda case, edited_in, language: edited_in in (language, "all"))
    figure = plots.edit_matrix(own)
    assert figure.data[0].z.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert list(figure.data[0].y) == ["English", "Chinese", "all languages"]
    assert "reliability" in figure.layout.title.text
    half = an_evaluation("half", lambda case, edited_in, language: case == "a")
    both = plots.editor_comparison({"own": own, "half": half})
    assert [x.text for x in both.layout.annotations[:2]] == ["reliability", "generality"]
    without, edited = both.data[:2]
    assert list(edited.y) == ["own", "half"]
    assert (list(edited.x), list(without.x)) == ([1, 0.5], [0, 0])
    assert list(edited.error_x.array) == [0, 0.5]
