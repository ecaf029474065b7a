import json
import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from lafn_viz.core.json_records import FactError
from lafn_viz.datasets.fact_files import load_facts

GOOD = {
    "id": "capital/FR",
    "relation": "capital",
    "subject_id": "FR",
    "object_id": "Paris",
    "subject": {"en": "France", "fr": "France"},
    "object": {"en": "Paris", "fr": "Paris"},
}


def written(tmp_path, *lines):
    path = tmp_path / "facts.jsonl"
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines), "utf-8")
    return path


def test_own_facts_are_read_with_the_embedded_paraphrases(tmp_path):
    facts = load_facts(written(tmp_path, GOOD, ""))
    assert len(facts) == 1
    assert facts["capital/FR"].source == "own"
    assert len(facts.prompts()) == 12


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": ""}, "id"),
        ({"relation": 3}, "relation"),
        ({"subject": {}}, "subject"),
        ({"subject": {"en": "France", "fr": None}}, "subject.fr"),
        ({"object": {"en": "Paris"}}, "object"),
        ({"held_out": ["de"]}, "held_out"),
        ({"leaks": "en"}, "leaks"),
        ({"capitol": "x"}, "capitol"),
        ({"subject": {"en": "France", "French": "France"}}, "subject"),
        ({"object": {"fr": "Paris", "fr-FR": "Paris"}}, "object"),
    ],
)
def test_a_bad_record_is_named_by_file_line_and_field(tmp_path, change, field):
    path = written(tmp_path, GOOD, {**GOOD, "id": "capital/2", **change})
    with pytest.raises(FactError) as error:
        load_facts(path)
    assert f"{path}, line 2, field '{field}'" in str(error.value)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("{",), "line 1: not JSON"),
        (("[1]",), "line 1: a list, but a record is a JSON object"),
        ((GOOD, GOOD), "line 2, field 'id': 'capital/FR' stands on an earlier line"),
        (("",), "holds no fact"),
    ],
)
def test_a_file_that_is_no_fact_set_gets_a_sentence(tmp_path, lines, says):
    with pytest.raises(FactError, match=re.escape(says)):
        load_facts(written(tmp_path, *lines))


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_facts(tmp_path / "none.jsonl")
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"id": "é"}'.encode("latin-1"))
    with pytest.raises(FactError, match="not UTF-8"):
        load_facts(path)


def test_paraphrases_without_one_subject_are_refused(tmp_path):
    path = tmp_path / "p.jsonl"
    for text in ("The capital is", "{subject} {subject}"):
        path.write_text(json.dumps({"relation": "capital", "language": "en", "texts": [text]}))
        with pytest.raises(FactError, match=r"line 1, field 'texts'.*exactly once"):
            load_facts(paraphrases=path)


@pytest.mark.parametrize("tag", ["zh-CN", "zh_CN", "zho", "ZH", "zh-Hans", "cmn_Hans_CN"])
def test_facts_and_paraphrases_meet_whatever_the_tag_and_the_normal_form(tmp_path, tag):
    record = {
        "id": "capital/Pé", "relation": "capital", "subject_id": "Pé", "object_id": "x",
        "subject": {tag: "日本", "pt_BR": "Perú"}, "object": {"zh": "东京", "por": "Limá"},
        "leaks": ["zh-SG"], "held_out": ["pt"],
    }  # fmt: skip
    raw = unicodedata.normalize("NFD", json.dumps(record, ensure_ascii=False))
    facts = load_facts(written(tmp_path, raw))
    fact = facts["capital/Pé"]
    assert facts.languages == tuple(fact.object) == ("zh", "pt")
    assert (fact.leaks, fact.held_out) == (("zh",), ("pt",))
    embedded = load_facts()
    of_japan = embedded.filter(relation="capital", subjects="日本", languages=tag).prompts()
    texts = [(prompt.text, prompt.continuation) for prompt in facts.filter(languages=tag).prompts()]
    assert texts == [(prompt.text, prompt.continuation) for prompt in of_japan]
    assert facts.filter(subjects=unicodedata.normalize("NFD", "PERÚ"))["capital/Pé"] == fact
    assert {prompt.answer for prompt in facts.filter(languages="pt").prompts()} == {"Limá"}


def test_own_paraphrases_may_have_any_tag_and_one_line_a_language(tmp_path):
    path = tmp_path / "p.jsonl"
    line = {"relation": "capital", "language": "eng", "texts": ["{subject}'s capital is"]}
    path.write_text(json.dumps(line))
    facts = load_facts(written(tmp_path, GOOD), paraphrases=path).filter(languages="en_US")
    assert [prompt.text for prompt in facts.prompts()] == ["France's capital is"]
    path.write_text(f"{json.dumps(line)}\n{json.dumps({**line, 'language': 'en-GB'})}")
    with pytest.raises(FactError, match="line 2, field 'relation': a second line for 'capital' in"):
        load_facts(paraphrases=path)
    path.write_text(json.dumps({**line, "language": "French"}))
    with pytest.raises(FactError, match=r"line 1, field 'language': .* as in 'fr' for French"):
        load_facts(paraphrases=path)


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_value_in_any_field_is_read_or_refused_by_name(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("fuzz")
    for field in ("id", "subject", "object", "leaks", "held_out"):
        path = written(folder, {**GOOD, field: value})
        try:
            said = f"{len(load_facts(path))} fact"
        except FactError as error:
            said = str(error)
        assert said == "1 fact" or f"line 1, field '{field}" in said
