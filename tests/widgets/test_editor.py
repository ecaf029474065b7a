"""The live editor: edits are made, scaled, removed, undone, saved, and kept for their model."""

import json
import threading
from dataclasses import replace

import pytest

import lafn_viz as lv


def ready_editor(model, facts, **options) -> lv.LiveEditor:
    """An editor that is ready to edit capitals."""
    explorer = lv.LiveEditor(model, facts, **options)
    explorer.wait()
    explorer.relation.value, explorer.position.value = "capital", "answer"
    return explorer


@pytest.fixture
def editor(embedded, capitals, edits_made_once) -> lv.LiveEditor:
    return ready_editor(embedded, capitals)


@pytest.fixture
def real_editor(embedded, capitals) -> lv.LiveEditor:
    """An editor whose edits take as long as they do."""
    return ready_editor(embedded, capitals)


def edit(explorer: lv.LiveEditor, subject: str, new: str) -> None:
    explorer.subject.value, explorer.new_object.value = subject, new
    explorer.edit_button.click()
    explorer.wait()


@pytest.mark.slow
def test_an_edit_is_made_shown_scaled_and_undone(editor):
    edit(editor, "日本", "Rome")
    assert not editor.status.is_error, editor.status.text
    assert editor.comparison.counts("the edit") == (3, 3)
    frame = editor.comparison.to_frame().query("group == 'the edit'").set_index("language")
    assert frame.loc["zh", "before"] == "东京"
    assert frame.loc["zh", "after"] == "罗马"
    assert "罗马" in editor.answers.value
    editor.scale.value = 0.0
    editor.wait()
    assert editor.comparison.after == editor.comparison.before
    assert editor.comparison.counts("the edit") == (0, 3)
    editor.undo_button.click()
    editor.wait()
    assert editor.scale.value == 1.0
    assert editor.comparison.counts("the edit") == (3, 3)
    slider = editor.sliders.children[0]
    slider.value = -1.0
    editor.wait()
    place = editor.stack[0].edit.neurons.index(slider.neuron)
    edited, scaled = editor.stack[0].edit, editor.stack[0].applied()
    assert scaled.values[place] == -edited.values[place]
    assert (scaled.values == edited.values).sum() == len(edited.values) - 1
    editor.undo_button.click()
    editor.undo_button.click()
    editor.wait()
    assert not editor.stack
    assert editor.undo_button.disabled
    assert editor.answers.value == ""
    assert editor.status.text == "No edits are applied."


@pytest.mark.slow
def test_edits_stack_and_are_removed_one_by_one(editor, tmp_path):
    edit(editor, "Japan", "Rome")
    edit(editor, "Peru", "Berlin")
    assert [staged.edit.subject_id for staged in editor.stack] == ["JP", "PE"]
    edit(editor, "Japan", "Paris")  # replaces the first
    assert [staged.edit.new["en"] for staged in editor.stack] == ["Berlin", "Paris"]
    editor.files.path.value = str(tmp_path / "mine")
    editor.files.save_button.click()
    assert len(lv.EditCache.load(tmp_path / "mine")) == 2
    editor.selected.value = ("PE", "capital")
    editor.remove_button.click()
    editor.wait()
    assert [staged.edit.subject_id for staged in editor.stack] == ["JP"]
    editor.files.load_button.click()
    editor.wait()
    assert {staged.edit.subject_id for staged in editor.stack} == {"JP", "PE"}
    # A fact that is edited itself is no neighbour.
    texts = editor.comparison.to_frame().query("group == 'other subjects'")["text"]
    assert not any("Peru" in text or "Japan" in text for text in texts)


