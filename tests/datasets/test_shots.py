"""What stands before a question says nothing about it, and is the same whatever else is asked."""

from dataclasses import replace

import pytest

import lafn_viz as lv
from lafn_viz.core.json_records import FactError


@pytest.fixture(scope="module")
def some(facts):
    return facts.filter(languages=["en", "ru", "zh"]).sample(150)


def test_examples_are_other_facts_in_the_same_words(some):
    answered = {
        (p.relation, p.language, p.paraphrase, p.text + p.continuation): p for p in some.prompts()
    }
    for prompt in some.prompts(shots=2, seed=3):
        place = prompt.relation, prompt.language, prompt.paraphrase
        others = [answered[*place, example] for example in prompt.examples]
        assert len(others) == prompt.shots == 2
        own = {prompt.subject.casefold(), prompt.answer.casefold()}
        for other in others:
            assert own.isdisjoint({other.subject.casefold(), other.answer.casefold()})
        assert others[0].answer != others[1].answer


def test_examples_change_nothing_else(some):
    with_examples = some.prompts(shots=3)
    assert [replace(p, examples=()) for p in with_examples] == some.prompts()
    prompt = with_examples[0]
    assert prompt.full_text == "\n".join([*prompt.examples, prompt.text])


def test_the_choice_depends_on_the_seed_and_not_on_what_else_is_asked(facts):
    capitals = facts.filter(relation="capital", languages=["en", "ja"])
    all_of_them = {(p.fact_id, p.language, p.paraphrase): p for p in capitals.prompts(shots=3)}
    few = capitals.filter(subjects=["FR", "PE"], languages="ja")
    for prompt in few.prompts(shots=3, examples=facts):
        assert prompt == all_of_them[prompt.fact_id, "ja", prompt.paraphrase]
    others = capitals.prompts(shots=3, seed=1)
    assert others[0].examples != capitals.prompts(shots=3)[0].examples
    # Most questions share their beginning, so that a model can read it once.
    first = [p for p in all_of_them.values() if (p.language, p.paraphrase) == ("en", 0)]
    assert len({p.examples for p in first}) <= 4 < len(first)


def test_no_example_gives_its_answer_away(facts):
    currencies = facts.filter(languages="en", relation=["language", "currency", "capital"])
    leaking = {p.text + p.continuation for fact in currencies if "en" in fact.leaks
               for p in replace(currencies, facts=(fact,)).prompts()}  # fmt: skip
    assert leaking
    used = {example for p in currencies.prompts(shots=3) for example in p.examples}
    assert used.isdisjoint(leaking)


def test_too_few_other_facts_are_told(facts):
    france = facts.filter(relation="capital", subjects="France", languages="en")
    with pytest.raises(FactError, match="0 other facts of relation 'capital' in language 'en'"):
        france.prompts(shots=1)
    assert len(france.prompts(shots=1, examples=facts)) == len(france.prompts())
    with pytest.raises(ValueError, match="give facts"):
        france.prompts(shots=1, examples=[1])
    with pytest.raises(ValueError, match="shots=-1; give a whole number of 0 or more"):
        france.prompts(shots=-1)
    # Where all answers are the same, no example can stand before any of them.
    alike = [f for f in facts.filter(relation="continent", languages="en") if f.object_id == "002"]
    assert len(alike) > 3
    with pytest.raises(FactError, match="0 other facts"):
        replace(facts, facts=tuple(alike)).filter(languages="en").prompts(shots=1)


def test_examples_of_your_own():
    prompt = lv.Prompt.of("Peru:", "Lima", subject="Peru", examples=["Japan: To\u0302kyo"])
    assert prompt.examples == ("Japan: T\u00f4kyo",)
    assert prompt.context == "Japan: T\u00f4kyo\n"
    assert prompt.text[slice(*prompt.subject_span)] == "Peru"
    for wrong in (["", "a"], [" "], ["\ud800"], 3):
        with pytest.raises(ValueError, match="examples"):
            lv.Prompt.of("Peru:", "Lima", subject="Peru", examples=wrong)
