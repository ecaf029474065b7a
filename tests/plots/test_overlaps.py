"""Figures of overlaps: claim beside control, the same order in both, counts over languages."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from made_up import a_set

import lafn_viz as lv
from lafn_viz import plots


def test_heatmap_shows_claim_and_control_on_one_scale(overlap):
    figure = plots.overlap_heatmap(overlap)
    claim, control = figure.data
    assert list(claim.x) == ["English", "French", "Chinese"]
    assert (claim.zmin, claim.zmax) == (control.zmin, control.zmax)
    assert claim.z[0][1] == pytest.approx(overlap.jaccard[0, 1])
    assert control.z[2][1] == pytest.approx(overlap.jaccard_other_fact[2, 1])
    assert np.isnan(np.diag(np.array(claim.z))).all()
    assert "control" in figure.layout.annotations[1].text.lower()
    assert "chance" in figure.layout.title.subtitle.text


@pytest.mark.parametrize(
    "draw", [plots.overlap_heatmap, plots.layer_distribution, plots.language_tree, plots.upset]
)
def test_a_figure_of_overlaps_says_of_what_it_is(overlap, draw):
    own = overlap.of(facts=[overlap.facts[0]])
    assert own.facts[0] in draw(own).layout.title.subtitle.text
    assert "made-up" in draw(overlap).layout.title.subtitle.text  # the model
    assert f"{len(overlap.facts)} facts" in draw(overlap).layout.title.subtitle.text
    n_prompts = sum(neurons.n_prompts for neurons in own.sets.values())
    assert f"{n_prompts} prompts" in draw(own).layout.title.subtitle.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fraction": 0.005}, "best 0.5% of all neurons"),
        ({"top": 3}, "best 3 neurons"),
        ({}, "scores above 20% of the largest"),
    ],
)
def test_a_figure_of_overlaps_says_how_neurons_were_selected(embedded, options, said):
    facts = lv.load_facts().filter(relation="capital", subjects="FR", languages=["en", "fr"])
    prompts = [prompt for prompt in facts.prompts() if prompt.paraphrase == 0]
    scores = lv.attribute(embedded, prompts, method="activation")
    sets = lv.select_neurons(scores, **options)
    overlap = lv.overlap(sets, min_languages=2)
    strip = plots.attribution_strip(scores, agnostic=overlap)
    for figure in (plots.overlap_heatmap(overlap), strip):
        assert said in figure.layout.title.subtitle.text
        assert "France – capital" in figure.layout.title.subtitle.text
    assert (
        strip.data[0]
        == plots.attribution_strip(scores, agnostic=overlap.agnostic["capital/FR"]).data[0]
    )


def test_heatmap_without_a_control_says_so():
    alone = lv.overlap([a_set("A", "en", [(0, 1)]), a_set("A", "fr", [(0, 1)])])
    assert "(none)" in plots.overlap_heatmap(alone).layout.annotations[1].text


def test_pairs_of_one_script_and_of_two_are_told_apart(overlap):
    pairs = overlap.to_frame()
    one, two = plots.sharing_by_pair(pairs).data
    assert list(one.customdata) == ["English and French"]
    assert list(two.customdata) == ["English and Chinese", "French and Chinese"]
    assert list(one.y) == pytest.approx([overlap.jaccard[0, 1]])
    assert list(two.x) == pytest.approx(pairs["other_fact"][1:])
    with pytest.raises(ValueError, match="no pair of languages has both values"):
        plots.sharing_by_pair(pairs.assign(other_fact=np.nan))


def test_layers_show_agnostic_and_specific_neurons(overlap):
    agnostic, specific = plots.layer_distribution(overlap).data
    assert list(agnostic.y) == [0.5, 0.0]
    assert list(agnostic.x) == [0, 1]
    assert specific.marker.color != agnostic.marker.color


def test_layers_stand_beside_those_of_other_facts(overlap):
    own, control = (overlap.of(facts=[fact]) for fact in overlap.facts[:2])
    figure = plots.layer_distribution(own, control=control)
    for bars, beside, name in zip(
        figure.data[::2], figure.data[1::2], ("agnostic", "specific"), strict=True
    ):
        assert list(bars.y) == list(own.per_layer()[name])
        assert list(beside.y) == list(control.per_layer()[name])
        assert beside.marker.color not in {x.marker.color for x in figure.data[::2]}
    assert "Grey: the control, 1 other fact." in figure.layout.title.subtitle.text
    both = plots.layer_distribution(own, control=overlap).layout.title.subtitle.text
    assert f"mean of {len(overlap.facts)} other facts" in both
    with pytest.raises(ValueError, match="is of another model"):
        plots.layer_distribution(own, control=dataclasses.replace(control, shape=(9, 9)))


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


def test_the_number_above_the_highest_bar_has_room():
    table = pd.DataFrame(
        {"comparison": ["same fact", "other fact", "chance"], "jaccard": [0.2, 0.1, 0.05],
         "low": [0.1, 0.1, 0.05], "high": [0.5, 0.1, 0.05]}
    )  # fmt: skip
    figure = plots.model_comparison({"a": table})
    assert figure.layout.yaxis.range[1] >= 1.1 * 0.5


def test_tree_orders_both_panels_alike_and_by_likeness(overlap):
    figure = plots.language_tree(overlap)
    heatmaps = [trace for trace in figure.data if trace.type == "heatmap"]
    names = list(figure.layout.xaxis2.ticktext)
    # English and Chinese share most, so they stand side by side.
    assert abs(names.index("English") - names.index("Chinese")) == 1
    order = [["en", "fr", "zh"][["English", "French", "Chinese"].index(name)] for name in names]
    places = [overlap.languages.index(code) for code in order]
    for trace, matrix in zip(heatmaps, (overlap.jaccard, overlap.jaccard_other_fact), strict=True):
        expected = matrix[np.ix_(places, places)].copy()
        np.fill_diagonal(expected, np.nan)
        np.testing.assert_array_equal(np.array(trace.z, dtype=float), expected)


def test_upset_draws_counts_over_their_languages(overlap):
    figure = plots.upset(overlap)
    table = overlap.intersections()
    table = table[table["degree"] > 1].reset_index(drop=True)
    same, control = figure.data[:2]
    np.testing.assert_allclose(same.y, table["neurons"])
    np.testing.assert_allclose(control.y, table["other_facts"])
    dots = figure.data[3]
    for x, languages in enumerate(table["languages"]):
        rows = {y for column, y in zip(dots.x, dots.y, strict=True) if column == x}
        assert rows == {overlap.languages.index(code) for code in languages}
    with pytest.raises(ValueError, match="no neuron is in 4 languages"):
        plots.upset(overlap, min_degree=4)
