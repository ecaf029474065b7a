"""Many edits: finished ones are kept when the process is killed."""

from dataclasses import replace

import pytest
import torch

import lafn_viz as lv
from lafn_viz.editing import many

FEW = {"n_neurons": 5, "position": "answer"}


@pytest.fixture(scope="module")
def cases(facts):
    return lv.counterfactual_cases(facts, n=3).filter(languages=["en"])


@pytest.mark.slow
def test_edits_resume_where_they_were_killed(embedded, cases, tmp_path, monkeypatch):
    monkeypatch.setattr(many, "SAVE_EVERY", 0.0)
    made = []

    def stop(number, loss):
        made.extend([number] if number == 1 else [])
        if len(made) == 3:
            raise KeyboardInterrupt

    folder = tmp_path / "edits"
    with pytest.raises(KeyboardInterrupt):
        lv.edit_cases(embedded, cases, folder=folder, progress=False, on_step=stop, **FEW)
    assert len(lv.EditCache.load(folder)) == 2
    made.clear()
    cache = lv.edit_cases(embedded, cases, folder=folder, progress=False, on_step=stop, **FEW)
    assert len(made) == 1
    assert {edit.key for edit in cache} == {case.key for case in cases}
    again = lv.EditCache.load(folder)
    assert [edit.curve for edit in again] == [edit.curve for edit in cache]


@pytest.mark.slow
def test_bad_input(embedded, tiny, cases, facts, tmp_path):
    folder = tmp_path / "edits"
    lv.edit_cases(embedded, list(cases)[:1], folder=folder, progress=False, **FEW)
    other = lv.counterfactual_case(
        facts, subject=cases[0].subject_id, relation="capital", new_object="Rome", languages=["en"]
    )
    with pytest.raises(lv.EditError, match="with another new object than case"):
        lv.edit_cases(embedded, [other], folder=folder, progress=False, **FEW)
    with pytest.raises(lv.EditError, match="both edit"):
        lv.edit_cases(embedded, [cases[0], other], progress=False, **FEW)
    with pytest.raises(lv.EditError, match="holds edits of another model, 'embedded'"):
        lv.edit_cases(tiny("llama"), cases, folder=folder, progress=False, **FEW)
    assert len(lv.EditCache.load(folder)) == 1
    (tmp_path / "not").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no"):
        lv.edit_cases(embedded, cases, folder=tmp_path / "not", progress=False, **FEW)


@pytest.mark.slow
def test_a_bad_case_takes_no_other_edit_with_it(embedded, cases, tmp_path):
    good = lv.edit_cases(embedded, list(cases)[::2], progress=False, **FEW)
    (question, *_) = cases[1].edit["en"]
    long = lv.Prompt.of("Japan " * 300 + "is", question.answer, subject="Japan")
    bad = replace(cases[1], edit={"en": (long,)})
    folder = tmp_path / "edits"
    with pytest.warns(lv.SkippedWarning, match=r"1 of 3 cases left out: .* tokens with its answer"):
        cache = lv.edit_cases(
            embedded, [cases[0], bad, cases[2]], folder=folder, progress=False, **FEW
        )
    for edit, expected in zip(cache, good, strict=True):
        assert edit.key == expected.key
        torch.testing.assert_close(edit.values, expected.values, rtol=0, atol=0)
    # Once it is mended, it alone is edited.
    made = []
    mended = lv.edit_cases(
        embedded, cases, folder=folder, progress=False, **FEW,
        on_step=lambda number, loss: made.extend([number] if number == 1 else []),
    )  # fmt: skip
    assert len(made) == 1
    assert {edit.key for edit in mended} == {case.key for case in cases}
    with pytest.raises(ValueError, match="tokens with its answer"):
        lv.edit_cases(embedded, [bad], progress=False, **FEW)
