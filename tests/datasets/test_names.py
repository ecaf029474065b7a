"""A text names its subject as whole words, in any way of writing it, or inflected."""

import unicodedata

import pytest
from hypothesis import given, settings, strategies as st

import lafn_viz as lv
from lafn_viz.datasets.names import find_name
from lafn_viz.datasets.text import letters_of, same_text


@pytest.mark.parametrize(
    ("language", "text", "name"),
    [
        # A name that is found lies between square brackets.
        ("en", "Unlike Nigeria's, the capital of [Niger] is", "Niger"),
        ("en", "Nigeria and [Niger] and Niger", "Niger"),
        ("en", "Unlike Guinea-Bissau, the capital of [Guinea] is", "Guinea"),
        ("en", "[Guinea]-Bissau", "Guinea"),
        ("en", "A [Nigerian] name", "Nigerian"),
        ("en", "[Niger]ia", "Niger"),
        ("en", "aNiger [Niger]ia", "Niger"),
        ("en", "Why is [JAPAN] rich?", "Japan"),
        ("en", "japan, [Japan]", "Japan"),
        ("en", "What will [Will] say?", "Will"),
        ("en", "Of [New\n\u00a0York] and", "New York"),
        ("en", "The [Ni\u00adger] delta", "Niger"),
        ("ru", "ivan of [Иваново]", "Иваново"),
        ("fr", "La capitale de [Côte d’Ivoire] est", "Côte d'Ivoire"),
        ("tr", "[Japonya]'nın başkenti", "Japonya"),
        ("tr", "[Japonya]nın başkenti", "Japonya"),
        ("tr", "[İSTANBUL]'un nüfusu", "İstanbul"),
        ("de", "Die Hauptstadt [Japan]s ist", "Japan"),
        ("fi", "[Japani]n pääkaupunki", "Japani"),
        ("ar", "عاصمة ال[يابان] هي", "يابان"),
        ("ar", "ما عاصمة [عُمان]؟", "عمان"),
        ("ar", "ما عاصمة [عمان]؟", "عُمان"),
        ("he", "מה בירת [יִשְׂרָאֵל]?", "ישראל"),
        ("ru", "Где [за́мок]?", "замок"),
        ("hi", "[जापान] की राजधानी", "जापान"),
        ("bn", "[ভারত]ের রাজধানী", "ভারত"),
        ("ko", "[일본]의 수도는", "일본"),
        ("zh", "请问[日本]的首都是", "日本"),
        ("ja", "インドネシアではなく[インド]の首都は", "インド"),
        ("ja", "[ﾆｼﾞｪｰﾙ]の首都は", "ニジェール"),
        ("th", "เมืองหลวงของประเทศ[ไทย]คือ", "ไทย"),
    ],
)
def test_where_a_name_stands(language, text, name):
    start, end = text.index("["), text.index("]") - 1
    text = text.replace("[", "").replace("]", "")
    assert find_name(text, name, language) == (start, end)
    decomposed = unicodedata.normalize("NFD", name)
    prompt = lv.Prompt.of(text, "A", subject=decomposed, language=language)
    assert prompt.text[slice(*prompt.subject_span)] == unicodedata.normalize("NFC", text[start:end])
    assert prompt.subject == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("What will Ann say?", "Will"),
        ("In the house", "US"),
        ("Perú", "Peru"),
        ("Nige ria", "Niger"),
        ("", "Niger"),
        ("Niger", " "),
        ("Niger", "\u200b"),
    ],
)
def test_a_name_that_does_not_stand_there(text, name):
    assert find_name(text, name) is None


LETTERS = st.text("aB éßİıΣ'’-·.٣عُمانйё½ﬁदि़्കല്日ガｶﾞ한มี\u200b\u00ad", max_size=8)


@settings(max_examples=300, deadline=None)
@given(before=LETTERS, name=LETTERS, after=LETTERS)
def test_what_is_found_is_the_name_and_a_name_of_its_own_is_always_found(before, name, after):
    text = f"{before} {name} {after}"
    span = find_name(text, name)
    if span is not None:
        assert same_text(text[slice(*span)], name)
    elif (letters := letters_of(name).strip()) and unicodedata.category(letters[0])[0] != "M":
        raise AssertionError("the name stands there letter by letter, between spaces")


def test_blanks_around_a_subject_are_no_part_of_it():
    prompt = lv.Prompt.of("The capital of Niger is", "Niamey", subject=" Niger ")
    assert prompt == lv.Prompt.of("The capital of Niger is", "Niamey", subject="Niger")
