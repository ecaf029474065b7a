"""Checkpoints of a training: which folders are taken, in which order, and what is measured."""

import shutil

import numpy as np
import pytest

import lafn_viz as lv
from lafn_viz.core.paths import data_folder

FEW = {"method": "gradient_x_activation", "progress": False}


@pytest.fixture(scope="module")
def few():
    facts = lv.load_facts().filter(relation="capital", languages=["en", "de", "ru", "ar"])
    return facts.filter(subjects=["FR", "JP", "EG", "CA", "KE"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The control as an early checkpoint and the embedded model as a late one."""
    out = tmp_path_factory.mktemp("run")
    for step, name in ((100, "embedded-control"), (20, "embedded")):
        shutil.copytree(data_folder() / "models" / name, out / f"checkpoint-{step}")
    (out / "logs").mkdir()
    return out


@pytest.fixture(scope="module")
def history(folder, few):
    return lv.over_checkpoints(folder, few, **FEW)


def test_checkpoints_are_ordered_by_their_steps(history, folder):
    assert history.steps == (20, 100)
    assert history.model == folder.name
    assert set(history.values["step"]) == {20, 100} == set(history.pairs["step"])


def test_measures_are_those_of_the_package_on_each_model(history, few, embedded):
    """The answers and the Jaccard index are what `score_answers` and `overlap` give."""
    chosen = history.values[history.values["step"] == 20].set_index(["measure", "fact_id"])
    wordings = {key: of.held_out for key, of in few.paraphrases.items()}
    asked = [
        p
        for p in few.prompts()
        if p.paraphrase in wordings[p.relation, p.language]
        and p.language not in few[p.fact_id].held_out
    ]
    known = lv.score_answers(embedded, asked).to_frame().groupby("fact_id")["known"].mean()
    for fact, share in known.items():
        assert chosen.loc[("knowing", fact), "value"].item() == pytest.approx(share)
    shown = [
        p
        for p in few.prompts()
        if p.paraphrase not in wordings[p.relation, p.language]
        and p.language not in few[p.fact_id].held_out
    ]
    scores = lv.attribute(embedded, shown, method=FEW["method"])
    sets = lv.select_neurons(scores, fraction=0.02)
    found = lv.overlap(sets, min_languages=4, min_scripts=3).by_fact(across_scripts=True)
    values = [chosen.loc[("sharing", f.id), "value"].item() for f in few]
    assert values == pytest.approx(found["same fact"], abs=0.02)  # unknown prompts choose, too


def test_transfer_is_measured_where_training_never_shows_a_fact(history, few):
    held_out = {fact.id for fact in few if set(fact.held_out) & set(few.languages)}
    measured = history.values[history.values["measure"] == "transfer"]
    assert set(measured["fact_id"]) == held_out


def test_more_facts_may_be_asked_than_are_studied(folder, few):
    more = lv.load_facts().filter(relation="capital", languages=few.languages).sample(20, seed=0)
    history = lv.over_checkpoints({1: folder / "checkpoint-20"}, few, asked=more, **FEW)
    counts = history.values.groupby("measure")["fact_id"].nunique()
    assert counts["knowing"] == 20
    assert counts["sharing"] == len(few.facts)
    assert np.isfinite(history.values.loc[history.values["measure"] == "effect", "value"]).all()


@pytest.mark.parametrize(
    ("checkpoints", "said"),
    [
        ({}, "there is no checkpoint"),
        ({"first": "embedded"}, "has no step"),
        (["embedded"], "'embedded' has no step"),
        (["a/step-1", "b/step-1"], "two checkpoints are of step 1"),
        ("no/such/folder", "is no folder"),
        (3, "give the folder"),
    ],
)
def test_checkpoints_that_cannot_be_ordered_are_refused(few, checkpoints, said):
    with pytest.raises(ValueError, match=said):
        lv.over_checkpoints(checkpoints, few, progress=False)


def test_a_folder_without_checkpoints_is_refused(few, tmp_path):
    with pytest.raises(ValueError, match="there is no checkpoint"):
        lv.over_checkpoints(tmp_path, few, progress=False)


def test_facts_that_leave_nothing_to_measure_are_refused(few, folder):
    with pytest.raises(ValueError, match="0 to measure them"):
        lv.over_checkpoints(folder, few, select_on=range(6), progress=False)
