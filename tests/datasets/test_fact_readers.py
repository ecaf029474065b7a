import json
import logging
import re

import pytest

import lafn_viz as lv


def lines(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(record) for record in records), "utf-8")


def row(subject, answer, number=0, **more):
    return {"sub_label": subject, "obj_label": answer, "lineid": number} | more


def uris(number):
    return {"sub_uri": f"Q{number}", "obj_uri": f"Q{number}9"}


@pytest.fixture
def mlama(tmp_path):
    lines(
        tmp_path / "en" / "templates.jsonl",
        {"relation": "P1", "template": "[X] lies in [Y] ."},
        {"relation": "P2", "template": "[X] was founded by [Y] in the north ."},
    )
    lines(
        tmp_path / "en" / "P1.jsonl",
        row("Orvik Mill", "Norland", **uris(1)),
        row("Norland Bay", "Norland", **uris(2)),
    )
    lines(tmp_path / "en" / "P2.jsonl", row("Orvik Mill", "a duke", **uris(3)))
    lines(tmp_path / "zh" / "templates.jsonl", {"relation": "P1", "template": "[X] 位于 [Y]。"})
    lines(tmp_path / "zh" / "P1.jsonl", row("奥维克磨坊", "北地", **uris(1)))
    lines(tmp_path / "TREx" / "other.jsonl", {})
    return tmp_path


def test_mlama_facts_are_matched_by_ids_and_asked_before_the_object(mlama, caplog):
    with caplog.at_level(logging.WARNING):
        facts = lv.load_mlama(mlama)
    assert "1 of 3 patterns skipped" in caplog.text
    assert [fact.id for fact in facts] == ["P1/Q1/Q19", "P1/Q2/Q29"]
    assert facts.languages == ("en", "zh")
    mill = facts["P1/Q1/Q19"]
    assert mill.object == {"en": "Norland", "zh": "北地"}
    asked = {p.language: p for p in facts.prompts() if p.fact_id == mill.id}
    assert asked["en"].text + asked["en"].continuation == "Orvik Mill lies in Norland"
    assert asked["zh"].text + asked["zh"].continuation == "奥维克磨坊 位于北地"
    # What can be read off the subject is marked, as in the embedded facts.
    assert facts["P1/Q2/Q29"].leaks == ("en",)


def test_mlama_is_narrowed_by_relation_and_language(mlama):
    assert lv.load_mlama(mlama, relations="P1", languages="zh").languages == ("zh",)
    with pytest.raises(ValueError, match="unknown relation 'P9'; there are P1, P2"):
        lv.load_mlama(mlama, relations="P9")
    with pytest.raises(ValueError, match="unknown language 'xx'; there are en, zh"):
        lv.load_mlama(mlama, languages="xx")
    with pytest.raises(lv.FactError, match=r"no fact with a pattern that ends with its object"):
        lv.load_mlama(mlama, relations="P2")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        lv.load_mlama(mlama / "none")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"obj_label": "x", **uris(1)}, "line 3, field 'sub_label': None"),
        (row("x", "", **uris(1)), "line 3, field 'obj_label': ''"),
        (row("x", [], **uris(1)), "line 3, field 'obj_label': []"),
        (row("x", "y", None), "line 3, field 'lineid': None"),
        (row("x", "y", sub_uri=3, obj_uri="Q"), "line 3, field 'sub_uri': 3"),
        (row("\ud800", "y", **uris(1)), "line 3, field 'sub_label': half of a surrogate pair"),
        ([], "line 3: a list, but a record is a JSON object"),
    ],
)
def test_a_bad_record_is_named_by_file_line_and_field(mlama, record, says):
    path = mlama / "en" / "P1.jsonl"
    path.write_text(path.read_text("utf-8") + "\n" + json.dumps(record), "utf-8")
    with pytest.raises(lv.FactError, match=re.escape(f"{path}, {says}")):
        lv.load_mlama(mlama)


@pytest.fixture
def mpararel(tmp_path):
    patterns = {
        "en": ["[X] lies in [Y]", "[Y] holds [X]", "[X] and [X] lie in [Y]", "[X] lies in [Y]!"],
        "fr": ["[X] est près de l'[Y]", "[X] est en [Y]", "[Y] est près de [Y], [X]"],
        "zh-hans": ["[X]位于[Y]", "{subject}[X]位于[Y]"],
        "ja": ["[Y]に[X]がある", "[X]（[Y]）"],
    }
    for language, texts in patterns.items():
        of = tmp_path / "patterns" / language / "P1.jsonl"
        lines(of, *({"pattern": text, "checked-by-human": False} for text in texts))
        lines(tmp_path / "tuples" / language / "P1.jsonl", row("Orvik", "Norland", 4))
    return tmp_path


def test_mpararel_keeps_the_patterns_that_a_causal_model_can_be_asked_by(mpararel, caplog):
    with caplog.at_level(logging.WARNING):
        facts = lv.load_mpararel(mpararel)
    assert "7 of 11 patterns skipped" in caplog.text
    assert {key[1]: asked.texts for key, asked in facts.paraphrases.items()} == {
        "en": ("{subject} lies in",),  # twice the same
        "fr": ("{subject} est en",),
        "zh": ("{subject}位于",),
    }
    (fact,) = facts
    assert fact.languages == ("en", "fr", "zh")  # without ids, matched by the line's number
    frame = lv.lint_patterns(mpararel).set_index(["check", "language"])
    assert frame["count"].to_dict() == {
        ("object joined to a word", "fr"): 1,
        ("object not last", "en"): 1,
        ("object not last", "ja"): 2,
        ("object not named once", "fr"): 1,
        ("subject not named once", "en"): 1,
        ("subject not named once", "zh"): 1,
    }
    assert frame.loc[("object not last", "ja"), "examples"] == ["[Y]に[X]がある", "[X]（[Y]）"]
    assert frame.loc[("object not last", "en"), "share"] == 0.25


def test_two_folders_of_one_language_are_refused(mpararel):
    lines(mpararel / "patterns" / "zh" / "P1.jsonl", {"pattern": "[X]在[Y]"})
    with pytest.raises(lv.FactError, match="are the same language"):
        lv.load_mpararel(mpararel)


def test_two_ways_to_write_a_language_stay_apart_and_unknown_folders_are_named(mpararel):
    folder = mpararel / "patterns" / "zh-hant"
    lines(folder / "P1.jsonl", {"pattern": "[X]在[Y]"})
    lines(mpararel / "tuples" / "zh-hant" / "P1.jsonl", row("奧維克", "北地", 4))
    facts = lv.load_mpararel(mpararel, languages=["zh_CN", "zh-TW"])
    assert facts.languages == ("zh", "zh-Hant")
    assert [prompt.continuation for prompt in facts.prompts()] == ["Norland", "北地"]
    folder.rename(folder.with_name("notes"))
    with pytest.raises(lv.FactError, match=r"notes: unknown language 'notes'; give a code"):
        lv.load_mpararel(mpararel)


def test_a_repeated_fact_keeps_its_first_names(mlama, caplog):
    path = mlama / "en" / "P1.jsonl"
    again = row("Mill of Orvik", "Norland", **uris(1))
    path.write_text(path.read_text("utf-8") + "\n" + json.dumps(again), "utf-8")
    with caplog.at_level(logging.WARNING):
        facts = lv.load_mlama(mlama)
    assert facts["P1/Q1/Q19"].subject["en"] == "Orvik Mill"
    assert "1 facts repeated with other names" in caplog.text
