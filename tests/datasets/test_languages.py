"""Any common form of a language tag is understood, and gives code, script, spacing and name."""

import subprocess
import sys

import pytest

import lafn_viz as lv
from lafn_viz.datasets.languages import (
    UNKNOWN_SCRIPT,
    by_code,
    code_or_tag,
    language_code,
    language_name,
    outside_latin,
    require_languages,
    script_of,
    separator_of,
)

# What the figures and frames of the twelve embedded languages have always shown.
EMBEDDED = {
    "en": ("Latin", "English"), "fr": ("Latin", "French"), "de": ("Latin", "German"),
    "es": ("Latin", "Spanish"), "it": ("Latin", "Italian"), "pt": ("Latin", "Portuguese"),
    "ru": ("Cyrillic", "Russian"), "zh": ("Han", "Chinese"), "ja": ("Japanese", "Japanese"),
    "ar": ("Arabic", "Arabic"), "hi": ("Devanagari", "Hindi"), "tr": ("Latin", "Turkish"),
}  # fmt: skip


def test_embedded_languages_keep_their_codes_scripts_and_names():
    assert {*lv.load_facts().languages} == {*EMBEDDED}
    for code, (script, name) in EMBEDDED.items():
        assert language_code(code) == code
        assert (script_of(code), language_name(code)) == (script, name)
        assert separator_of(code) == ("" if code in ("zh", "ja") else " ")
        assert outside_latin(code) == (script != "Latin")


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ("zh zh-CN zh_CN zh-cn ZH_Hans zh-Hans-CN zh_hans_cn zho chi cmn zh-cmn zh-SG", "zh"),
        ("zh-Hant zh-TW zh_HK zh_Hant_TW", "zh-Hant"),
        ("yue zh-yue zh_yue yue-Hant-HK", "yue"),
        ("nan zh-min-nan", "nan"),
        ("en eng en-GB en_US en-Latn EN en-u-co-phonebk", "en"),
        ("pt por pt-BR pt_PT", "pt"),
        ("de ger deu de-CH-1901", "de"),
        ("cs cz ces cze", "cs"),
        ("nl du nld dut nl-BE", "nl"),
        ("uk ua ukr", "uk"),
        ("he iw heb", "he"),
        ("id in ind", "id"),
        ("ja jpn ja-JP ja-Jpan", "ja"),
        ("ko kor ko-Hang ko-Kore-KR", "ko"),
        ("fa fas per pes prs fa-AF", "fa"),
        ("ar ara arb ar-001", "ar"),
        ("ur ur-Aran ur_PK", "ur"),
        ("sr sr-Cyrl sr_RS srp", "sr"),
        ("sr-Latn sr_Latn_RS sr_ME sh hbs cnr", "sr-Latn"),
        ("pa-Arab pa-PK pa_Arab_PK", "pa-Arab"),
        ("ja-Latn", "ja-Latn"),
        ("en en_US.UTF-8 en_US@euro eng_Latn", "en"),
        ("zh zho_Hans zh_CN.gb18030", "zh"),
        ("sr-Latn sr_RS@latin sr_RS.UTF-8@latin srp_Latn", "sr-Latn"),
        ("qaa QAA", "qaa"),
        ("x-klingon X_Klingon", "x-klingon"),
    ],
)
def test_every_form_of_a_tag_has_one_code(tags, code):
    assert {language_code(tag) for tag in tags.split()} == {code}
    assert language_code(code) == code
    assert len({(script_of(tag), language_name(tag)) for tag in tags.split()}) == 1


