import re

import pytest

import lafn_viz as lv


def test_embedded_facts_are_many_and_in_many_scripts(facts):
    assert len(facts) >= 600
    assert len(facts.languages) >= 10
    assert set(facts.relations) >= {"capital", "continent", "currency", "language"}
    france = facts["capital/FR"]
    assert france.object["ru"] == "Париж"
    assert france.object["zh"] == "巴黎"
    assert france.object["hi"] == "पेरिस"


@pytest.mark.slow
def test_every_prompt_holds_its_subject_and_asks_for_an_answer_that_comes_last(facts):
    for prompt in facts.prompts():
        start, end = prompt.subject_span
        assert prompt.text[start:end] == prompt.subject
        assert prompt.text == prompt.text.rstrip()
        assert prompt.separator == ("" if prompt.language in ("zh", "ja") else " ")


def test_answers_of_capitals_and_cities_cannot_be_read_off_the_question(facts):
    for fact in facts.filter(relation=["capital", "country"]):
        assert not fact.leaks
        for language in fact.languages:
            assert fact.object[language].casefold() not in fact.subject[language].casefold()


def test_about_an_eighth_of_the_pairs_is_held_out_in_every_language(facts):
    for language in facts.languages:
        share = sum(language in fact.held_out for fact in facts) / len(facts)
        assert 0.11 < share < 0.13
    assert max(len(fact.held_out) for fact in facts) <= 2


def test_splits_are_told_apart(facts):
    fact = next(f for f in facts if "en" in f.held_out)
    asked = facts.filter(subjects=fact.subject_id, relation=fact.relation, languages=["en"])
    assert {prompt.split for prompt in asked.prompts()} == {"held-out pair"}
    other = next(f for f in facts if not f.held_out and f.relation == "capital")
    one = facts.filter(subjects=other.subject_id, relation="capital", languages="en")
    assert [p.split for p in one.prompts()].count("held-out paraphrase") == 1
    assert all(p.split == "trained" for p in one.prompts(splits=["trained"]))


def test_filter_by_name_in_any_language_and_without_leaks(facts):
    assert len(facts.filter(relation="capital", subjects="Франция")) == 1
    assert facts.filter(relation="capital", subjects=["日本"]).facts[0].subject_id == "JP"
    frame = facts.filter(leaking=False).to_frame()
    assert not frame["leaks"].any()
    assert facts.to_frame()["leaks"].any()


def test_sample_is_the_same_for_a_seed(facts):
    assert facts.sample(5, seed=1).facts == facts.sample(5, seed=1).facts
    assert facts.sample(5, seed=1).facts != facts.sample(5, seed=2).facts
    with pytest.raises(ValueError, match="cannot draw 9999"):
        facts.sample(9999)


def test_drawn_prompts_are_some_of_all_in_their_order(facts):
    every = facts.prompts(splits="held-out paraphrase", shots=2)
    options = {"splits": "held-out paraphrase", "shots": 2}
    some = facts.prompts(**options, n=40)
    places = [every.index(prompt) for prompt in some]
    assert places == sorted({*places})
    assert len(places) == 40
    assert facts.prompts(**options, n=40) == some
    assert [x.fact_id for x in facts.prompts(n=40, seed=1)] != [x.fact_id for x in some]
    assert facts.prompts(splits=options["splits"], n=len(every)) == facts.prompts(
        splits=options["splits"]
    )
    with pytest.raises(ValueError, match=r"cannot draw 999999 of \d+ prompts; give 1 to"):
        facts.prompts(n=999_999)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda f: f.filter(relation="mayor"), "unknown relation 'mayor'; there are capital"),
        (lambda f: f.filter(languages=["en", "xx"]), "unknown language 'xx'; there are en, fr"),
        (lambda f: f.filter(subjects="Atlantis"), "no fact here has the subject 'Atlantis'"),
    ],
)
def test_unknown_names_get_a_sentence_with_what_there_is(facts, call, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        call(facts)


def test_two_paraphrases_of_one_language_are_refused(facts):
    (row,) = {facts.paraphrases["capital", "zh"]}
    with pytest.raises(ValueError, match="two paraphrases are of one relation and language"):
        lv.FactSet(facts.facts, {("capital", "zh"): row, ("capital", "zh-CN"): row})
    assert lv.FactSet(facts.facts, {("capital", "zh_CN"): row}).paraphrases["capital", "zh"] == row
