"""The language of a typed text, guessed from what facts say in each language."""

import pytest

from lafn_viz.datasets.guessed_language import LanguageGuess


@pytest.mark.parametrize("read", ["capital", "language"])
def test_prompts_of_a_relation_that_was_not_read_are_recognised(facts, read):
    guess = LanguageGuess(facts.filter(relation=read))
    others = [relation for relation in facts.relations if relation != read]
    prompts = facts.filter(relation=others).sample(40, seed=1).prompts()
    right = sum(guess(prompt.text) == prompt.language for prompt in prompts)
    assert len(prompts) > 2000
    assert right > 0.97 * len(prompts)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("日本の首都は 東京", "ja"),
        ("日本的首都是 东京", "zh"),
        ("СТОЛИЦА  ЯПОНИИ", "ru"),
        ("12 34", None),
    ],
)
def test_short_texts(facts, text, language):
    assert LanguageGuess(facts)(text) == language


def test_a_script_that_no_language_has_is_no_language(facts):
    guess = LanguageGuess(facts.filter(languages=["en", "ru"]))
    assert guess("日本の首都は") is None
