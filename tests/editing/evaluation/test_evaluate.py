"""Evaluation: texts as the model writes them, languages apart, edits alone and at once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_edits import NOTHING, Nothing

import lafn_viz as lv
from lafn_viz.editing.baselines.editor import Editor
from lafn_viz.editing.evaluation.evaluate import evaluate
from lafn_viz.models.generation import generate
from lafn_viz.models.tokens import encode


def test_an_edit_that_does_nothing_has_full_locality_and_no_reliability(embedded, cases):
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
def test_token_accuracy_is_that_of_a_plain_forward_pass(tiny, prompts, family):
    """A random model writes anything: what counts is the next token after the true ones."""
    model = tiny(family)
    for prompt, found in zip(prompts, generate(model, prompts), strict=True):
        item = encode(model, prompt)
        with torch.no_grad():
            logits = model(torch.tensor([item.read]))[0]
        best = logits[item.predicts :].argmax(-1)[: len(item.answer)]
        expected = (best == torch.tensor(item.answer)).float().mean()
        assert found.token_accuracy == pytest.approx(float(expected))


@pytest.mark.slow
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


def test_two_cases_of_one_name_are_refused(embedded, cases):
    first, second = list(cases)[:2]
    given = [first, replace(second, id=first.id)]
    with pytest.raises(ValueError, match=f"2 cases are named '{first.id}'"):
        evaluate(embedded, NOTHING, given, progress=False)


def test_bad_input(embedded, cases):
    for options in ({"together": False}, {"cases": []}):
        with pytest.raises(ValueError, match="there is nothing to evaluate"):
            evaluate(embedded, NOTHING, **{"cases": cases, **options})
    with pytest.raises(ValueError, match="unknown language 'xx'"):
        evaluate(embedded, NOTHING, cases, languages=["xx"])


@pytest.mark.parametrize("at_once", [False, True])
def test_a_case_that_cannot_be_asked_takes_no_other_with_it(embedded, cases, tmp_path, at_once):
    options = {"at_once": at_once, "progress": False}
    long = lv.Prompt.of("Japan " * 200 + "is", "Rome", subject="Japan")
    bad = replace(cases[0], portability={"en": (long,)})
    edited = []

    def edit(model, case, languages):
        edited.append(case.id)
        return Nothing()

    editor = Editor("e", edit, edit_all=lambda model, cases: edit(model, cases[-1], ()))
    alone = evaluate(embedded, editor, [cases[1]], **options)
    edited.clear()
    file = tmp_path / "answers.jsonl"
    with pytest.warns(lv.SkippedWarning, match=r"1 of 2 cases left out: .* 201 tokens with its"):
        report = evaluate(embedded, editor, [bad, cases[1]], file=file, **options)
    assert report.answers == alone.answers
    assert list(report.left_out) == [bad.id]
    assert "1 cases (1 left out)" in repr(report)
    assert edited == [cases[1].id]  # it is seen before an edit is made
    # Once it is mended, the other is not done again, unless it was edited with it.
    edited.clear()
    mended = evaluate(embedded, editor, cases, file=file, **options)
    assert mended.left_out == {}
    assert edited == [cases[1 if at_once else 0].id]
    with pytest.raises(ValueError, match=r"201 tokens with its answer, but .* at most 128"):
        evaluate(embedded, editor, [bad], **options)


def test_an_editor_that_fails_for_one_case_keeps_the_others(embedded, cases):
    def edit(model, case, languages):
        if case.id == cases[0].id:
            raise RuntimeError("the loss is not a number")
        return Nothing()

    with pytest.warns(lv.SkippedWarning, match=r"left out: .* \(the loss is not a number\)"):
        report = evaluate(embedded, Editor("nothing", edit), cases, progress=False)
    assert report.answers == evaluate(embedded, NOTHING, [cases[1]], progress=False).answers


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


@pytest.mark.slow
def test_an_edit_of_all_languages_holds_in_texts(embedded, cases):
    """One edit end to end, with its locality."""
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
