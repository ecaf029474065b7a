"""Integrated gradients finds planted neurons; random scores and decoy-prone methods do not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import lafn_viz as lv
from lafn_viz.interventions.planted import recovery
from lafn_viz.plots import planted_recovery

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scores(planted):
    return lv.method_scores(planted, ["integrated_gradients", "activation", "gradient", "random"])


@pytest.fixture(scope="module")
def table(planted, scores):
    return lv.score_methods(planted, scores)


def test_integrated_gradients_finds_them_and_random_scores_do_not(table):
    recall = table["recall"]
    assert recall["integrated_gradients"] > 0.8
    assert recall["integrated_gradients"] > recall["activation"] + 0.1
    assert recall["random"] < 0.1
    low, high = table["recall_low"], table["recall_high"]
    assert ((low <= recall) & (recall <= high)).all()
    # A gradient alone does not see what fires.
    assert recall["integrated_gradients"] > recall["gradient"] + 0.1
    assert table.loc["gradient", "decoys"] > table.loc["integrated_gradients", "decoys"]


def test_recovery_says_how_many_facts_its_intervals_are_over(table):
    assert (table["facts"] == 2).all()
    assert (table["n"] == 2 * 3).all()


def test_languages_of_a_fact_are_no_independent_items():
    same = pd.DataFrame({"fact": ["a"] * 6 + ["b"] * 6 + ["c"] * 6, "recall": [0.9, 0.5, 0.7] * 6})
    differ = same.assign(recall=[0.9] * 6 + [0.5] * 6 + [0.7] * 6)
    means = [recovery._means(cases.copy(), 0) for cases in (same, differ)]
    assert means[0]["recall"] == pytest.approx(means[1]["recall"])
    spread = [one["recall_high"] - one["recall_low"] for one in means]
    assert spread[0] == pytest.approx(0)
    assert spread[1] > 0.4


def test_overlap_tells_agnostic_from_specific(planted, scores):
    one = {"integrated_gradients": scores["integrated_gradients"]}
    verdict = lv.score_overlap(planted, one).loc["integrated_gradients"]
    assert verdict.loc["agnostic", "agnostic"] > 0.6
    assert verdict.loc["specific", "specific"] > 0.6
    assert verdict.loc["specific", "agnostic"] == 0
    verdicts = ["agnostic", "specific", "specific_elsewhere", "some_languages", "missed"]
    np.testing.assert_allclose(verdict[verdicts].sum(axis=1), 1)


def test_scores_name_their_method_and_others_are_refused(planted, scores):
    assert [one.provenance.method for one in scores.values()] == list(scores)
    few = {"gradient": scores["gradient"].select(lambda prompt: prompt.paraphrase < 2)}
    for score in (lv.score_methods, lv.score_overlap):
        with pytest.raises(ValueError, match="scores of 'gradient' are of other prompts"):
            score(planted, few)


def test_the_figure_shows_every_method_and_its_control(table):
    figure = planted_recovery(table)
    recall, decoys = figure.data
    assert recall.y[0] == "random"
    assert recall.y[-1] == "integrated gradients"
    assert list(recall.x) == sorted(recall.x)
    assert dict(zip(decoys.y, decoys.x, strict=True))["gradient"] == pytest.approx(
        table.loc["gradient", "decoys"]
    )
    with pytest.raises(ValueError, match="without recall"):
        planted_recovery(table.drop(columns="recall"))


def test_random_scores_name_their_seed(scores):
    source = scores["random"].provenance
    assert source.seed == 0
    assert source.options == {"position": "answer"}


def test_a_method_that_fails_keeps_the_others(planted, scores, table, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(recovery, "_ablated", fail)
    with pytest.warns(lv.SkippedWarning, match=r"1 of 2 methods .* 'ablation' \(out of memory\)"):
        found = lv.method_scores(planted, ["ablation", "activation"])
    assert list(found) == ["activation"]
    assert found["activation"].values.equal(scores["activation"].values)
    values = scores["gradient"].values.clone()
    values[0, 0, 0] = float("nan")
    damaged = {**scores, "gradient": replace(scores["gradient"], values=values)}
    with pytest.warns(lv.SkippedWarning, match="1 of 4 methods left out: 'gradient'"):
        found = lv.score_methods(planted, damaged)
    assert found.equals(table.drop(index="gradient"))
