import json
import logging
import re

import pytest
from edit_records import bmike, case_rows, pair, part, single, written
from hypothesis import HealthCheck, given, settings, strategies as st

import lafn_viz as lv


def test_pairs_of_languages_become_one_case_by_their_english_question(tmp_path):
    second = {"subject": "Berta Ek", "name": "Berta E."}
    written(tmp_path / "mzsre_enru.json", [pair("ru"), pair("ru", **second)])
    # Another order: records are matched by what they ask, not by where they stand.
    written(tmp_path / "mzsre_encz.json", [pair("cz", **second), pair("cz", name="Anna H.")])
    cases = lv.load_edit_cases(tmp_path)
    assert len(cases) == 2
    assert cases.languages == ("en", "cs", "ru")
    berta = cases["mzsre/1"]
    assert berta.subject == {"en": "Berta Ek", "cs": "Berta E.", "ru": "Berta E."}
    (edit,) = berta.edit["en"]
    assert (edit.text, edit.answer) == ("Where is the home of Berta Ek?", "Orvik")
    assert edit.text[slice(*edit.subject_span)] == "Berta Ek"
    assert [p.text for p in berta.prompts("rephrased", languages=["en"])] == [
        "Berta Ek has its home where?"
    ]
    (near,) = berta.locality["en"]
    assert (near.text, near.answer) == ("who keeps the mill", "a miller")  # the prefix is stripped
    assert near.subject_span is None
    assert berta.portability["ru"][0].answer == "a duke"
    assert berta.old == {}


def test_a_question_that_does_not_name_its_subject_has_no_span(tmp_path):
    record = pair("ru", src="Где её дом?")
    (case,) = lv.load_edit_cases(written(tmp_path / "m.json", [record]))
    assert case.edit["ru"][0].subject_span is None
    assert case.edit["ru"][0].subject == "Анна Хольм"
    assert case.rephrased["ru"][0].subject_span == (0, 10)


def test_what_two_files_say_of_one_edit_must_agree(tmp_path):
    written(tmp_path / "a_enru.json", [pair("ru")])
    other = pair("fr")
    other["en"]["alt"] = "Lund"
    written(tmp_path / "b_enfr.json", [other])
    with pytest.raises(lv.FactError, match=r"record 1, language 'en': the answer is 'Lund', but"):
        lv.load_edit_cases(tmp_path)


def test_a_question_that_a_file_asks_twice_stays_two_cases(tmp_path):
    records = [pair("fr"), pair("fr", alt="Lund")]
    records[1]["en"]["alt"] = "Lund"
    cases = lv.load_edit_cases(written(tmp_path / "m.json", records))
    assert [case.edit["en"][0].answer for case in cases] == ["Orvik", "Lund"]
    found = cases.lint().query("check == 'question of another edit too' and language == 'en'")
    assert found["count"].item() == 2


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_arrays_and_lines_with_any_line_end_and_byte_order_mark(tmp_path, lines, newline, encoding):
    records = [pair("fr"), pair("fr", subject="Berta Ek")]
    dumps = [json.dumps(record, ensure_ascii=False) for record in records]
    text = "\n".join(dumps) + "\n" if lines else "[\n" + ",\n".join(dumps) + "\n]"
    path = written(tmp_path / "m.json", text, encoding=encoding, newline=newline)
    assert len(lv.load_edit_cases(path)) == 2


def test_what_is_missing_is_left_out_and_told(tmp_path, caplog):
    lone = pair("fr", subject="Carl Ö")
    del lone["fr"]
    bare = pair("fr", portability=None, rephrase=["", "Anna, where?"], loc_ans=" ", name="")
    empty = pair("fr", subject="Dora Å", alt="") | {"id": "x", "idx": 7, "note": "seen"}
    with caplog.at_level(logging.WARNING):
        cases = lv.load_edit_cases(written(tmp_path / "m.json", [lone, bare, empty]))
    assert [case.languages for case in cases] == [("en",), ("en", "fr"), ("en",)]
    assert "1 second languages of a record" in caplog.text
    assert "1 parts without a question or answer" in caplog.text
    assert [p.text for p in cases[1].rephrased["fr"]] == ["Anna, where?"]
    assert "fr" not in cases[1].locality | cases[1].portability | cases[1].subject


