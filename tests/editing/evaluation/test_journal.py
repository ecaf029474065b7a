"""An evaluation resumes from its file, by the contents of the cases."""

import json

import pytest
from made_up_edits import NOTHING, Nothing

import lafn_viz as lv
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.evaluation.evaluate import evaluate


def test_a_stopped_evaluation_resumes_from_its_file(embedded, cases, tmp_path):
    file, calls = tmp_path / "deep" / "done.jsonl", []

    def stops(model, case, languages):
        calls.append(case.id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return Nothing()

    with pytest.raises(KeyboardInterrupt):
        evaluate(embedded, Editor("e", stops), cases, file=file, progress=False)
    with file.open("a") as out:
        out.write('{"case": "half a li')
    again = evaluate(embedded, Editor("e", stops), cases, file=file, progress=False)
    assert calls == [cases[0].id, cases[1].id, cases[1].id]
    once = evaluate(embedded, Editor("e", lambda *_: Nothing()), cases, progress=False)
    assert again.answers == once.answers
    assert evaluate(embedded, Editor("e", stops), cases, file=file, progress=False) == again
    with pytest.raises(ValueError, match=r"holds another evaluation \(its editor differ"):
        evaluate(embedded, NOTHING, cases, file=file, progress=False)
    assert len(file.read_text().splitlines()) == 3
    file.write_text(json.dumps([1]) + "\n")
    with pytest.raises(ValueError, match="holds another evaluation"):
        evaluate(embedded, NOTHING, cases, file=file, progress=False)


def test_a_case_that_has_changed_is_evaluated_anew(embedded, facts, tmp_path):
    """The same ids, but other questions: answers to the old ones must not be handed out."""
    file = tmp_path / "done.jsonl"
    few, more = (
        lv.counterfactual_cases(facts, n=2, neighbours=n).filter(languages=["en"]) for n in (1, 3)
    )
    assert [case.id for case in few] == [case.id for case in more]

    def run(cases, file=file):
        return evaluate(embedded, NOTHING, cases, file=file, progress=False).answers

    old = run(few)
    lines = file.read_bytes()
    new = run(more)
    assert len(new) > len(old)
    assert new == run(more, file=None)
    # Nothing is lost: the old answers are there still, and count for the old cases.
    assert file.read_bytes().startswith(lines)
    both = file.read_bytes()
    assert run(few) == old
    assert run(more) == new
    assert file.read_bytes() == both


@pytest.mark.slow
def test_a_killed_run_leaves_the_same_file_as_one_that_was_not(embedded, cases, tmp_path):
    calls = []

    def stops(model, case, languages):
        calls.append(case.id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return Nothing()

    killed, whole = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    with pytest.raises(KeyboardInterrupt):
        evaluate(embedded, Editor("e", stops), cases, file=killed, progress=False)
    with killed.open("a") as out:
        out.write('{"case": "half a li')
    evaluate(embedded, Editor("e", stops), cases, file=killed, progress=False)
    evaluate(embedded, Editor("e", lambda *_: Nothing()), cases, file=whole, progress=False)
    assert killed.read_bytes() == whole.read_bytes()


def test_a_file_without_checksums_is_refused(embedded, cases, tmp_path):
    """The version before wrote no checksum; its names of the answers' fields are those of today."""
    file = tmp_path / "done.jsonl"
    evaluate(embedded, NOTHING, cases, file=file, progress=False)
    head, *lines = file.read_text("utf-8").split("\n")[:-1]
    records = [json.loads(line) for line in lines]
    assert set(records[0]) == {"case", "checksum", "answers"}
    assert {"right", "right_before"} < set(records[0]["answers"][0])
    for record in records:
        del record["checksum"]
    file.write_text("\n".join([head, *map(json.dumps, records), ""]), "utf-8")
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"line 2 has no checksum.* give another file"):
        evaluate(embedded, NOTHING, cases, file=file, progress=False)
    assert file.read_bytes() == before


def test_of_edits_at_once_every_case_counts(embedded, facts, tmp_path):
    """The answers to a case depend on the edits of all the others."""
    few, more = (
        lv.counterfactual_cases(facts, n=2, neighbours=n).filter(languages=["en"]) for n in (1, 3)
    )
    made = []

    def edit_all(model, cases):
        made.append(len(cases))
        return Nothing()

    editor = Editor("e", lambda *given: pytest.fail("edited alone"), edit_all=edit_all)
    file = tmp_path / "done.jsonl"
    for cases in (few, [few[0], more[1]], few):
        evaluate(embedded, editor, cases, at_once=True, file=file, progress=False)
    assert made == [2, 2]
    lines = file.read_text("utf-8").split("\n")[1:-1]
    assert [json.loads(line)["case"] for line in lines] == [case.id for case in few] * 2
