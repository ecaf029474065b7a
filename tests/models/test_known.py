"""Shares of what a model knows, by hand, and their intervals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import lafn_viz as lv


@pytest.fixture
def capitals(facts):
    languages = ["en", "fr", "ru", "zh"]
    return facts.filter(relation="capital", languages=languages, subjects=["FR", "PE", "JP"])


def with_known(found, known_of):
    """The same result where `known_of` says which prompts are known."""
    answers = {
        shots: replace(
            scores, rank=torch.tensor([0 if known_of(shots, p) else 7 for p in scores.prompts])
        )
        for shots, scores in found.answers.items()
    }
    return replace(found, answers=answers)


@pytest.fixture
def found(tiny, capitals, facts):
    return lv.known_share(tiny("gpt2"), capitals, shots=(0, 1), paraphrases=(0, 2), examples=facts)


def test_answers_are_those_of_score_answers(tiny, capitals, facts, found):
    assert found.shots == (0, 1)
    for shots, scores in found.answers.items():
        prompts = [
            p for p in capitals.prompts(shots=shots, examples=facts) if p.paraphrase in (0, 2)
        ]
        assert list(scores.prompts) == prompts
        assert torch.equal(scores.log_prob, lv.score_answers(tiny("gpt2"), prompts).log_prob)


def test_shares_are_means_over_facts(found):
    def known(shots, prompt):
        if prompt.language == "en":
            return True
        return shots == 1 and prompt.fact_id == "capital/FR" and prompt.paraphrase == 0

    frame = with_known(found, known).to_frame().set_index(["shots", "relation", "language"])
    french = frame.loc[1, "capital", "fr"]
    # One of the two prompts of one of three facts.
    assert french["share"] == pytest.approx(1 / 6)
    assert (french["n_facts"], french["n_prompts"]) == (3, 6)
    assert 0 <= french["low"] < french["share"] < french["high"] <= 1
    # Of three facts that all are known, at least 29% are in general (0.025 ** (1 / 3)).
    english = frame.loc[0, "capital", "en"]
    assert english[["share", "high"]].tolist() == [1, 1]
    assert english["low"] == pytest.approx(0.025 ** (1 / 3))
    assert frame.loc[0, "capital", "zh"]["high"] == pytest.approx(1 - 0.025 ** (1 / 3))


def test_shares_of_wordings(found):
    frame = with_known(found, lambda shots, p: p.paraphrase == 2).to_frame(by="paraphrase")
    assert frame.set_index(["shots", "paraphrase"])["share"].to_dict() == {
        (0, 0): 0, (0, 2): 1, (1, 0): 0, (1, 2): 1,
    }  # fmt: skip


def test_facts_known_in_several_languages_and_scripts(found):
    told = {"capital/FR": ("en", "fr"), "capital/PE": ("en", "ru"), "capital/JP": ("ru", "zh")}
    some = with_known(
        found, lambda shots, p: shots == 1 and p.language in told[p.fact_id] and p.paraphrase == 0
    )
    assert some.facts(shots=0, languages=1, scripts=1) == ()
    # Half of the prompts is no more than half.
    assert some.facts(shots=1, languages=1, scripts=1) == ()
    of_any = some.facts(shots=1, languages=2, scripts=1, share=0)
    assert set(of_any) == set(told)
    two_scripts = some.facts(shots=1, languages=2, scripts=2, share=0)
    assert set(two_scripts) == {"capital/PE", "capital/JP"}
    assert some.facts(shots=1, languages=3, scripts=1, share=0) == ()
    assert some.facts(shots=1, languages=2, scripts=2, paraphrases=0) == two_scripts
    assert some.facts(shots=1, languages=1, scripts=1, share=0, paraphrases=2) == ()
    with pytest.raises(ValueError, match="shots=2; give one that was asked for: 0, 1"):
        some.facts(shots=2)


def test_what_cannot_be_asked_is_told(tiny, capitals, facts):
    model = tiny("gpt2")
    with pytest.raises(ValueError, match="at least one number of examples"):
        lv.known_share(model, capitals, shots=())
    with pytest.raises(ValueError, match="numbers of wordings that these facts have"):
        lv.known_share(model, capitals, shots=0, paraphrases=99)
    with pytest.raises(ValueError, match="examples=load_facts"):
        lv.known_share(model, capitals.filter(subjects="FR"))


def test_the_figure_shows_each_share_in_its_cell(found):
    def known(shots, prompt):
        return shots == 1 and prompt.language == "ru"

    figure = lv.plots.known_shares(with_known(found, known))
    panels = figure.data
    assert [a.text for a in figure.layout.annotations] == ["no example", "after 1 example"]
    assert np.asarray(panels[0].z).max() == 0
    row = list(panels[1].y).index("Russian")
    assert np.asarray(panels[1].z)[row, 0] == 1
    assert np.asarray(panels[1].z).sum() == 1
    assert {(panel.zmin, panel.zmax) for panel in panels} == {(0, 1)}
    assert panels[0].x[0].endswith("n = 3")