def test_numbers_become_texts_and_portability_may_be_a_list(tmp_path):
    hops = [{"New Question": "Since when?", "New Answer": 1066}, {"New Question": "Who?"}]
    record = pair("fr", alt=2006, portability=hops)
    (case,) = lv.load_edit_cases(written(tmp_path / "m.json", [record]))
    assert case.edit["fr"][0].answer == "2006"
    assert [(p.text, p.answer) for p in case.portability["fr"]] == [("Since when?", "1066")]


def test_bmike53_has_old_answers_and_ids(tmp_path):
    (case,) = lv.load_edit_cases(written(tmp_path / "x.json", [bmike(12)]))
    assert (case.id, case.source, case.languages) == ("bmike53/12", "bmike53", ("en", "zh"))
    assert case.old == {"en": "Vik", "zh": "Vik"}
    assert case.portability["zh"][0].continuation == "a duke"  # no space before it in Chinese
    assert case.portability["en"][0].continuation == " a duke"


def test_ids_that_stand_twice_are_named(tmp_path):
    path = written(tmp_path / "x.json", [bmike(12), bmike(12)])
    with pytest.raises(lv.FactError, match=r"record 2, field 'case_id': 12 stands in an earlier"):
        lv.load_edit_cases(path)
    written(tmp_path / "x.json", [bmike(12)])
    written(tmp_path / "y.json", [bmike(12, src="Where is the mill of Anna 12?")])
    with pytest.raises(lv.FactError, match=r"y\.json, record 1, field 'case_id': 12 stands for an"):
        lv.load_edit_cases(tmp_path)


def test_mlake_is_matched_by_number_and_its_hops_by_the_statement(tmp_path, caplog):
    written(tmp_path / "en_qa.json", [single("Anna"), single("Berta")])
    written(tmp_path / "fr_qa.json", [single("Anne"), single("Berthe")])
    hops = [
        {"question": "Qui y règne ?", "e_prompt": "Berta lives in  Lund.", "e_answer": "un duc"},
        {"question": "Qui ?", "e_prompt": "Nobody lives there.", "e_answer": "un roi"},
        {"question": "Avant ?", "o_answer": "un roi"},
    ]
    written(tmp_path / "new_fr_qa.json", hops)
    with caplog.at_level(logging.WARNING):
        cases = lv.load_edit_cases(tmp_path)
    assert [case.id for case in cases] == ["mlake/1", "mlake/2"]
    assert cases[1].edit["fr"][0].text == "Where does Berthe live?"
    assert cases[1].edit["fr"][0].aliases == ("City of Lund",)
    assert cases[1].old == {"en": "Orvik", "fr": "Orvik"}
    assert [p.answer for p in cases[1].portability["fr"]] == ["un duc"]
    assert cases[0].portability == {}
    assert "1 multi-hop questions of no edit here" in caplog.text
    assert "1 multi-hop questions about the time before the edit" in caplog.text


def test_mlake_files_of_different_length_or_without_edits_are_refused(tmp_path):
    written(tmp_path / "en_qa.json", [single("Anna"), single("Berta")])
    written(tmp_path / "fr_qa.json", [single("Anne")])
    with pytest.raises(lv.FactError, match="matched by number, but the files hold different"):
        lv.load_edit_cases(tmp_path)
    path = written(tmp_path / "old_fr_qa.json", [{"question": "Où ?", "o_answer": "Lund"}])
    with pytest.raises(lv.FactError, match=f"there is no edit in {re.escape(str(path))};"):
        lv.load_edit_cases(path)
    with pytest.raises(lv.FactError, match="language stands in the file's name"):
        lv.load_edit_cases(written(tmp_path / "qa.json", [single("Anna")]))


