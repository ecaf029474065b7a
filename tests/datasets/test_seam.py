"""Blanks, separators and answers where a prompt's text meets its answer."""

import warnings
from dataclasses import astuple

import pytest
from hypothesis import given, strategies as st

import lafn_viz as lv
from lafn_viz.datasets.languages import separator_of
from lafn_viz.datasets.seam import separator_at

BLANKS = ["", " ", "  ", "\u00a0", "\u3000", "\u200b", "\u200f ", " \ufeff", "\u202f"]
MEANT = {
    "en": ("The capital of Japan is", "Tokyo", "Japan", "The capital of Japan is Tokyo"),
    "zh": ("日本的首都是", "东京", "日本", "日本的首都是东京"),
    "th": ("เมืองหลวงของญี่ปุ่นคือ", "โตเกียว", "ญี่ปุ่น", "เมืองหลวงของญี่ปุ่นคือโตเกียว"),
    "ar": ("عاصمة اليابان هي", "طوكيو", "اليابان", "عاصمة اليابان هي طوكيو"),
}


@given(
    st.sampled_from(list(MEANT)), st.sampled_from(BLANKS), st.sampled_from(BLANKS),
    st.sampled_from([*BLANKS, "\n", "\t "]), st.booleans(),
)  # fmt: skip
def test_blanks_at_the_seam_are_one_with_the_separator(language, at_end, before, after, stated):
    text, answer, subject, whole = MEANT[language]
    language = language if stated else "en"  # "en" is also what counts where none is stated
    plain = lv.Prompt.of(text, answer, subject=subject, language=language)
    assert plain.text + plain.continuation == whole
    blanks = lv.Prompt.of(
        text + at_end, before + answer + after, subject=subject, language=language
    )
    assert astuple(blanks) == astuple(plain)


@pytest.mark.parametrize(
    ("text", "answer", "language", "whole"),
    [
        ("Q: the capital of Japan?\nA:", "Tokyo", "en", "Q: the capital of Japan?\nA: Tokyo"),
        ("The capital of Japan?\n", "Tokyo", "en", "The capital of Japan?\nTokyo"),
        ("The capital of Japan?\n ", "Tokyo", "en", "The capital of Japan?\nTokyo"),
        ("The capital of Japan?", "\nTokyo", "en", "The capital of Japan?\nTokyo"),
        ("Japan\t", "Tokyo", "en", "Japan\tTokyo"),
        ("\ufeffThe capital of Japan is", "Tokyo", "en", "The capital of Japan is Tokyo"),
        ('The capital of Japan is "', "Tokyo", "en", 'The capital of Japan is "Tokyo'),
        ("日本の首都は「", "東京", "ja", "日本の首都は「東京"),
        ("The capital of Japan is (", "Tokyo", "en", "The capital of Japan is (Tokyo"),
        ("Du Japon, l'", "empire", "fr", "Du Japon, l'empire"),
        ("Of Japan: Toyo-", "hashi", "en", "Of Japan: Toyo-hashi"),
        ("Of Japan: Tokyo/", "Osaka", "en", "Of Japan: Tokyo/Osaka"),
        ("Japan, 1990–", "1995", "en", "Japan, 1990–1995"),
        ("Japan —", "Tokyo", "en", "Japan — Tokyo"),
        ("Of Japan, in US$", "5", "en", "Of Japan, in US$5"),
        ("Japan has 5 €", "and", "en", "Japan has 5 € and"),
        ("The people of Japan", ".", "en", "The people of Japan."),
        ("The people of Japan", ".NET", "en", "The people of Japan .NET"),
        ("The people of Japan's", "yen", "en", "The people of Japan's yen"),
        # A script without spaces decides, if the text is in it; else the language.
        ("日本の首都は、", "東京", "en", "日本の首都は、東京"),
        ("日本的首都是", "Tokyo", "en", "日本的首都是Tokyo"),
        ("The word for Japan is", "日本国", "en", "The word for Japan is 日本国"),
        ("日本 (Japan) 的首都是", "Tokyo", "zh", "日本 (Japan) 的首都是Tokyo"),
        ("Japan 日本", "has", "en", "Japan 日本 has"),
        ("Japan 日本的人口是", "1亿", "zh", "Japan 日本的人口是1亿"),
        ("The population of Japan is", "125", "en", "The population of Japan is 125"),
    ],
)
def test_what_stands_between_is_what_a_text_would_have(text, answer, language, whole):
    subject = next(name for name in ("Japan", "Japon", "日本") if name in text)
    prompt = lv.Prompt.of(text, answer, subject=subject, language=language)
    assert prompt.text + prompt.continuation == whole
    start, stop = prompt.subject_span
    assert prompt.text[start:stop] == prompt.subject


def test_the_embedded_facts_are_written_as_their_languages_are(facts):
    for prompt in facts.sample(60).prompts()[::5]:
        expected = separator_of(prompt.language)
        assert prompt.separator == expected
        assert separator_at(prompt.text, prompt.answer, "en") == expected  # language left out


def test_an_own_separator_stays():
    plain = lv.Prompt.of("The capital of Japan is", "Tokyo", subject="Japan")
    fields = dict(zip(plain.__dataclass_fields__, astuple(plain), strict=True))
    assert lv.Prompt(**fields | {"separator": ""}).continuation == "Tokyo"
    assert lv.Prompt(**fields | {"separator": "\n", "text": plain.text + " "}).continuation == (
        "\nTokyo"
    )
    # A blank that was typed is the separator of a prompt that has none.
    typed = lv.Prompt(**fields | {"separator": "", "text": plain.text + " "})
    assert typed == plain


@pytest.mark.parametrize("blank", [" ", "\n", "\u200b", "\u3000", "\ufeff\u00a0"])
def test_text_and_answer_hold_more_than_blanks(blank):
    plain = lv.Prompt.of("The capital of Japan is", "Tokyo", subject="Japan")
    fields = dict(zip(plain.__dataclass_fields__, astuple(plain), strict=True))
    with pytest.raises(ValueError, match="has an empty text"):
        lv.Prompt(**fields | {"text": blank, "subject_span": None})
    with pytest.raises(ValueError, match="has an empty answer"):
        lv.Prompt.of("The capital of Japan is", blank, subject="Japan")


@pytest.mark.parametrize(
    ("text", "answer", "language"),
    [
        ("The capital of Japan is Tokyo", "Tokyo", "en"),
        ("The capital of Japan is Tokyo. ", " tokyo", "en"),
        ("The capital of Japan is Tokyo: Tokyo", "Tokyo", "en"),
        ("日本的首都是东京。", "东京", "zh"),
    ],
)
def test_a_text_that_ends_in_its_answer_asks_nothing(text, answer, language):
    subject = "Japan" if "Japan" in text else "日本"
    with pytest.raises(ValueError, match="already ends in its answer"):
        lv.Prompt.of(text, answer, subject=subject, language=language)


def test_a_text_that_names_its_answer_gets_a_warning():
    with pytest.warns(UserWarning, match="names its answer 'Tokyo' after the subject"):
        lv.Prompt.of("Japan, whose capital Tokyo is", "Tokyo", subject="Japan")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lv.Prompt.of("Tokyo is in Japan, whose capital is", "Tokyo", subject="Japan")
        lv.Prompt.of("The capital of Japan, say the Japanese, is", "Japan", subject="Japan")
        lv.Prompt.of("The capital of Singapore", "Singapore", subject="Singapore")
