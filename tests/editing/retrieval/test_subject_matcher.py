"""Cached subjects in texts: which fire, where, and which must not."""

import random
import subprocess
import sys
import time
import unicodedata

import pytest
from hypothesis import assume, given, settings, strategies as st

import lafn_viz as lv
from lafn_viz.editing.retrieval.folding import fold
from lafn_viz.editing.retrieval.longer_names import why_no_name
from lafn_viz.editing.retrieval.match import MATCH_RULES
from lafn_viz.editing.retrieval.subject_matcher import SubjectMatcher


@pytest.fixture(scope="module")
def names():
    listed = {}
    for fact in lv.load_facts():
        if fact.relation == "continent":
            listed[fact.subject_id] = fact.subject
    return listed


@pytest.fixture(scope="module")
def countries(names):
    return SubjectMatcher(names)


def one(names, *, language="en", **options):
    return SubjectMatcher({names: {language: names}}, **options)


def found(matcher, text, **options):
    return {m.key: (m.rule, text[slice(*m.span)]) for m in matcher.find(text, **options)}


# (language, text, subject, rule, what stands there)
VARIANTS = [
    ("ru", "Какой язык в Японии?", "JP", "fuzzy", "Японии"),
    ("ru", "Столица Нигерии", "NG", "fuzzy", "Нигерии"),
    ("ru", "Граница с Польшей проходит", "PL", "fuzzy", "Польшей"),
    ("ru", "СТОЛИЦА ЯПОНИЯ", "JP", "normalised", "ЯПОНИЯ"),
    ("tr", "Japonya'nın başkenti neresi?", "JP", "exact", "Japonya"),
    ("tr", "Japonyanın başkenti neresi?", "JP", "fuzzy", "Japonyanın"),
    ("tr", "italya'nın başkenti", "IT", "normalised", "italya"),
    ("de", "Was ist die Hauptstadt Japans?", "JP", "fuzzy", "Japans"),
    ("de", "Die Hauptstadt von OESTERREICH oder ÖSTERREICH", "AT", "normalised", "ÖSTERREICH"),
    ("es", "cual es la capital de japon", "JP", "normalised", "japon"),
    ("es", "la capital de Mexico", "MX", "normalised", "Mexico"),
    ("fr", "la capitale de l’Éthiopie", "ET", "exact", "Éthiopie"),
    ("fr", "la capitale de l'E\u0301thiopie", "ET", "exact", "E\u0301thiopie"),
    ("pt", "A capital da ITALIA é", "IT", "normalised", "ITALIA"),
    ("ar", "ما هي عاصمة اليابان؟", "JP", "exact", "اليابان"),
    ("ar", "وباليابان جبال", "JP", "normalised", "اليابان"),
    ("ar", "السفر لليابان", "JP", "normalised", "يابان"),
    ("ar", "عاصمة اليَابَان", "JP", "normalised", "اليَابَان"),
    ("ar", "عاصمة افغانستان", "AF", "normalised", "افغانستان"),
    ("hi", "जापान की राजधानी क्या है?", "JP", "exact", "जापान"),
    ("hi", "अफगानिस्तान में", "AF", "normalised", "अफगानिस्तान"),
    ("ja", "日本の首都はどこですか", "JP", "exact", "日本"),
    ("ja", "ｲﾝﾄﾞの首都", "IN", "normalised", "ｲﾝﾄﾞ"),
    ("zh", "请问日本的首都是哪里？", "JP", "exact", "日本"),
    ("zh", "埃塞俄比亚联邦的首都", "ET", "exact", "埃塞俄比亚"),
    ("th", "เมืองหลวงของJapanคืออะไร", "JP", "alias", "Japan"),
    ("en", "the capital of Guinea Bissau", "GW", "normalised", "Guinea Bissau"),
    ("en", "the capital of Afghanistann", "AF", None, None),
    ("en", "the capital of Kyrgystan", "KG", "fuzzy", "Kyrgystan"),
    ("en", "JAPAN'S CAPITAL", "JP", "normalised", "JAPAN"),
    ("en", "the capital of Ja\u200bp\u202ean", "JP", "normalised", "Ja\u200bp\u202ean"),
    ("en", "the capital of Ｊａｐａｎ", "JP", "normalised", "Ｊａｐａｎ"),
]


