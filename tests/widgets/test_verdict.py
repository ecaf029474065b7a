"""What the page says is wrong with an edit, and what to try."""

from dataclasses import replace

import pytest
from made_up_edits import an_edit

import lafn_viz as lv
from lafn_viz.editing.evaluation.before_after import Asked, Comparison, Said
from lafn_viz.widgets.edit_stack import StagedEdit
from lafn_viz.widgets.verdict import Verdict

RIGHT, NEIGHBOUR = ("the edit", "Tokyo", "Rome"), ("same subject", "Asia", "Asia")


def compared(*answers: tuple[str, str, str]) -> Comparison:
    """Answers by group, before and after, to an edit whose new object is Rome."""
    groups, before, after = zip(*answers, strict=True)
    prompts = [lv.Prompt.of("The capital of Japan is", "Rome", subject="Japan") for _ in answers]
    return Comparison(Asked(tuple(prompts), groups), Said(before, ()), Said(after, ()))


@pytest.fixture
def staged(embedded, capitals) -> StagedEdit:
    case = lv.counterfactual_case(capitals, subject="JP", relation="capital", new_object="Rome")
    return StagedEdit(replace(an_edit(embedded), loss=0.1), case)


def test_an_edit_that_is_right_is_not_spoken_of(staged):
    verdict = Verdict(lambda _: None)
    assert not verdict.show(staged, compared(RIGHT, NEIGHBOUR))
    assert verdict.layout.display == "none"


@pytest.mark.parametrize(
    ("change", "answers", "said"),
    [
        ({}, [("the edit", "Tokyo", "Tokyo")], ["The edit failed", "in 0 of 1 languages"]),
        ({}, [RIGHT, ("the edit", "Tokyo", "Oslo")], ["falls short", "more neurons (now 12)"]),
        ({"loss": 3.2}, [RIGHT], ["falls short", "3.20 nats", "another position"]),
        (
            {},
            [RIGHT, NEIGHBOUR, ("other subjects", "Lima", "Rome")],
            ["falls short", "1 of 2 answers about other facts", "less than 1"],
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_try(staged, change, answers, said):
    verdict, staged = Verdict(lambda _: None), replace(staged, edit=replace(staged.edit, **change))
    verdict.undecided = staged.edit
    assert verdict.show(staged, compared(*answers))
    assert verdict.layout.display == ""
    for words in said:
        assert words in verdict.text.value
    assert verdict.question.layout.display == ""
    verdict.keep_button.click()
    assert verdict.show(staged, compared(*answers))
    assert verdict.question.layout.display == "none"


def test_what_the_sliders_did_is_told_apart_from_the_edit(staged):
    verdict = Verdict(lambda _: None)
    verdict.show(replace(staged, scale=0.0), compared(("the edit", "Tokyo", "Tokyo")))
    assert "move the sliders back" in verdict.text.value
    assert "more neurons" not in verdict.text.value
