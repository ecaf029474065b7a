"""Texts are compared as people read them, in every script."""

import unicodedata

import pytest
from hypothesis import given, settings, strategies as st

from lafn_viz.datasets.text import (
    holds_words,
    is_latin,
    normal,
    same_text,
    shows_answer,
    units,
    without_ends,
    words,
)
from lafn_viz.editing.evaluation.metrics import ANSWER_METRICS

# Language, two words that differ in one letter or mark alone, and what ends a sentence.
SCRIPTS = [
    ("en", "cat", "cut", ".?!,;:…"),
    ("fr", "pêche", "péché", "."),
    ("vi", "ma", "mạ", "."),
    ("el", "νόμος", "νομός", ".;·"),
    ("ru", "мой", "мои", "."),
    ("hy", "մատ", "մետ", "։"),
    ("ka", "ტანი", "ტონი", "."),
    ("he", "סֵפֶר", "סַפָּר", "׃."),
    ("ar", "كَتَبَ", "كُتُب", "؟.؛،"),
    ("fa", "شير", "سير", "؟.؛،"),
    ("ur", "شَیر", "شِیر", "۔؟،"),
    ("am", "ሰላም", "ሰሎም", "።፧፣"),
    ("hi", "दिन", "दीन", "।॥"),
    ("mr", "कर", "कार", "।"),
    ("bn", "কালি", "কালী", "।"),
    ("pa", "ਦਿਨ", "ਦੀਨ", "।"),
    ("gu", "દિન", "દીન", "."),
    ("or", "ଦିନ", "ଦୀନ", "।"),
    ("ta", "கல்", "கால்", "."),
    ("te", "పలు", "పాలు", "."),
    ("kn", "ಕಲು", "ಕಾಲು", "."),
    ("ml", "കലം", "കാലം", "."),
    ("si", "කල", "කාල", "෴."),
    ("th", "มี", "มู", "."),
    ("lo", "ມີ", "ມູ", "."),
    ("km", "គិត", "គុត", "។៕"),
    ("my", "မိ", "မု", "။၊"),
    ("bo", "མི", "མུ", "།༎"),
    ("ko", "말", "물", "."),
    ("ja", "かき", "かぎ", "。！？、"),
    ("zh", "东京", "南京", "。！？，；："),
    ("mn-Mong", "ᠮᠠ", "ᠮᠡ", "᠃᠂"),
]
TEXT_METRICS = {name: metric for name, metric in ANSWER_METRICS.items() if metric is not None}


@pytest.mark.parametrize(("language", "one", "other", "ends"), SCRIPTS)
def test_one_mark_makes_another_answer_and_the_end_of_a_sentence_does_not(
    language, one, other, ends
):
    assert normal(one) != normal(other)
    for end in ends:
        assert normal(one + end) == normal(f"{one} {end}") == normal(one)
        for name, metric in TEXT_METRICS.items():
            assert metric(one + end, one, language) == 1, (name, end)
            assert metric(one + end, other, language) < 1, (name, end)
    assert TEXT_METRICS["exact_match"](one, other, language) == 0
    assert TEXT_METRICS["starts_with"](one, other, language) == 0


@pytest.mark.parametrize(("language", "one", "other", "ends"), SCRIPTS)
def test_a_word_is_one_word_however_it_is_encoded(language, one, other, ends):
    for form in ("NFC", "NFD"):
        encoded = unicodedata.normalize(form, one)
        assert normal(encoded) == normal(one)
        assert words(encoded) == [encoded]
        assert "".join(units(encoded, spaced=False)) == encoded
        assert words(f"{encoded}{ends[0]} {encoded}") == [encoded, encoded]