def test_bad_input_is_explained_and_loses_nothing(editor, tmp_path):
    edit(editor, "Japan", "Rome")
    stack = editor.stack
    for subject, new, message in (
        ("Atlantis", "Rome", "has the subject 'Atlantis'"),
        ("jappan", "Rome", "did you mean 'Japan'"),
        ("Mexico", "Rome", "because the answer shows in its name"),
        ("Peru", "berlln", "did you mean 'Berlin'"),
        ("Peru", "en: Gotham; Rom", "names only some languages"),
        ("Peru", "Gotham", "'Gotham'"),
        ("", "Rome", "no subject is given"),
    ):
        edit(editor, subject, new)
        assert editor.status.is_error
        assert message in editor.status.text
        assert "\n" not in editor.status.text
        assert editor.stack is stack
    editor.files.path.value = str(tmp_path / "nothing")
    editor.files.load_button.click()
    assert editor.files.status.is_error
    assert "edits.json" in editor.files.status.text
    assert editor.stack is stack
    (applied,) = editor.cache
    other = replace(applied, provenance=replace(applied.provenance, weights="0" * 64))
    lv.EditCache([other]).save(tmp_path / "other")
    editor.files.path.value = str(tmp_path / "other")
    editor.files.load_button.click()
    assert "edit the fact anew on this model" in editor.files.status.text
    assert editor.stack is stack


@pytest.mark.slow
def test_edits_wait_until_their_model_is_chosen_again(capitals, edits_made_once):
    explorer = ready_editor("embedded", capitals)
    edit(explorer, "Japan", "Rome")
    explorer.model_choice.value = "embedded-control"
    explorer.wait()
    assert not explorer.stack
    explorer.undo_button.click()
    assert not explorer.stack
    explorer.model_choice.value = "embedded"
    explorer.wait()
    assert [staged.edit.subject_id for staged in explorer.stack] == ["JP"]
    assert explorer.comparison.counts("the edit") == (3, 3)
    explorer.undo_button.click()
    explorer.wait()
    assert not explorer.stack


@pytest.mark.slow
def test_an_edit_can_be_cancelled(real_editor):
    editor, begun = real_editor, threading.Event()
    editor.status.observe(
        lambda change: begun.set() if "Evaluation" in change["new"] else None, "text"
    )
    editor.subject.value, editor.new_object.value = "Japan", "Rome"
    editor.edit_button.click()
    assert begun.wait(30)
    editor.cancel.click()
    editor.wait()
    assert editor.status.text == "Cancelled."
    assert not editor.stack
    assert editor.bar.layout.display == "none"
    assert not editor.curve.figure or "Rome, cancelled" in editor.curve.outdated
    edit(editor, "Japan", "Rome")
    assert editor.comparison.counts("the edit") == (3, 3)


@pytest.mark.slow
def test_nothing_is_computed_by_another_model_than_the_chosen_one(capitals, hold):
    explorer = ready_editor("embedded", capitals)
    explorer.subject.value, explorer.new_object.value = "Japan", "Rome"
    go_on = hold("lafn_viz.widgets.explorer", "loaded")
    explorer.model_choice.value = "embedded-control"
    explorer.edit_button.click()
    assert explorer.status.text.startswith("the model is not loaded yet")
    explorer.cancel.click()
    go_on.set()
    explorer.wait()
    assert explorer.model is None
    explorer.edit_button.click()  # tries to load it again
    explorer.wait()
    assert explorer.model.cfg is not None
    edit(explorer, "Japan", "Rome")
    assert [staged.edit.provenance.model for staged in explorer.stack] == ["embedded-control"]


def test_undo_takes_back_what_one_slider_did(editor):
    edit(editor, "Japan", "Rome")
    edit(editor, "Peru", "Berlin")
    for subject, scale in (("JP", 0.5), ("PE", 0.3)):
        editor.selected.value = (subject, "capital")
        editor.scale.value = scale + 0.1
        editor.scale.value = scale
    editor.undo_button.click()
    assert [staged.scale for staged in editor.stack] == [0.5, 1.0]
    editor.undo_button.click()
    assert [staged.scale for staged in editor.stack] == [1.0, 1.0]
    assert len(editor.stack) == 2


@pytest.mark.slow
def test_an_edit_that_is_being_made_is_not_replaced_by_another(real_editor):
    editor = real_editor
    editor.subject.value, editor.new_object.value = "Japan", "Rome"
    editor.edit_button.click()
    edit(editor, "Peru", "Berlin")
    assert [staged.edit.subject_id for staged in editor.stack] == ["JP"]


