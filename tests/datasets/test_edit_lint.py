import unicodedata

from edit_records import bmike, case_rows, pair, written

import lafn_viz as lv


def test_lint_finds_each_fault_where_it_was_put(tmp_path):
    good = pair("ru")
    faults = {
        "rephrasing equals question": {"rephrase": "Where is the  HOME of Анна Хольм?"},
        "subject not in question": {"src": "Где её дом?"},
        "subject not in rephrasing": {"rephrase": "Где её дом?"},
        "new answer in question": {"src": "Где дом Анна Хольм, в Орвик?"},
        "new answer in Latin script": {"alt": "Orvik"},
        "new answer in portability question": {
            "portability": {"New Question": "Кто правит в Орвик?", "New Answer": "князь"}
        },
        "locality names the subject": {"loc": "Кто Анна Хольм?"},
        "locality names another edit's subject": {"loc": "who keeps the mill of Ytterby"},
        "no locality question": {"loc": ""},
        "no rephrasing": {"rephrase": None},
        "no portability question": {"portability": []},
        "no subject": {"name": ""},
        "hidden characters": {"loc_ans": "\u202eмельник"},
    }
    other = pair("ru", subject="Ytterby", name="Ytterby", alt="Лунд")
    clean = lv.load_edit_cases(written(tmp_path / "m.json", [good, other]))
    assert set(clean.lint().query("count > 0")["check"]) == {"no old answer"}
    for check, fault in faults.items():
        bad = lv.load_edit_cases(written(tmp_path / "m.json", [pair("ru", **fault), other]))
        frame = bad.lint()
        row = frame[(frame["check"] == check) & (frame["language"] == "ru")].iloc[0]
        assert (row["count"], row["examples"]) == (1, ["mzsre/1"]), check
        assert row["share"] == row["count"] / row["of"]
        allowed = {check, "no old answer", "new answer in question"}
        allowed |= {"rephrasing equals question"} if "src" in fault else set()
        assert set(frame[frame["count"] > 0]["check"]) <= allowed | {"hidden characters"}
    lone = {"en": good["en"]}
    frame = lv.load_edit_cases(written(tmp_path / "m.json", [lone, other])).lint()
    assert frame.query("check == 'language missing' and language == 'ru'")["count"].item() == 1
    same = [bmike(1, old=" ORVIK "), bmike(2)]
    assert case_rows(
        lv.load_edit_cases(written(tmp_path / "m.json", same)), "new answer equals old"
    ) == {"en": 1, "zh": 1}


def test_an_answer_counts_as_given_away_only_as_a_whole_word(tmp_path):
    record = pair("fr", src="Où est Orvikson, Anna ?", alt="Orvik")
    assert (
        case_rows(
            lv.load_edit_cases(written(tmp_path / "m.json", [record])), "new answer in question"
        )["fr"]
        == 0
    )


def test_a_locality_question_names_a_subject_in_any_spelling_but_as_a_whole_word(tmp_path):
    def rows(locality, check):
        other = pair("fr", subject="Pérou", name="Pérou")
        record = pair("fr", name="Niger", loc=unicodedata.normalize("NFD", locality))
        cases = lv.load_edit_cases(written(tmp_path / "m.json", [record, other]))
        return case_rows(cases, check)["fr"]

    for locality, own, others in (
        ("Le Nigeria et les Péroutins ?", 0, 0), ("LE NIGER ?", 1, 0), ("Où est le PÉROU ?", 0, 1),
    ):  # fmt: skip
        assert rows(locality, "locality names the subject") == own
        assert rows(locality, "locality names another edit's subject") == others
