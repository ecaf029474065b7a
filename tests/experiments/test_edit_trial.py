"""An edit is made and tested, and one that does not hold is refused."""

from dataclasses import replace

import pytest
from made_up_edits import NOTHING, an_edit

import lafn_viz as lv
from lafn_viz.editing.edit import EditError
from lafn_viz.experiments.edit_trial import cache_in, case_to_try, place_to_edit, try_edit

JAPAN = {"subject": "JP", "relation": "capital", "languages": ["en", "ru"]}


@pytest.mark.slow
def test_an_edit_is_tested_on_all_questions_of_its_case(embedded, facts):
    case = case_to_try(facts, new_object="IT", **JAPAN)
    trial = try_edit(embedded, lv.baselines.language_agnostic(n_neurons=640, layers=3), case)
    trial.require_holding()
    assert {prompt.answer for prompt in trial.case.prompts("edit")} == {"Rome", "Рим"}
    asked = {a.text for a in trial.evaluation.answers if a.metric == "locality"}
    subjects = facts.filter(relation="capital", languages="en").facts
    named = {x.subject_id for x in subjects if any(x.subject["en"] in text for text in asked)}
    assert len(named) == 3
    assert "IT" in named  # whose capital it is
    assert "JP" not in named
    header, columns, *rows = trial.to_text().splitlines()
    assert header == "capital/JP->own in 2 languages; % of the texts:"
    assert columns.split() == ["questions", "before", "after", "whole", "lowest"]
    by_name = {row[:46].strip(): row[46:].split() for row in rows if not row.startswith("  ")}
    assert by_name["new answer in the wordings that were edited"][:3] == ["10", "0%", "100%"]
    assert by_name["same answer for other subjects"][:3] == ["6", "100%", "100%"]
    summary = trial.evaluation.summary().set_index("metric")["mean"]
    shares = {name: int(cells[2][:-1]) / 100 for name, cells in by_name.items()}
    assert shares["new answer in held-out wordings"] == pytest.approx(
        summary["generality"], abs=5e-3
    )
    same = shares["same answer for other relations of the subject"]
    assert same == pytest.approx(summary["same subject"], abs=5e-3)


def test_an_edit_that_does_not_hold_is_refused(embedded, facts):
    trial = try_edit(embedded, NOTHING, case_to_try(facts, new_object="Rome", **JAPAN))
    with pytest.raises(ValueError, match=r"does not hold: the model answers 'Rome' in 0% of"):
        trial.require_holding()
    assert "  en: " in trial.to_text()  # what it answers instead


def test_an_edit_holds_in_a_model_that_writes_on_after_its_answers(embedded, facts):
    refused = try_edit(embedded, NOTHING, case_to_try(facts, new_object="Rome", **JAPAN))
    answers = [replace(x, after=f"{x.reference}. It is a city") for x in refused.evaluation.answers]
    held = replace(refused, evaluation=replace(refused.evaluation, answers=tuple(answers)))
    held.require_holding()
    row = next(row for row in held.to_text().splitlines() if "were edited" in row)
    assert row.split()[-4:] == ["10", "0%", "100%", "0%"]
    with pytest.raises(ValueError, match="does not hold"):
        refused.require_holding()


def test_a_fact_that_the_model_does_not_know_is_refused(tiny, facts):
    case = case_to_try(facts, new_object="IT", **JAPAN)
    with pytest.raises(ValueError, match=r"'Tokyo' as the answer to none of 12 questions such as"):
        try_edit(tiny("gpt2"), NOTHING, case)


def test_where_to_edit_is_not_traced_by_facts_that_the_model_does_not_know(tiny, facts):
    case = case_to_try(facts, new_object="IT", **JAPAN)
    with pytest.raises(ValueError, match="answers 0 of 300 prompts of 'capital', so it cannot be"):
        place_to_edit(tiny("gpt2"), facts, case)


def test_a_folder_of_another_models_edits_is_refused(embedded, tiny, tmp_path):
    place = tmp_path / "edits"
    assert len(cache_in(place, embedded)) == 0
    lv.EditCache([an_edit(embedded)]).save(place)
    assert len(cache_in(place, embedded)) == 1
    with pytest.raises(EditError, match="not for this one"):
        cache_in(place, tiny("gpt2"))
    with pytest.raises(FileNotFoundError, match=r"there is no .*edits\.json"):
        cache_in(tmp_path, embedded)
