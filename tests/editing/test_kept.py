"""What an edit keeps is what the model writes, not what the data say."""

from dataclasses import replace

import pytest

import lafn_viz as lv
from lafn_viz.editing.kept import N_WRITTEN, kept_prompts
from lafn_viz.editing.optimise import edit_case
from lafn_viz.models.generation import generate
from lafn_viz.models.tokens import encode

LANGUAGES = ["en", "ru"]


@pytest.fixture
def case(facts):
    return lv.counterfactual_case(
        facts, subject="Japan", relation="capital", new_object="Rome", languages=LANGUAGES
    )


def test_relations_without_a_known_object_are_kept_too(case):
    relations = [prompt.relation for prompt in case.keep["ru"]]
    assert relations == ["continent", "continent", "language", "language", "currency"]
    assert "Япония" in case.keep["ru"][-1].text


def test_prompts_are_answered_by_the_beginning_of_what_the_model_writes(tiny, embedded, case):
    prompts = case.prompts("keep", languages=LANGUAGES)
    for model in (embedded, tiny("gpt2")):
        kept = kept_prompts(model, case, LANGUAGES)
        for prompt, given, written in zip(kept, prompts, generate(model, prompts), strict=True):
            assert replace(prompt, answer=given.answer, aliases=given.aliases) == given
            if prompt.answer != given.answer:
                assert written.text.startswith(prompt.answer)
                assert len(encode(model, prompt).answer) <= N_WRITTEN
    assert kept_prompts(embedded, replace(case, keep={}), LANGUAGES) == []


@pytest.mark.slow
def test_less_of_what_the_data_do_not_know_changes(embedded, facts):
    case = lv.counterfactual_case(
        facts, subject="Argentina", relation="capital", new_object="Rome", languages=LANGUAGES
    )
    known = [p for p in case.prompts("keep", languages=LANGUAGES) if p.relation != "currency"]
    assert len(known) < len(case.prompts("keep", languages=LANGUAGES))
    asked = [
        lv.Prompt.of(
            text.format(subject=case.subject[x]), "yen", subject=case.subject[x], language=x
        )
        for x in LANGUAGES
        for text in facts.paraphrases["currency", x].texts[1:]
    ]
    before = [written.text for written in generate(embedded, asked)]
    unchanged = []
    for keep in (known, None):
        with lv.edited(embedded, edit_case(embedded, case, keep=keep, progress=False)):
            after = [written.text for written in generate(embedded, asked)]
        unchanged.append(sum(a == b for a, b in zip(after, before, strict=True)))
    assert unchanged[0] < unchanged[1]