@pytest.mark.parametrize(
    ("tag", "script"),
    [
        ("ru-RU", "Cyrillic"), ("sr", "Cyrillic"), ("sr-Latn", "Latin"), ("sr_ME", "Latin"),
        ("kk", "Cyrillic"), ("mn", "Cyrillic"), ("fa", "Arabic"), ("ur", "Arabic"),
        ("pa-PK", "Arabic"), ("pa", "Gurmukhi"), ("he", "Hebrew"), ("yi", "Hebrew"),
        ("ko", "Korean"), ("ka", "Georgian"), ("hy", "Armenian"), ("el", "Greek"),
        ("th", "Thai"), ("am", "Ethiopic"), ("ti", "Ethiopic"), ("my", "Myanmar"),
        ("km", "Khmer"), ("lo", "Lao"), ("bo", "Tibetan"), ("mr", "Devanagari"),
        ("ne", "Devanagari"), ("bn", "Bengali"), ("ta", "Tamil"), ("te", "Telugu"),
        ("kn", "Kannada"), ("ml", "Malayalam"), ("gu", "Gujarati"), ("si", "Sinhala"),
        ("zh-TW", "Han"), ("yue", "Han"), ("ja-JP", "Japanese"), ("zh-Latn", "Latin"),
        ("vi", "Latin"), ("sw", "Latin"), ("uz", "Latin"), ("az", "Latin"), ("ceb", "Latin"),
    ],
)  # fmt: skip
def test_scripts(tag, script):
    assert script_of(tag) == script
    assert outside_latin(tag) == (script != "Latin")


@pytest.mark.parametrize(
    "tag",
    "zh zh_CN zho cmn zh-TW yue zh-yue ja ja-JP jpn th tha lo km khm my bur bo tib dz".split(),
)
def test_scripts_without_spaces(tag):
    assert separator_of(tag) == ""
    assert lv.Prompt.of("AB", "C", subject="A", language=tag).continuation == "C"


@pytest.mark.parametrize("tag", ["ko", "vi", "hi", "ar", "zh-Latn", "ja-Latn", "xx", ""])
def test_scripts_with_spaces_and_unknown_ones(tag):
    assert separator_of(tag) == " "


def test_names():
    assert language_name("pt-BR") == "Portuguese"
    assert language_name("cz") == "Czech"
    assert language_name("zh-TW") == "Traditional Chinese"
    assert language_name("sr-Latn") == "Serbian (Latin)"


@pytest.mark.parametrize(
    "tag", ["xx-nonsense", "xx", "", " ", "und", "English", "zh-", "e", "\ud800"]
)
def test_unknown_tags_are_refused_where_they_are_read_and_shown_elsewhere(tag):
    with pytest.raises(ValueError, match=r"unknown language .*; give a code of ISO 639"):
        language_code(tag)
    assert code_or_tag(tag) == language_name(tag) == tag
    assert script_of(tag) == UNKNOWN_SCRIPT
    assert not outside_latin(tag)


def test_an_english_name_is_answered_with_its_code():
    for name, code in (("Chinese", "zh"), ("german", "de"), ("Traditional Chinese", "zh-Hant")):
        with pytest.raises(ValueError, match=rf"as in '{code}' for {name}"):
            lv.Prompt.of("A", "B", subject="A", language=name)
        with pytest.raises(
            ValueError, match=rf"unknown language '{name}'; give its code, '{code}'"
        ):
            require_languages(name, ["zh", "de", "zh-Hant"])


def test_two_tags_of_one_language_are_refused_by_name():
    with pytest.raises(ValueError, match=r"'zh' and 'zh-CN' are one language, 'zh'; keep one"):
        by_code({"en": 1, "zh": 2, "zh-CN": 3})
    assert by_code({"zh_TW": 1, "zho": 2}) == {"zh-Hant": 1, "zh": 2}
    assert require_languages(["zh_CN", "cmn", "en"], ["en", "zh"]) == ("zh", "en")


def test_the_library_is_imported_by_the_first_look_up_only():
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, lafn_viz, lafn_viz.datasets.languages as languages\n"
            "assert 'babel' not in sys.modules\n"
            "assert languages.script_of('ka') == 'Georgian' and 'babel' in sys.modules",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.returncode == 0, told.stderr
