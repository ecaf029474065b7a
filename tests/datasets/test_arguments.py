"""Prompts, facts and edit cases in every form that can be meant; a sentence for the others."""

import numpy as np
import pandas as pd
import pytest

import lafn_viz as lv
from lafn_viz.datasets.arguments import as_case, as_cases, as_facts, as_prompts

ASKED = lv.Prompt.of("The capital of Japan is", "Tokyo", subject="Japan")


@pytest.mark.parametrize(
    "given",
    [
        ASKED, [ASKED], (ASKED,), iter([ASKED]), {1: ASKED}.values(), pd.Series([ASKED]),
        np.array([ASKED], dtype=object),
    ],
)  # fmt: skip
def test_prompts_in_any_order_keeping_collection(given):
    assert as_prompts(given) == [ASKED]


def test_facts_stand_for_all_their_prompts(facts):
    japan = facts.filter(subjects="Japan")
    assert as_prompts(japan) == as_prompts(list(japan)) == japan.prompts()
    one = facts.filter(relation="capital", subjects="Japan", languages=["en", "ja"])
    assert as_prompts(next(iter(one))) == as_prompts([one]) == one.prompts()
    assert as_facts(one) is one


def test_a_fact_of_ones_own_has_no_paraphrases_by_itself(facts):
    fact = next(iter(facts))
    own = lv.Fact(**{**vars(fact), "subject": {**fact.subject, "en": "Atlantis"}})
    with pytest.raises(ValueError, match=r"is not an embedded one.* facts\.filter"):
        as_prompts([own])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("The capital", "prompts='The capital'; give"), (["The capital"], r"prompts\[0\]='The cap"),
        (None, "prompts=None; give"), (5, "prompts=5; give"), ({ASKED}, "prompts is a set; give"),
        ([ASKED, [ASKED]], r"prompts\[1\] is a list; give"), ([], "there are no prompts; give at"),
        (pd.DataFrame({"text": ["a"]}), r"prompts is a DataFrame of shape \(1, 1\); give"),
        (lv.Prompt, "prompts is the class Prompt; give"), ({"a": ASKED}, "prompts is a dict; give"),
        (ASKED.of, "prompts is a function; give"),
    ],
)  # fmt: skip
def test_what_stands_for_no_prompts_is_named(given, told):
    with pytest.raises(ValueError, match=told):
        as_prompts(given)


def test_cases_are_a_set_one_or_several(facts):
    cases = lv.counterfactual_cases(facts, n=2)
    assert as_cases(cases) is cases
    assert as_cases(iter(cases)) == as_cases(list(cases)) == cases
    assert as_case(cases[:1]) == as_case([cases[0]]) == as_case(cases[0]) == cases[0]
    assert len(as_cases([])) == 0
    with pytest.raises(ValueError, match=r"case holds 2 edit cases; give one of them"):
        as_case(cases)
    with pytest.raises(ValueError, match=r"cases\[0\] is a Fact; give edit cases"):
        as_cases(facts)
    with pytest.raises(ValueError, match=r"facts\[0\] is an EditCase; give facts"):
        as_facts(cases)
