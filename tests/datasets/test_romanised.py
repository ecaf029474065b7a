"""Names in Latin letters, against what people write, and for every name of the facts."""

import pytest

from lafn_viz.datasets.romanised import romanised


@pytest.mark.parametrize(
    ("name", "latin"),
    [
        ("Франция", "Frantsiya"), ("Южная Корея", "Yuzhnaya Koreya"), ("Україна", "Ukrayina"),
        ("Ελλάδα", "Ellada"), ("フランス", "furansu"), ("シャム", "shamu"), ("キャッツ", "kyattsu"),
        ("フィジー", "fiji"), ("भारत", "bharat"), ("दिल्ली", "dilli"), ("فرنسا", "frnsa"),
        ("서울", "seoul"), ("São Tomé", "Sao Tome"), ("Côte d’Ivoire", "Cote d'Ivoire"),
        ("Łódź", "Lodz"), ("Iran", "Iran"), ("", ""),
    ],
)  # fmt: skip
def test_names_as_people_write_them(name, latin):
    assert romanised(name) == latin


@pytest.mark.parametrize("name", ["中国", "北マケドニア", "ไทย"])
def test_a_letter_without_a_romanisation_is_not_guessed(name):
    assert romanised(name) is None


def test_every_romanised_name_of_the_facts_is_ascii(facts):
    for fact in facts:
        for language, name in fact.subject.items():
            latin = romanised(name)
            assert latin is None or latin.isascii(), (language, name, latin)
            if name.isascii():
                assert latin == name
            if language in ("ru", "ar", "hi"):
                assert latin