@pytest.mark.parametrize(("language", "text", "key", "rule", "there"), VARIANTS)
def test_variants_of_a_name(countries, language, text, key, rule, there):
    expected = {} if rule is None else {key: (rule, there)}
    assert found(countries, text, language=language) == expected


# (cached names, text): nothing fires
QUIET = [
    ("Niger", "The capital of Nigeria is Abuja"),
    ("Нигер", "Столица Нигерии"),
    ("Oman", "The capital of Romania, in Roman script"),
    ("Mali", "Malians and Somalia"),
    ("Austria", "The capital of Australia"),
    ("Iran", "The capital of Iraq"),
    ("Gambia", "The capital of Zambia"),
    ("Dominica", "The Dominican winter"),
    ("Paraguay", "The capital of Uruguay"),
    ("Iceland", "The capital of Ireland"),
    ("インド", "インドネシアの首都"),
    ("Turkey", "Should I roast the turkey in Rome?"),
    ("Sắt", "he sat on it"),
    ("C++", "vitamin C"),
    ("The Who", "who sang this song"),
    ("Charles River School", "Which river is by the school of Charles?"),
    ("University of Oxford", "The University of Cambridge"),
    ("Wyoming High School", "Which high school is by the river?"),
    ("Battle of the Nile", "the battle of the bulge"),
    ("World Cup 2010", "Who won the World Cup 2014?"),
    ("NGC 5985", "The galaxy NGC 5986"),
    ("You'll See", "Do you want to see it?"),
    ("Jovan Pavlović", "Who is Jovan Petrović?"),
    ("National Museum of Natural History", "the American Museum of Natural History"),
    ("Anna Maria Luisa Rossi", "Who was Elena Maria Luisa Rossi?"),
    ("阿尔巴尼亚", "阿尔及利亚的首都"),
    ("国际田联第19届挑战赛", "国际田联第20届挑战赛"),
]


@pytest.mark.parametrize(("name", "text"), QUIET)
def test_what_must_not_fire(name, text):
    language = "ru" if "и" in name else "en"
    assert one(name, language=language).find(text) == []


# (language, cached name, text, rule, what stands there)
OTHERWISE = [
    ("en", "The Garden of Death", "who painted garden of death", "normalised", "garden of death"),
    ("en", "Mercury (planet)", "How far is Mercury?", "normalised", "Mercury"),
    ("en", "Xi'an", "Where is Xi’an?", "normalised", "Xi’an"),
    ("fr", "Le Caire", "les rues du Caire", "normalised", "du Caire"),
    ("es", "El Salvador", "Salvador de Bahía", None, None),
    ("ru", "Пожарная часть Суздаль", "Кто из пожарной станции Суздаль?", "fuzzy",
     "пожарной станции Суздаль"),
    ("ru", "Шарль Бойер", "Была ли смерть Шарля Бойера?", "fuzzy", "Шарля Бойера"),
    ("cs", "Zahrada smrti", "Kdo je tvůrce „Zahrady smrti“?", "fuzzy", "Zahrady smrti"),
    ("en", "Oxford University", "the University of Oxford", "fuzzy", "University of Oxford"),
    ("en", "National Museum of Natural History", "a museum of natural history, national",
     "fuzzy", "museum of natural history, national"),
    ("en", "Aegean Speed Ferry Lines", "when did Aegean Speed Lines start", "fuzzy",
     "Aegean Speed Lines"),
    ("en", "HLA-DQ5", "das HLA-DQ5-Gen", "exact", "HLA-DQ5"),
    ("zh", "斯派克·休斯", "斯派克休斯来自哪里？", "normalised", "斯派克休斯"),
    ("zh", "国际田联综合项目挑战赛", "国际田联综合挑战赛何时创立？", "fuzzy", "国际田联综合挑战赛"),
    ("th", "สถานีดับเพลิงทูเดย์", "ใครสร้างสถานีดับเพลิงทูเดยท์", "fuzzy", "สถานีดับเพลิงทูเดยท์"),
    ("ko", "일본", "일본의 수도", "fuzzy", "일본의"),
    ("en", "!!!", "Who sings in !!! now?", "exact", "!!!"),
    ("en", "C++", "who wrote c++?", "normalised", "c++"),
    ("en", "Yahoo!", "who founded YAHOO! in 1994", "normalised", "YAHOO!"),
    ("uz", "Oʻzbekiston", "Poytaxt: O'zbekiston", "normalised", "O'zbekiston"),
    ("ml", "അവൻ", "ഇത് അവന്\u200d ആണ്", "normalised", "അവന്\u200d"),
    ("ja", "ガーナ", "ｶﾞｰﾅの首都", "normalised", "ｶﾞｰﾅ"),
    ("de", "Straße", "AN DER STRASSE", "normalised", "STRASSE"),
]  # fmt: skip