BROKEN = {
    "not JSON": ("[{]", "m.json: not JSON"),
    "cut short": ('[{"en": {', "m.json: not JSON"),
    "raw NUL": ('[{"en": "\x00"}]', "m.json: not JSON"),
    "too deep": ("[" * 100_000, "m.json: not JSON"),
    "a long number": ('[{"en": ' + "9" * 5000 + "}]", "m.json: not JSON"),
    "no record": ("[]", "m.json holds no record"),
    "no line": ("\n \n", "m.json holds no record"),
    "a list": ([pair("fr"), [1]], "record 2: a list, but a record is a JSON object"),
    "no language": ([{"note": "x"}], "record 1, field 'src': no language with a question"),
    "a part that is text": (
        [{"en": "Anna"}],
        "record 1, field 'en': 'Anna', but a language's part is an object",
    ),
    "one language twice": (
        [pair("cz") | {"cs": part("A", "b", "c")}],
        "record 1, field 'cs': a second part in 'cs'",
    ),
    "an unknown language": (
        [pair("fr") | {"xx": part("A", "b", "c")}],
        "record 1, field 'xx': unknown language 'xx'; give a code of ISO 639 or a tag of BCP 47",
    ),
    "an answer that is a list": (
        [pair("fr", alt=["Orvik"])],
        "record 1, language 'fr', field 'alt': ['Orvik'], but it must be a text or a number",
    ),
    "a true answer": (
        [pair("fr", loc_ans=True)],
        "record 1, language 'fr', field 'loc_ans': True, but it must be a text or a number",
    ),
    "portability that is text": (
        [pair("fr", portability="x")],
        "record 1, language 'fr', field 'portability': 'x', but it must hold 'New Question'",
    ),
    "half a character": (
        [json.dumps(pair("fr", rephrase="\ud800")).join("[]")][0],
        "record 1, language 'fr', field 'rephrase': half of a surrogate pair",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gets_a_sentence_with_place_and_field(tmp_path, name):
    content, says = BROKEN[name]
    with pytest.raises(lv.FactError, match=re.escape(says)) as error:
        lv.load_edit_cases(written(tmp_path / "m.json", content))
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is None  # no deep traceback


def test_wrong_paths_schemas_and_languages_get_a_sentence(tmp_path):
    path = written(tmp_path / "m.json", [pair("cz")])
    with pytest.raises(FileNotFoundError, match="there is no file"):
        lv.load_edit_cases(tmp_path / "none.json")
    (tmp_path / "sub").mkdir()
    with pytest.raises(lv.FactError, match=r"holds no \.json or \.jsonl file"):
        lv.load_edit_cases(tmp_path / "sub")
    with pytest.raises(ValueError, match="unknown language 'xx'; there are en, cs"):
        lv.load_edit_cases(path, languages=["cz", "xx"])
    with pytest.raises(lv.FactError, match=r"field 'question': missing.* it looks like 'mzsre'"):
        lv.load_edit_cases(path, schema="mlake")
    assert lv.load_edit_cases(path, schema="bizsre", languages="cz")[0].id == "bizsre/1"
    assert lv.load_edit_cases(path, languages="cz").languages == ("cs",)
    capitals = {key.upper(): block for key, block in pair("zh-hans").items()}
    path = written(tmp_path / "capitals.json", [capitals])
    assert lv.load_edit_cases(path, languages="ZH_CN").languages == ("zh",)


def test_strange_texts_are_kept_as_they_are(tmp_path):
    odd = "\x00\u202eAnna\u2066 " + "ö" * 1_000_000
    (case,) = lv.load_edit_cases(written(tmp_path / "m.json", json.dumps([pair("fr", src=odd)])))
    assert case.edit["fr"][0].text == odd
    found = case_rows(lv.EditSet((case,)), "hidden characters")
    assert found == {"en": 0, "fr": 1}
    # And a message about one stays short.
    with pytest.raises(lv.FactError) as error:
        lv.load_edit_cases(written(tmp_path / "m.json", [pair("fr", alt=["x" * 100_000])]))
    assert len(str(error.value)) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


FIELDS = [*pair("fr")["fr"], *single("Anna"), "of the pair", "record"]


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(JSON, st.sampled_from(FIELDS))
def test_any_value_in_any_field_is_read_or_refused_by_name(tmp_path_factory, value, name):
    if name in pair("fr")["fr"]:
        record = pair("fr", **{"name" if name == "subject" else name: value})
    else:
        record = {**single("Anna"), name: value}
    record = {"of the pair": bmike(1) | {"en": value}, "record": value}.get(name, record)
    path = tmp_path_factory.mktemp("fuzz") / "en_qa.json"
    written(path, json.dumps([pair("fr", subject="Berta Ek"), record]))
    said = f"{path}, record 2"
    try:
        found = lv.load_edit_cases(path)
        assert len(found) <= 2
        assert not found.lint().empty
    except lv.FactError as error:
        said = str(error)
    assert re.match(rf"{re.escape(str(path))}, record 2", said)
    assert "\n" not in said