def test_saving_overwrites_no_other_edits_and_stays_in_its_folder(
    embedded, capitals, tmp_path, edits_made_once
):
    explorer = ready_editor(embedded, capitals, root=tmp_path / "page")
    edit(explorer, "Japan", "Rome")
    for name in ("../elsewhere", str(tmp_path), "."):
        explorer.files.path.value = name
        explorer.files.save_button.click()
        assert "is not inside the folder of this page" in explorer.files.status.text
    explorer.files.path.value = "mine"
    for _ in range(2):  # the same edits can be saved again
        explorer.files.save_button.click()
        assert explorer.files.status.text.startswith("Saved")
    assert len(lv.EditCache.load(tmp_path / "page" / "mine")) == 1
    another = ready_editor(embedded, capitals, root=tmp_path / "page")
    edit(another, "Peru", "Berlin")
    another.files.path.value = "mine"
    another.files.save_button.click()
    assert "holds other edits; load them first" in another.files.status.text
    another.files.load_button.click()
    another.wait()
    assert another.files.status.text == "Loaded 1 edit from mine."
    assert [staged.edit.subject_id for staged in another.stack] == ["JP"]


@pytest.mark.slow
def test_an_edit_that_fails_says_so_and_can_be_discarded(editor):
    edit(editor, "Japan", "Rome")
    assert editor.verdict.layout.display == "none"
    assert not editor.status.is_error
    right = editor.stack[0].edit
    editor.n_neurons.value = 1
    edit(editor, "Japan", "Paris")
    good, total = editor.comparison.counts("the edit")
    assert good < total
    assert editor.status.is_error
    assert editor.verdict.layout.display == ""
    assert f"the answer in {good} of {total} languages" in editor.verdict.text.value
    assert "more neurons (now 1)" in editor.verdict.text.value
    assert editor.verdict.question.layout.display == ""
    editor.verdict.discard_button.click()
    editor.wait()
    assert [staged.edit for staged in editor.stack] == [right]  # which it had replaced
    assert editor.verdict.layout.display == "none"


def test_the_curve_is_that_of_the_edit_that_is_shown(editor):
    for subject, new in (("Japan", "Rome"), ("Peru", "Berlin")):
        edit(editor, subject, new)
    for staged in editor.stack:
        editor.selected.value = staged.key
        drawn = json.loads(editor.curve.figure)["data"][0]
        assert drawn["name"] == editor.selected.label
        assert len(drawn["y"]) == len(staged.edit.curve)
        assert not editor.curve.outdated


def test_figures_and_answers_of_another_edit_are_dimmed_while_one_is_made(editor, hold):
    edit(editor, "Japan", "Rome")
    go_on = hold("lafn_viz.widgets.editor", "edit_case")
    editor.subject.value, editor.new_object.value = "Peru", "Berlin"
    editor.edit_button.click()
    for _ in range(2):  # while it is made, and when it was cancelled
        for note in (editor.values.outdated, editor.curve.outdated, editor.answers.value):
            assert "Not what is chosen now: this is still Japan: capital → Rome" in note
        editor.cancel.click()
    go_on.set()
    editor.wait()
    editor.scale.value = 0.9
    editor.wait()
    assert not editor.values.outdated
    assert "Not what is chosen now" not in editor.answers.value


@pytest.mark.slow
def test_an_object_that_the_facts_do_not_hold_is_given_by_language(editor):
    edit(editor, "JAPAN", "en: Gotham")
    (staged,) = editor.stack
    assert (staged.edit.subject_id, staged.edit.new) == ("JP", {"en": "Gotham"})


@pytest.mark.slow
def test_an_edit_is_gated_by_its_relation_unless_told_otherwise(editor, embedded):
    edit(editor, "Japan", "Rome")
    (gated,) = editor.stack
    assert "lv.gate_by_relation" in editor.python()
    editor.gated.value = False
    edit(editor, "Japan", "Rome")
    (ungated,) = editor.stack
    assert (gated.edit.gate is None, ungated.edit.gate is None) == (False, True)
    assert "lv.gate_by_relation" not in editor.python()
    asked = lv.load_facts().filter(subjects="Japan", languages="en")
    texts = [
        next(p.text for p in asked.filter(relation=x).prompts() if p.split == "held-out paraphrase")
        for x in ("capital", "continent")
    ]
    fired = [
        [match.key for match in lv.EditCache([staged.applied()]).find_as_read(embedded)(text)]
        for staged in (gated, ungated)
        for text in texts
    ]
    assert fired == [["JP"], [], ["JP"], ["JP"]]
    assert editor.comparison.counts("the edit") == (3, 3)