@pytest.mark.parametrize(("language", "name", "text", "rule", "there"), OTHERWISE)
def test_other_ways_to_write_a_name(language, name, text, rule, there):
    expected = {} if rule is None else {name: (rule, there)}
    assert found(one(name, language=language), text) == expected


def test_the_longest_name_wins_but_the_short_one_fires_elsewhere(countries):
    matcher = SubjectMatcher(
        {
            "GN": {"en": "Guinea"},
            "GQ": {"en": "Equatorial Guinea"},
            "CG": {"en": "Republic of the Congo"},
            "CD": {"en": "Democratic Republic of the Congo"},
        }
    )
    assert set(found(matcher, "The capital of Equatorial Guinea")) == {"GQ"}
    assert set(found(matcher, "The Republic of the Congo")) == {"CG"}
    assert set(found(matcher, "The Democratic Republic of the Congo")) == {"CD"}
    both = matcher.find("Equatorial Guinea is not Guinea")
    assert [(m.key, m.span) for m in both] == [("GQ", (0, 17)), ("GN", (25, 31))]


def test_the_language_of_the_text_decides_the_rule():
    matcher = SubjectMatcher({"DE": {"en": ["Germany", "FRG"], "de": "Deutschland"}})
    assert found(matcher, "Germany", language="en")["DE"][0] == "exact"
    assert found(matcher, "Germany", language="de")["DE"][0] == "alias"
    assert found(matcher, "FRG", language="en")["DE"][0] == "alias"
    assert found(matcher, "Deutschland")["DE"][0] == "exact"
    assert found(matcher, "Germany", language="en_US")["DE"][0] == "exact"
    tagged = SubjectMatcher({"DE": {"deu": "Deutschland"}}, language="de-AT")
    assert found(tagged, "Deutschlands")["DE"][0] == "fuzzy"
    assert found(tagged, "Deutschland")["DE"][0] == "exact"
    paper = SubjectMatcher({"DE": {"en": "Germany", "de": "Deutschland"}}, rules=("exact",))
    assert found(paper, "Germany", language="de") == {}
    assert found(paper, "GERMANY", language="en") == {}


def test_the_exact_rule_takes_any_normal_form():
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        matcher = one(unicodedata.normalize(form, "Pérou"), language="fr", rules=("exact",))
        text = unicodedata.normalize(other, "Le Pérou et Le Perou")
        name = unicodedata.normalize(other, "Pérou")
        assert [text[slice(*match.span)] for match in matcher.find(text)] == [name]


def test_a_name_of_two_subjects_fires_for_both():
    matcher = SubjectMatcher({"state": {"en": "Georgia"}, "country": {"en": "Georgia"}})
    assert set(found(matcher, "Where is Georgia?")) == {"state", "country"}


