"""Evaluation: metrics by hand, texts as the model writes them, languages apart, resuming."""

import contextlib
import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

import lafn_viz as lv
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.evaluation.answers import ALL, Answered, Evaluation
from lafn_viz.editing.evaluation.evaluate import evaluate
from lafn_viz.editing.evaluation.metrics import (
    ANSWER_METRICS,
    AnswerMetric,
    exact_match,
    remake,
    starts_with,
    token_f1,
)
from lafn_viz.models.generation import generate
from lafn_viz.models.tokens import encode


class Nothing:
    """An edit that changes nothing."""

    @contextlib.contextmanager
    def applied(self, model):
        yield


NOTHING = Editor("nothing", lambda model, case, languages: Nothing())


@pytest.fixture(scope="module")
def cases(facts):
    return lv.counterfactual_cases(facts, n=2, seed=1).filter(languages=["en", "ru", "zh"])


@pytest.mark.parametrize(
    ("written", "answer", "language", "exact", "starts", "f1", "product"),
    [
        ("Rome", "Rome", "en", 1, 1, 1, 1),
        ("  rome. ", "Rome", "en", 1, 1, 1, 1),
        ("Rome is big", "Rome", "en", 0, 1, 1 / 2, 1 / 3),
        ("New Rome", "Rome", "en", 0, 0, 2 / 3, 1 / 2),
        ("Romeo", "Rome", "en", 0, 0, 0, 0),
        ("", "Rome", "en", 0, 0, 0, 0),
        ("", "", "en", 1, 1, 1, 1),
        ("Rome", "", "en", 0, 0, 0, 0),
        ("Paris", "Rome", "en", 0, 0, 0, 0),
        ("the the the", "the hague", "en", 0, 0, 2 / 5, 1 / 6),
        ("东京都", "东京", "zh", 0, 1, 4 / 5, 4 / 6),
        ("नई दिल्ली", "नई दिल्ली", "hi", 1, 1, 1, 1),
        ("नई", "नई दिल्ली", "hi", 0, 0, 2 / 3, 1 / 2),
    ],
)
def test_metrics_by_hand(written, answer, language, exact, starts, f1, product):
    assert exact_match(written, answer, language) == exact
    assert starts_with(written, answer, language) == starts
    assert token_f1(written, answer, language) == pytest.approx(f1)
    assert remake(written, answer, language) == pytest.approx(product)


def answered(case, edited_in, language, after, *, metric="reliability", before="Paris"):
    return Answered(
        case=case, edited_in=edited_in, metric=metric, language=language, text="", reference="Rome",
        aliases=("Roma",), before=before, after=after, token_accuracy_before=0.25,
        token_accuracy=0.75,
    )  # fmt: skip


def made_up(*answers):
    return Evaluation("made-up", answers, lv.Provenance("made-up", "", "made-up"))


def test_an_alias_counts_and_before_is_scored_too():
    one = answered("a", ALL, "en", "Roma", before="Rome")
    assert one.score("exact_match") == one.score("exact_match", before=True) == 1
    assert (one.score("token_accuracy"), one.score("token_accuracy", before=True)) == (0.75, 0.25)


def test_a_case_counts_once_and_a_language_once_in_it():
    found = made_up(
        *[answered("a", ALL, "en", "Rome")] * 3,
        answered("a", ALL, "fr", "Paris"),
        answered("b", ALL, "en", "Paris"),
    ).summary()
    (row,) = found.to_dict("records")
    assert (row["mean"], row["before"], row["cases"], row["questions"]) == (0.25, 0, 2, 5)
    assert row["low"] == 0
    assert row["high"] == 0.5


def test_matrix_and_conflict_by_hand():
    found = made_up(
        answered("a", "en", "en", "Rome"), answered("a", "en", "fr", "Rome"),
        answered("a", "fr", "en", "Paris"), answered("a", "fr", "fr", "Rome"),
        answered("a", ALL, "en", "Paris"), answered("a", ALL, "fr", "Rome"),
    )  # fmt: skip
    matrix = found.matrix()
    assert list(matrix.index) == ["en", "fr", ALL]
    assert matrix.to_numpy().tolist() == [[1, 1], [0, 1], [0, 1]]
    conflict = found.conflict().set_index("language")
    assert conflict.loc["en", "conflict"] == 1
    assert conflict.loc["fr", "conflict"] == 0
    assert conflict.loc["mean", ["alone", "together", "conflict"]].tolist() == [1, 0.5, 0.5]
    with pytest.raises(ValueError, match="alone=True and together=True"):
        made_up(answered("a", ALL, "en", "Rome")).conflict()


def test_an_edit_that_does_nothing_keeps_all_and_brings_nothing(embedded, cases):
    report = evaluate(embedded, NOTHING, cases, progress=False)
    for evaluator in ("exact_match", "token_accuracy"):
        found = report.summary(evaluator).set_index("metric")
        assert found.loc[["locality", "same subject"], "mean"].tolist() == [1, 1]
        assert (found["mean"] == found["before"]).all()
    assert report.summary().set_index("metric").loc["reliability", "mean"] == 0
    frame = report.to_frame()
    assert (frame["before"] == frame["after"]).all()
    assert set(frame["metric"]) == {"reliability", "generality", "locality", "same subject"}
    assert "nothing, 2 cases" in repr(report)


