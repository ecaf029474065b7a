"""One edit compared with before, question by question."""

import pytest

import lafn_viz as lv
from lafn_viz.editing.evaluation.before_after import Asked, Comparison, Said, ask, questions_of


@pytest.fixture(scope="module")
def facts() -> lv.FactSet:
    return lv.load_facts().filter(leaking=False)


def test_questions_are_held_out_and_neighbours_are_not_edited(facts):
    case = lv.counterfactual_case(
        facts, subject="Japan", relation="capital", new_object="Rome", languages=["en", "zh", "hi"]
    )
    asked = questions_of(case, facts)
    groups = dict.fromkeys(asked.groups)
    assert list(groups) == ["the edit", "same subject", "other subjects"]
    used = {prompt.text for prompt in case.prompts("edit") + case.prompts("keep")}
    assert not used & {prompt.text for prompt in asked.prompts}
    assert {prompt.language for prompt in asked.prompts} == {"en", "zh", "hi"}
    others = [p for p, group in zip(asked.prompts, asked.groups, strict=True) if "other" in group]
    # Italy first: an edit that writes Rome everywhere does not show there, but in Afghanistan.
    assert list(dict.fromkeys(p.fact_id for p in others)) == ["capital/IT", "capital/AF"]
    edited = {("IT", "capital"), ("JP", "continent")}
    fewer = questions_of(case, facts, edited=edited)
    assert not {p.fact_id for p in fewer.prompts} & {"capital/IT", "continent/JP"}
    assert "capital/AF" in {p.fact_id for p in fewer.prompts}


def test_what_went_well():
    prompts = [lv.Prompt.of(f"{x} is", "Rome", subject=x) for x in ("A", "B", "C", "D")]
    asked = Asked(tuple(prompts), ("the edit", "the edit", "same subject", "other subjects"))
    nothing = ((),) * 4
    before = Said(("Tokyo", "Tokyo", "Asia", "Paris"), nothing)
    after = Said(("Rome", "Tokyo", "Asia", "Rome"), nothing)
    found = Comparison(asked, before, after)
    assert found.well == (True, False, True, False)
    assert found.counts("the edit") == (1, 2)
    assert repr(found) == (
        "Comparison(went well: the edit 1 of 2, same subject 1 of 1, other subjects 0 of 1)"
    )
    assert list(found.to_frame()["well"]) == [True, False, True, False]


@pytest.mark.parametrize(
    ("text", "is_right"), [("Rome. It is", True), ("Rome", True), ("Romeo. It is", False)]
)
def test_an_answer_counts_by_its_beginning(text, is_right):
    asked = Asked((lv.Prompt.of("The capital is", "Rome", subject="capital"),), ("the edit",))
    found = Comparison(asked, Said(("Tokyo",), ((),)), Said((text,), ((),)))
    assert found.well == (is_right,)


def test_without_edits_the_answers_are_the_same(embedded, facts):
    case = lv.counterfactual_case(
        facts, subject="Japan", relation="capital", new_object="Rome", languages=["en", "zh"]
    )
    asked = questions_of(case, facts)
    plain = ask(embedded, asked)
    assert plain == ask(embedded, asked, lv.EditCache())
    place = asked.groups.index("same subject") - 1
    assert plain.texts[place] == "东京"
    assert plain.next_tokens[place][0][1] == pytest.approx(1, abs=0.1)
    assert [p for _, p in plain.next_tokens[0]] == sorted(
        (p for _, p in plain.next_tokens[0]), reverse=True
    )