# Language, a text, and other ways to write it.
SAME = [
    ("tr", "Istırap", ["ıstırap", "ISTIRAP"]),
    ("tr", "İstanbul", ["istanbul", "İSTANBUL", "I\u0307stanbul", "i\u0307stanbul"]),
    ("en", "İzmir", ["izmir"]),
    ("de", "Straße", ["STRASSE", "STRAẞE", "strasse"]),
    ("el", "σοφός", ["ΣΟΦΌΣ", "σοφόσ", "«σοφός»"]),
    ("ro", "București", ["Bucureşti", "BUCUREȘTI"]),
    ("fr", "Côte d’Ivoire", ["CÔTE D'IVOIRE", "Côte dʼIvoire", "Côte\u00a0d´Ivoire"]),
    ("es", "Madrid", ["¿Madrid?", "¡Madrid!", "(Madrid)", "Madrid…", "‹Madrid›", "❝Madrid❞"]),
    ("de", "Rom", ["„Rom“", "»Rom«", "‚Rom‘.", "[Rom]", "“Rom.”"]),
    ("pt", "Guiné-Bissau", ["Guiné‑Bissau", "Guiné–Bissau", "Gui\u00adné-Bissau"]),
    ("uz", "Oʻzbekiston", ["O‘zbekiston", "O'zbekiston"]),
    ("ca", "Paral·lel", ["Paraŀlel", "Paral•lel"]),
    ("ru", "Ёлка", ["Е\u0308лка", "ЁЛКА", "ё\u0301лка"]),
    ("uk", "Кот-д’Івуар", ["Кот-д'Івуар", "кот‐дʼІвуар"]),
    ("hy", "Երևան", ["Երևան՞", "ԵՐԵՒԱՆ։", "«Երևան»"]),
    ("he", "ירושלים", ["יְרוּשָׁלַיִם", '"ירושלים"', "\u200fירושלים׃"]),
    ("he", 'ארה"ב', ["ארה״ב"]),
    ("ar", "عمان", ["عُمان", "عـــمان", "ﻋﻤﺎﻥ", "«عمان»؟", "\u202bعمان\u202c"]),
    ("ar", "1990", ["١٩٩٠", "１９９０"]),
    ("fa", "ایران", ["ايران", "ایران\u200c", "«ایران»"]),
    ("hi", "क़लम।", ["क\u093cलम", "“क़लम”॥"]),
    ("mr", "१२", ["12", "１２."]),
    ("bn", "উৎস", ["উত্\u200dস"]),
    ("ml", "അവൻ", ["അവന്\u200d"]),
    ("th", "กรุงเทพ", ["กรุง\u200bเทพ", "กรุงเทพ๚", "“กรุงเทพ”"]),
    ("km", "ភ្នំពេញ", ["ភ្នំ\u200bពេញ", "ភ្នំពេញ។"]),
    ("my", "ရန်ကုန်", ["ရန်ကုန်။", "ရန်\u2060ကုန်၊"]),
    ("ja", "ガーナ", ["ｶﾞｰﾅ", "カ\u3099ーナ", "「ガーナ」。", "『ガーナ』"]),
    ("ja", "ABC", ["ＡＢＣ", "ａｂｃ"]),
    ("zh", "约翰·史密斯", ["约翰・史密斯", "约翰•史密斯", "《约翰‧史密斯》", "约翰·史密斯。"]),
    ("zh", "纽约市", ["纽约 市", "“纽约\u3000市”"]),
    ("ko", "서울", ["“서울”", "서울.", "\ufeff서울"]),
]  # fmt: skip


@pytest.mark.parametrize(("language", "text", "others"), SAME)
def test_ways_to_write_one_text(language, text, others):
    others = [*others, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))]
    for other in [f" {text}\u00a0", f'"{text}"', f"({text})", *others]:
        assert same_text(text, other, language), other
        assert same_text(other, text, language), other
        for name, metric in TEXT_METRICS.items():
            assert metric(other, text, language) == 1, (name, other)
        assert normal(normal(other, language), language) == normal(other, language)


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("tr", "sınır", "sinir"),  # border, nerve
        ("de", "schon", "schön"),
        ("ru", "все", "вся"),
        ("ar", "سأل", "سال"),  # a hamza
        ("ar", "مَلِك", "مَلَك"),  # king, angel
        ("he", "שׁר", "שׂר"),  # the point of shin and sin
        ("hi", "कल", "क़ल"),  # a nukta
        ("si", "මක්", "මක"),  # a virama
        ("fa", "می\u200cخواهم", "میخواهم"),
        ("ckb", "کی", "كي"),
        ("haw", "ʻai", "ai"),
        ("ja", "はは", "はぱ"),
        ("", "C#", "C"),
        ("", "-5", "5"),
    ],
)
def test_letters_and_marks_that_make_another_text(language, one, other):
    assert not same_text(one, other, language)