def test_explain_shows_what_did_not_fire_and_why(countries):
    table = countries.explain("Guinea-Bissau und die Hauptstadt Japans", language="de")
    assert list(table.columns) == [
        "key", "rule", "name", "start", "end", "text", "score", "fired", "why",
    ]  # fmt: skip
    fired = table[table["fired"]]
    assert set(fired["key"]) == {"GW", "JP"}
    assert (fired["why"] == "").all()
    assert (table[~table["fired"]]["why"] != "").all()
    inside = table[(table["key"] == "GN") & (table["text"] == "Guinea")]
    assert "longer name, with 'Bissau'" in inside["why"].iloc[0]


def test_bad_names_are_refused():
    with pytest.raises(ValueError, match=r"'FR' in 'fr' is blank .* leave the language out"):
        SubjectMatcher({"FR": {"en": ["France"], "fr": [" \u200b"]}})
    with pytest.raises(ValueError, match="'FR' has no name"):
        SubjectMatcher({"FR": {}})
    with pytest.raises(ValueError, match="no subject"):
        SubjectMatcher({})
    with pytest.raises(ValueError, match="from 0 to 1"):
        SubjectMatcher({"FR": {"en": ["France"]}}, min_score=70.0)


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters(exclude_categories=())))
def test_any_text_is_read_and_spans_lie_in_it(countries, text):
    for match in countries.find(text):
        start, end = match.span
        assert 0 <= start < end <= len(text)
    words = fold(text)
    assert all(words.words)
    assert all(a < b for a, b in zip(words.starts, words.ends, strict=True))
    assert all(b <= a for b, a in zip(words.ends, words.starts[1:], strict=False))


@settings(max_examples=100, deadline=None)
@given(name=st.text(st.characters(exclude_categories=()), min_size=1), around=st.text(" ,?\n—"))
def test_any_name_between_separators_is_found_literally(name, around):
    try:
        matcher = SubjectMatcher({"it": {"en": name}})
    except ValueError:
        assert not name.strip() or not fold(name).words
        return
    text = f"{around} {name} {around}"
    assume(not why_no_name(text, (0, len(text)), name, {"en"}))  # such as "a"
    (match,) = matcher.find(text)
    assert (match.rule, match.score) == ("exact", 1.0)
    assert text[slice(*match.span)] == name


@pytest.mark.slow
def test_every_prompt_of_the_facts_names_its_subject(countries):
    facts = lv.load_facts().filter(relation="continent")
    prompts = random.Random(0).sample(facts.prompts(), 800)
    subjects = {fact.id: fact.subject_id for fact in facts}
    for prompt in prompts:
        matches = countries.find(prompt.text, language=prompt.language)
        assert subjects[prompt.fact_id] in {match.key for match in matches}, prompt
        assert matches[0].rule == "exact"
        if matches[0].name == prompt.subject:
            assert prompt.text[slice(*matches[0].span)] == prompt.subject


def test_more_subjects_take_no_exact_match_but_by_a_longer_name(countries, names):
    for key in random.Random(1).sample(sorted(names), 25):
        alone = SubjectMatcher({key: names[key]})
        for language, name in names[key].items():
            text = f"… {name} …"
            assert found(alone, text, language=language) == {key: ("exact", name)}
            assert found(countries, text, language=language)[key] == ("exact", name)


@pytest.mark.slow
def test_long_and_odd_texts_are_read_in_time(countries):
    long = "the capital of nowhere \u0301\u202e言語\x00 " * 25_000
    begin = time.perf_counter()
    assert found(countries, long + "Japan")["JP"] == ("exact", "Japan")
    countries.find("\u0301\u0323" * 300_000)
    countries.find("日" * 300_000)
    # A guard against time that grows with the square of the length, no measurement.
    assert time.perf_counter() - begin < 30


def test_rules_are_in_order_and_need_no_torch(countries):
    matches = countries.find("Japan, ITALY и столица Нигерии, Espagne", language="en")
    places = [MATCH_RULES.index(match.rule) for match in matches]
    assert places == sorted(places) == [0, 1, 2, 3]
    script = "import sys; from lafn_viz import SubjectMatcher; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
