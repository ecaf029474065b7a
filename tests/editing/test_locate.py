"""Which prompts show where an edit belongs."""

from collections import Counter

from lafn_viz.editing.locate import WORDINGS, some_of_each_language


def test_every_language_and_every_wording_occurs(facts):
    prompts = facts.filter(relation="capital", subjects="Japan").prompts()
    some = some_of_each_language(prompts)
    assert len(set(some)) == len(some)
    assert set(some) < set(prompts)
    assert set(Counter(p.language for p in some).values()) == {WORDINGS}
    assert {p.paraphrase for p in some} == {p.paraphrase for p in prompts}


def test_few_prompts_are_all_taken(facts):
    few = facts.filter(relation="capital", subjects="Japan").prompts()[:1]
    assert some_of_each_language(few) == few
    assert some_of_each_language([]) == []