LETTERS = st.text("aB éßİıςΣ'’ʻ-‐·()«».。；٣عُمانגשׁйё½ﬁदि़्കല്ন日ガｶﾞ한มี\u200c\u0301", max_size=8)


@settings(max_examples=300, deadline=None)
@given(
    text=LETTERS, unseen=st.sampled_from("\u200b\ufeff\u00ad\u200e\u2060"), place=st.integers(0, 8)
)
def test_the_normal_form_of_any_text(text, unseen, place):
    form = normal(text, "tr")
    assert normal(form, "tr") == form
    for encoded in ("NFC", "NFD"):
        assert normal(unicodedata.normalize(encoded, text), "tr") == form
    words_of_it = text.split(" ")
    words_of_it.insert(place, unseen)
    assert normal(" \u00a0".join(words_of_it), "tr") == form


def test_letters_with_their_marks_are_counted():
    assert units("มีนา กำ", spaced=False) == ["มี", "น", "า", "ก", "ำ"]
    assert units("東京、5", spaced=False) == ["東", "京", "5"]
    assert units("किलो", spaced=False) == ["कि", "लो"]
    assert units("।!", spaced=False) == words("।!") == []


def test_what_is_not_seen_makes_no_difference_but_joiners_do():
    assert normal("\ufeff\u200fروما\u200e") == normal("روما")
    assert normal("co\u00adoperate") == normal("ＣＯＯＰＥＲＡＴＥ") == "cooperate"
    assert normal("می\u200cخواهم") != normal("میخواهم")
    assert words("می\u200cخواهم") == ["می\u200cخواهم"]
    assert normal("  New \n York ") == "new york"


def test_only_the_ends_lose_their_punctuation():
    assert normal("St. John's.") == "st. john's"
    assert without_ends(" : 3.14 。 ") == "3.14"
    assert normal("C#") == "c#"
    assert normal("...") == without_ends("") == ""


def test_words_are_held_whole():
    assert holds_words("niger, nigeria", "niger")
    assert not holds_words("nigeria", "niger")
    assert not holds_words("কালিমা", "কাল")
    assert holds_words("এই কাল।", "কাল")
    assert holds_words("a.b", "a")
    assert not holds_words("aab", "a.b")
    assert holds_words("日本の首都", "首都")
    assert holds_words("インドネシアとインド", "インド")
    assert not holds_words("インドネシア", "インド")


def test_latin_texts():
    assert all(is_latin(text) for text in ("Tōkyō 5", "cʼhwec’h", "Ｔ", "ﬁ"))
    assert not any(is_latin(text) for text in ("Токио", "Tokyo 東京", "5!", "", "Αθήνα"))


@pytest.mark.parametrize(
    ("subject", "answer"),
    [
        ("Japan", "Japanese"),
        ("São Tomé", "tomeano"),
        ("Россия", "российский рубль"),
        ("जापान", "जापानी"),
        ("फ़्रांस", "फ्रांसीसी"),
        ("বাংলাদেশ", "বাংলা ভাষা, বাংলাদেশি"),
        ("ประเทศญี่ปุ่น", "ภาษาญี่ปุ่น"),
        ("ประเทศญี่ปุ่น", "ญี่ปุ่น"),
        ("ভারত", "ভারতীয়"),
        ("فَرَنسا", "فرنسية"),
        ("ไทย", "ภาษาไทย"),
        ("Lao", "lao"),
        ("日本", "日本語"),
        ("フランス", "フランス語"),
        ("한국", "한국어"),
    ],
)
def test_the_answer_shows_in_the_subject(subject, answer):
    assert shows_answer(subject, answer)


@pytest.mark.parametrize(
    ("subject", "answer"),
    [
        ("Austria", "German"),
        ("दिल्ली", "दीपावली"),
        ("কালিম্পং", "কিলোমিটার"),
        ("サントメ・プリンシペ", "アフリカ"),
        ("ガナ", "カナダ"),
        ("中国", "国中"),
        ("เชียงใหม่", "กรุงเทพ"),
        ("", "日本"),
        ("日本", ""),
    ],
)
def test_the_answer_does_not_show_in_the_subject(subject, answer):
    assert not shows_answer(subject, answer)
