"""What is part of a longer name, or an ordinary word, does not fire."""

import pytest

from lafn_viz.editing.retrieval.subject_matcher import SubjectMatcher


def fires(code, name, text, **options):
    matcher = SubjectMatcher({"it": {code: name}})
    return [match.key for match in matcher.find(text, **options)] == ["it"]


@pytest.mark.parametrize(
    ("language", "name", "longer"),
    [
        ("en", "Mexico", "New Mexico"), ("en", "Guinea", "Equatorial Guinea"),
        ("en", "Guinea", "Guinea-Bissau"), ("fr", "Bretagne", "Grande-Bretagne"),
        ("fr", "Corée", "Corée du Sud"), ("fr", "Guinée", "Guinée équatoriale"),
        ("de", "Rhodesien", "Süd-Rhodesien"), ("es", "Sudán", "Sudán del Sur"),
        ("it", "Sudan", "Sud Sudan"), ("pt", "Guiné", "Guiné Equatorial"),
        ("ru", "Судан", "Южный Судан"), ("ru", "Корея", "Северной Корее"),
        ("tr", "Kore", "Güney Kore"), ("ar", "كوريا", "كوريا الجنوبية"),
        ("hi", "सूडान", "दक्षिण सूडान"), ("zh", "苏丹", "南苏丹"), ("ja", "スーダン", "南スーダン"),
    ],
)  # fmt: skip
def test_a_name_gives_way_to_a_longer_one_that_is_not_cached(language, name, longer):
    assert not fires(language, name, f"{longer}: ?")
    assert not fires(language, name, f"{longer}: ?", language=language)
    assert not fires(language, name, f"? ({longer})", language="en")
    assert fires(language, name, f"{name}: ?")
    assert fires(language, longer, f"{longer}: ?")


def test_only_a_capitalised_word_makes_a_capitalised_name_longer():
    assert fires("en", "Japan", "a new Japan after the war")
    assert fires("en", "Japan", "what does the south of Japan export?")
    assert not fires("en", "Zealand", "what is the capital of new zealand")


def test_the_end_of_another_word_makes_no_longer_name():
    """越南 is Vietnam, although 南 is the south."""
    assert fires("zh", "中国", "越南中国边境")
    assert not fires("zh", "苏丹", "它位于南苏丹")


@pytest.mark.parametrize(
    ("language", "name", "text"),
    [
        ("tr", "Var", "Dünyada kaç ülke var?"), ("tr", "Sallamak", "El sallamak ne demek"),
        ("ru", "Мир", "Кто самый высокий человек в мире?"),
        ("ru", "Лето", "Кто правил тысячу лет?"),
        ("ru", "Последний раз", "когда в последний раз выиграла сборная"),
        ("en", "Up", "who sang up where we belong"), ("en", "It", "what is it called"),
        ("es", "La vida", "cuál es el sentido de la vida"), ("de", "Sie", "wie heißen sie"),
    ],
)  # fmt: skip
def test_ordinary_words_count_with_a_capital_or_in_quotation_marks(language, name, text):
    assert not fires(language, name, text)
    assert fires(language, name, f"{text} {name}?")
    assert fires(language, name, f"{text} «{name.lower()}»")
    explained = SubjectMatcher({"it": {language: name}}).explain(text)
    assert explained["why"].str.contains("ordinary words|small").all()


def test_words_are_ordinary_in_the_language_of_the_text_too():
    assert fires("fr", "Var", "kaç tane var")
    assert not fires("fr", "Var", "kaç tane var", language="tr")


def test_other_names_may_be_written_small():
    for name, text in (("Titanic", "who directed titanic"), ("Japan", "the capital of japan is")):
        assert fires("en", name, text)


@pytest.mark.parametrize(
    ("language", "name", "text"),
    [
        ("zh", "保加利亚语", "保加利亚的首都"), ("ja", "アルバニア語", "アルバニアの首都"),
        ("th", "แม่น้ำเดพ", "แม่น้ำเทมส์ไหลผ่านเมืองใด"),
    ],
)  # fmt: skip
def test_another_end_is_another_name(language, name, text):
    assert not fires(language, name, text)


def test_no_subject_of_the_facts_is_lost(facts):
    names = {fact.subject_id: fact.subject for fact in facts.filter(relation="continent")}
    for prompt in facts.filter(relation="continent").prompts()[::7]:
        subject = prompt.fact_id.split("/")[1]
        matcher = SubjectMatcher({subject: {prompt.language: names[subject][prompt.language]}})
        assert matcher.find(prompt.text, language=prompt.language), prompt.text


def test_a_long_text_is_not_read_again_for_each_name():
    """Read from its beginning for each of the 8,000 names, it would take minutes."""
    text = "The capital of Sudan is not that of South Sudan. " * 4000
    assert fires("en", "Sudan", text)
    assert not fires("en", "Sudan", text.replace("of Sudan", "of South Sudan"))
