"""A passport's tables count what its questions say, and a file gives it back."""

import json
import math

import numpy as np
import pytest
from made_up_passports import a_passport, a_question, a_text, made_up_passport

import lafn_viz as lv
from lafn_viz.core.json_records import FactError
from lafn_viz.core.stats import bootstrap


def rows_of(frame, **where):
    for name, value in where.items():
        frame = frame[frame[name] == value]
    return frame.to_dict("records")


def test_the_summary_counts_each_kind_apart_from_its_control():
    summary = made_up_passport().summary()
    assert set(summary["questions"]) == {1}
    edited, held_out = summary.to_dict("records")[:2]
    assert (edited["new"], edited["well"], edited["recovered"]) == (1, 1, 0)
    assert (held_out["old"], held_out["well"], held_out["recovered"]) == (1, 0, 1)
    (asked,) = rows_of(summary, kind="examples first", control=False)
    assert (asked["right_before"], asked["old"], asked["recovered"], asked["fires"]) == (1, 1, 1, 1)
    (control,) = rows_of(summary, kind="examples first", control=True)
    assert (control["same"], control["well"], control["fires"]) == (1, 1, 0)


def test_what_did_not_know_the_old_answer_has_not_recovered_it():
    asked = a_question("examples first", before="Lyon", after={"A": "Paris"})
    (row,) = a_passport([asked]).summary().to_dict("records")
    assert (row["old"], row["right_before"], row["recovered"]) == (1, 0, 0)


def test_only_other_subjects_have_an_interval_and_it_is_over_them():
    """Twelve wordings of one fact are one fact."""
    stays = [[1, 1, 1], [1, 0, 1], [0, 0, 1], [1, 1, 1]]
    others = [
        a_question("other subject", fact_id=f"capital/{i}", before="Tokyo",
                   after={"A": "Tokyo" if well else "Rome"})
        for i, wells in enumerate(stays)
        for well in wells
    ]  # fmt: skip
    edited = [a_question(after={"A": x}) for x in ("Rome", "Paris", "Rome")]
    summary = a_passport(edited + others).summary()
    (about_one,) = rows_of(summary, kind="edited wording")
    assert math.isnan(about_one["low"])
    (row,) = rows_of(summary, kind="other subject")
    expected = bootstrap(np.array(stays).mean(1), limits=(0.0, 1.0))
    assert (row["low"], row["high"]) == pytest.approx(expected)


def test_damage_is_a_mean_with_an_interval_over_facts():
    texts = [
        a_text(language, item, divergence)
        for item, in_both in (("a", (0.0, 1.0)), ("b", (2.0, 3.0)), ("c", (4.0, 8.0)))
        for language, divergence in zip(("en", "fr"), in_both, strict=True)
    ]
    texts.append(a_text(item="d", about="texts about the subject", moved=9.0))
    frame = a_passport([], texts).damage_summary()
    (everywhere,) = rows_of(frame, about="neutral texts", language="all")
    assert everywhere["divergence"] == pytest.approx(3.0)
    by_fact = np.array([0.5, 2.5, 6.0])
    assert (everywhere["low"], everywhere["high"]) == bootstrap(by_fact, limits=(0.0, np.inf))
    (english,) = rows_of(frame, about="neutral texts", language="en")
    assert (english["texts"], english["divergence"]) == (3, pytest.approx(2.0))
    (subject, _) = rows_of(frame, about="texts about the subject")
    assert subject["divergence"] == pytest.approx(9.0)
    assert math.isnan(subject["low"])


def test_an_edit_that_acts_on_every_text_has_no_count_of_texts():
    questions = [a_question(after={"A": "Rome", "B": "Rome"}), a_question(after={"A": "", "B": ""})]
    summary = a_passport(questions, edits=("A", "B")).summary()
    assert rows_of(summary, edit="A")[0]["fires"] == 2
    assert math.isnan(rows_of(summary, edit="B")[0]["fires"])


def test_the_counts_of_languages_add_up_to_the_summary():
    questions = [a_question(language=x, after={"A": y}) for x in ("en", "fr") for y in ("Rome", "")]
    found = a_passport(questions)
    counts = ["questions", "well", "new", "old", "same", "other", "right_before", "recovered"]
    assert list(found.by_language()["language"]) == ["en", "fr"]
    assert dict(found.by_language()[counts].sum()) == dict(found.summary()[counts].sum())
    assert len(found.to_frame()) == 4


def test_a_file_gives_the_passport_back(tmp_path):
    made = made_up_passport()
    made.save(tmp_path / "p.json")
    loaded = lv.Passport.load(tmp_path / "p.json")
    assert loaded == made
    assert repr(loaded) == "Passport(capital/FR->IT; A: changed 1 of 2, stayed 1 of 1)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.pop("format"), "is no passport; give a file that"),
        (lambda x: x["questions"][0].update(kind="no such"), "it must be one of edited wording"),
        (lambda x: x["questions"][1].update(control=1), "item 2, field 'control'.*true or false"),
        (lambda x: x["questions"][2].update(after={}), "'questions', item 3: it is of the edits"),
        (lambda x: x["questions"][0].update(fires={}), "'questions', item 1: it is of the edits"),
        (lambda x: x["damage"][0].update(changed={"B": 1}), "'damage', item 1: it is of the"),
        (lambda x: x.update(more=1), "'more': not a field"),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path, change, message):
    path = tmp_path / "p.json"
    made_up_passport().save(path)
    record = json.loads(path.read_text("utf-8"))
    change(record)
    path.write_text(json.dumps(record), "utf-8")
    with pytest.raises(FactError, match=message):
        lv.Passport.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        lv.Passport.load(tmp_path / "none.json")
