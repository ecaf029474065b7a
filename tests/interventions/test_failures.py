"""Failed prompts by hand, of each kind, and what counts as leading."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up import lens_of

import lafn_viz as lv

FACTS = "ABCDEF"


def made_up(change=None):
    """A lens of six facts asked in Russian, one of each kind, one answered and one that is tied."""
    rank = np.full((6, 3, 3), 500.0)
    rank[:, 0] = 200
    rank[0, 1] = [0, 40, 90]  # A: English leads, Russian never does
    rank[1] += 1  # B: nothing leads
    rank[2, 1] = [20, 30, 4]  # C: Russian leads, and is not written
    rank[3, 2] = [60, 70, 0]  # D: Russian is written first
    rank[4, 2] = [9, 9, 0]  # E: the whole answer
    rank[5, 1] = 0  # F: the names begin alike
    control = np.full((6, 3, 2, 3), 900.0)
    control[:, 0] = [[150, 160, 170], [300, 310, 320]]
    if change is not None:
        change(control)
    token = np.array([[11, 12, 13]] * 5 + [[11, 11, 11]])
    return lens_of(rank, control, token, [(fact, "ru") for fact in FACTS])


def scores_of(lens, known="E"):
    rank = torch.tensor([0 if prompt.fact_id in known else 3 for prompt in lens.prompts])
    return lv.AnswerScores(-rank.float(), rank, lens.prompts, lens.provenance)


def test_each_kind_is_what_its_layers_name():
    lens = made_up()
    found = lv.failures(lens, scores_of(lens))
    frame = found.to_frame().set_index("fact_id")
    assert frame["kind"].to_dict() == {
        "A": "lost on the way out", "B": "unknown", "C": "other answer", "D": "form",
    }  # fmt: skip
    # Other objects lead in the first layer, from rank 150 on.
    assert set(found.within) == {100}
    assert frame["led_by"].to_dict() == {"A": "en", "B": "", "C": "ru", "D": "ru"}
    assert frame["layer"].to_dict() == {"A": 1, "B": -1, "C": 1, "D": 2}
    assert (found.n_answered, found.n_left_out) == (1, 1)
    assert repr(found).startswith("Failures(4 of 5 prompts: 1 unknown, 1 lost on the way out")
    assert found.by_language().loc["ru"].tolist() == [1, 1, 1, 1]
    assert found.examples("lost on the way out") == ["A is x (not B; after layer 1 led en)"]
    assert found.examples("unknown") == ["A is x (not B)"]


def test_other_objects_are_sorted_by_the_same_rule():
    def written(control):
        control[2, 2, 1] = [800, 800, 0]  # in place of C

    lens = made_up(written)
    found = lv.failures(lens, scores_of(lens))
    table = found.summary(draws=99)
    assert table["count"].tolist() == [1, 1, 1, 1]
    # One of two other objects is written in place of C; nothing is said of the other seven.
    assert table["control"].tolist() == [7 / 8, 0, 0, 1 / 8]
    np.testing.assert_allclose(table["difference"], table["share"] - table["control"])
    # Facts of the half without C choose 100, with which this object leads; C's half chooses 1.
    assert found.false_leads == pytest.approx(0.5 / 3 / 2, abs=0.05)
    assert set(found.within) == {1, 100}


def test_a_name_that_another_object_outranks_does_not_lead():
    def outranked(control):
        control[0, 1, 0, 0] = 0  # as likely as the English name of A

    lens = made_up(outranked)
    assert lv.failures(lens, scores_of(lens)).to_frame()["kind"][0] == "unknown"


def test_a_fact_does_not_choose_its_own_threshold():
    def early(control):
        control[0, 0, 0] = 2

    def within(change):
        lens = made_up(change)
        found = lv.failures(lens, scores_of(lens))
        return dict(zip([p.fact_id for p in found.prompts], found.within.tolist(), strict=True))

    before, after = within(None), within(early)
    assert before["A"] == after["A"]
    assert before != after
    assert set(after.values()) == {100, 2}
    assert after["A"] == 100


def test_bad_input_gets_one_sentence():
    lens = made_up()
    scores = scores_of(lens)
    few = lv.AnswerScores(scores.log_prob[:2], scores.rank[:2], lens.prompts[:2], lens.provenance)
    with pytest.raises(ValueError, match="4 of 6 prompts of the lens have no score"):
        lv.failures(lens, few)
    with pytest.raises(ValueError, match="none can be sorted"):
        lv.failures(lens, scores_of(lens, FACTS))
    one = replace(lens, prompts=tuple(replace(p, fact_id="A") for p in lens.prompts))
    with pytest.raises(ValueError, match="all prompts are of 1 fact"):
        lv.failures(one, scores_of(one))
    with pytest.raises(ValueError, match="scores is a LanguageLens"):
        lv.failures(lens, lens)