def test_texts_are_those_that_generate_writes_alone(embedded, facts):
    prompts = facts.filter(subjects=["JP", "PE"], languages=["en", "zh", "hi"]).prompts()[::3]
    tokenizer, model = embedded.tokenizer, embedded.original_model
    for prompt, found in zip(prompts, generate(embedded, prompts, max_prompts=7), strict=True):
        tokens = tokenizer(prompt.text, return_tensors="pt")["input_ids"]
        out = model.generate(tokens, do_sample=False, max_new_tokens=16, pad_token_id=0)
        expected = tokenizer.decode(out[0, tokens.shape[1] :], skip_special_tokens=True)
        assert found.text == expected.strip()


@pytest.mark.parametrize("family", ["gpt2", "llama", "bloom", "opt"])
def test_token_accuracy_is_that_of_a_plain_reading(tiny, prompts, family):
    """A random model writes anything: what counts is the next token after the true ones."""
    model = tiny(family)
    for prompt, found in zip(prompts, generate(model, prompts), strict=True):
        item = encode(model, prompt)
        with torch.no_grad():
            logits = model(torch.tensor([item.read]))[0]
        best = logits[item.predicts :].argmax(-1)[: len(item.answer)]
        expected = (best == torch.tensor(item.answer)).float().mean()
        assert found.token_accuracy == pytest.approx(float(expected))


def test_every_language_is_edited_alone_and_asked_everywhere(embedded, cases):
    seen = []

    def edit(model, case, languages):
        seen.append((case.id, tuple(languages)))
        return Nothing()

    report = evaluate(embedded, Editor("spy", edit), cases, alone=True, progress=False)
    expected = [("en", "ru", "zh"), ("en",), ("ru",), ("zh",)]
    assert seen == [(case.id, languages) for case in cases for languages in expected]
    assert report.matrix("generality").shape == (4, 3)
    assert report.conflict()["conflict"].tolist() == [0, 0, 0, 0]


def test_what_was_stopped_goes_on_from_its_file(embedded, cases, tmp_path):
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


def test_the_metrics_are_those_of_the_table():
    assert set(ANSWER_METRICS) == set(get_args(AnswerMetric))


def test_all_edits_at_once_are_made_before_the_first_question(embedded, cases, tmp_path):
    made = []

    def edit_all(model, cases):
        made.append([case.id for case in cases])
        return Nothing()

    editor = Editor("e", lambda *given: pytest.fail("edited alone"), edit_all=edit_all)
    options = {"at_once": True, "file": tmp_path / "done.jsonl", "progress": False}
    report = evaluate(embedded, editor, cases, **options)
    assert made == [[case.id for case in cases]]
    assert {answer.case for answer in report.answers} == set(made[0])
    assert evaluate(embedded, editor, cases, **options) == report
    assert len(made) == 1
    with pytest.raises(ValueError, match="leave out alone=True"):
        evaluate(embedded, editor, cases, at_once=True, alone=True)


def test_bad_input(embedded, cases):
    for options in ({"together": False}, {"cases": []}):
        with pytest.raises(ValueError, match="there is nothing to evaluate"):
            evaluate(embedded, NOTHING, **{"cases": cases, **options})
    with pytest.raises(ValueError, match="unknown language 'xx'"):
        evaluate(embedded, NOTHING, cases, languages=["xx"])


def test_a_question_longer_than_the_model_reads_is_said_before_any_edit(embedded, cases):
    long = lv.Prompt.of("Japan " * 200 + "is", "Rome", subject="Japan")
    case = replace(cases[0], portability={"en": (long,)})

    def edit(model, case, languages):
        raise AssertionError("an edit was made")

    with pytest.raises(ValueError, match=r"201 tokens with its answer, but .* at most 128"):
        evaluate(embedded, Editor("e", edit), [cases[1], case], progress=False)


def test_a_text_ends_where_the_model_reads_no_further(tiny):
    long = lv.Prompt.of("a" + " b" * 60, " c d", subject="a")
    model = tiny("gpt2")
    tokens = len(encode(model, long).read)
    assert 100 < tokens <= 128
    (found,) = generate(model, [long])
    assert len(found.tokens) <= 128 - tokens + 4


def test_a_masked_model_writes_nothing(tiny, cases):
    with pytest.raises(ValueError, match="give a causal model"):
        evaluate(tiny("bert"), NOTHING, cases)


def test_an_edit_of_all_languages_holds_in_texts(embedded, cases):
    """One edit from one end to the other; locality beside it."""
    editor = lv.baselines.language_agnostic(position="answer")
    report = evaluate(embedded, editor, cases.filter(n=1), progress=False)
    found = report.summary().set_index("metric")
    assert found.loc["reliability", "mean"] > 0.8
    assert found.loc["reliability", "before"] == 0
    assert found.loc["locality", "mean"] == 1
    assert np.isnan(found.loc["locality", "low"])


def test_a_question_without_a_subject_is_no_question_of_the_same_subject(embedded, cases):
    case = cases[0]
    bare = {
        lang: tuple(replace(p, subject="", subject_span=None) for p in asked)
        for lang, asked in case.locality.items()
    }
    report = evaluate(embedded, NOTHING, [replace(case, locality=bare)], progress=False)
    assert "same subject" not in set(report.to_frame()["metric"])
