"""The explorers without a browser: controls are set as the page sets them."""

import json
import threading
from dataclasses import replace

import pytest
import torch
from plotly import graph_objects as go

import lafn_viz as lv
from lafn_viz import plots
from lafn_viz.widgets import EXPLORERS, FigureView, page
from lafn_viz.widgets.background import Cancelled, Task, Worker
from lafn_viz.widgets.html import Cell, table

LANGUAGES = ["en", "fr", "zh"]


@pytest.fixture(scope="module")
def capitals() -> lv.FactSet:
    return (
        lv.load_facts()
        .filter(relation=["capital", "continent"], leaking=False)
        .filter(languages=LANGUAGES)
    )


@pytest.fixture(scope="module")
def overlap_explorer(embedded, capitals) -> lv.OverlapExplorer:
    explorer = lv.OverlapExplorer(embedded, capitals, n_others=2)
    explorer.wait()
    return explorer


@pytest.fixture
def editor(embedded, capitals) -> lv.LiveEditor:
    explorer = lv.LiveEditor(embedded, capitals)
    explorer.wait()
    explorer.relation.value = "capital"
    explorer.position.value = "answer"
    return explorer


def edit(explorer: lv.LiveEditor, subject: str, new: str) -> None:
    explorer.subject.value, explorer.new_object.value = subject, new
    explorer.edit_button.click()
    explorer.wait()


def test_a_figure_goes_out_as_it_is():
    view = FigureView()
    figure = go.Figure(go.Heatmap(z=[[1, 2, 3], [4, 5, 6]]))
    plots.style.styled(figure, title="What", caption="It<br>is", height=300)
    view.show(figure)
    sent = json.loads(view.figure)
    assert sent["data"][0]["z"] == [[1, 2, 3], [4, 5, 6]]
    assert sent["config"] == plots.CONFIG
    assert view.label == "What. It is"
    before = view.revision
    view.show(None)
    assert (view.figure, view.label) == ("", "")
    assert view.revision == before + 1


def test_the_library_is_sent_when_it_is_asked_for(monkeypatch):
    view, sent = FigureView(), []
    monkeypatch.setattr(view, "send", sent.append)
    view._handle_custom_msg({"kind": "other"}, [])
    assert not sent
    view._handle_custom_msg({"kind": "plotly"}, [])
    assert "Plotly" in sent[0]["code"]


def test_only_the_last_of_what_was_asked_counts():
    worker, shown, started, go_on = Worker(), [], threading.Event(), threading.Event()

    def slow(task: Task) -> str:
        started.set()
        go_on.wait(10)
        task.step(0.5, "half")
        return "old"

    def then(found: str, task: Task) -> None:
        shown.append(found)

    options = {"then": then, "progress": lambda share, told: None, "failed": shown.append}
    old = worker.submit(slow, **options)
    assert started.wait(10)
    waiting = worker.submit(lambda task: "never begun", **options)
    new = worker.submit(lambda task: "new", **options)
    old.cancel()
    waiting.cancel()
    go_on.set()
    for task in (old, waiting, new):
        task.finished.result(10)
    assert shown == ["new"]
    with pytest.raises(Cancelled):
        old.step(1.0, "done")


def test_what_goes_wrong_in_the_background_is_told():
    told = []
    task = Worker().submit(
        lambda task: 1 / 0, then=lambda *_: None, progress=lambda *_: None, failed=told.append
    )
    task.finished.result(10)
    assert isinstance(told[0], ZeroDivisionError)


def test_the_overlap_is_that_of_the_package(overlap_explorer, embedded, capitals):
    fact = overlap_explorer.choice.fact
    assert fact.id == "capital/FR"
    prompts = capitals.filter(relation="capital", subjects="FR").prompts(
        splits=["trained", "held-out pair"]
    )
    scores = lv.attribute(embedded, prompts)
    for threshold in (0.2, 0.5):
        overlap_explorer.threshold.value = threshold
        sets = lv.select_neurons(scores, threshold=threshold)
        found = overlap_explorer.overlap
        for language in LANGUAGES:
            own = next(one for one in sets if one.language == language)
            assert found.sets[fact.id, language].neurons == own.neurons
    overlap_explorer.threshold.value = 0.2


def test_a_click_lists_what_two_languages_share(overlap_explorer):
    overlap_explorer.figure.clicked = {"curve": 0, "row": 0, "column": 2, "click": 1}
    sets = overlap_explorer.overlap.sets
    assert [one.value for one in overlap_explorer.pair] == ["en", "zh"]
    shared = sets["capital/FR", "en"].neurons & sets["capital/FR", "zh"].neurons
    assert overlap_explorer.shared == shared
    view = overlap_explorer.panel.box.children[0]
    assert len(view.df) == len(shared)
    overlap_explorer.figure.clicked = {"curve": 1, "row": 1, "column": 2, "click": 2}
    assert "control" in overlap_explorer.status.text
    assert [one.value for one in overlap_explorer.pair] == ["en", "zh"]
    overlap_explorer.figure.clicked = {"curve": 0, "row": 1, "column": 0, "click": 3}
    assert [one.value for one in overlap_explorer.pair] == ["fr", "en"]


def test_a_row_of_the_table_brings_its_card(overlap_explorer):
    view = overlap_explorer.panel.box.children[0]
    view.selected_rows = [1]
    overlap_explorer.wait()
    layer, neuron = overlap_explorer.panel.field.value.split(":")
    assert overlap_explorer.panel.card.neuron == (int(layer), int(neuron))
    assert view.df["neuron"].iloc[1] == overlap_explorer.panel.field.value
    for wrong, said in (("12", "'12' is no neuron"), ("9:1", "neurons=[(9, 1)]; give at least")):
        overlap_explorer.panel.field.value = wrong
        overlap_explorer.wait()
        assert overlap_explorer.status.text.startswith(said)
        assert overlap_explorer.status.is_error


@pytest.mark.parametrize("view", ["upset", "layers", "strip", "heatmap"])
def test_every_view_is_drawn(overlap_explorer, view):
    before = overlap_explorer.figure.revision
    overlap_explorer.view.value = "strip" if view == "heatmap" else "heatmap"
    overlap_explorer.view.value = view
    assert overlap_explorer.figure.revision > before
    assert not overlap_explorer.status.is_error


def test_a_click_on_the_strip_brings_the_card_of_its_neuron(overlap_explorer):
    overlap_explorer.view.value = "strip"
    sent = json.loads(overlap_explorer.figure.figure)["data"][0]
    overlap_explorer.figure.clicked = {"curve": 0, "row": 2, "column": 60, "click": 9}
    overlap_explorer.wait()
    assert overlap_explorer.panel.field.value == sent["customdata"][2][60]
    assert overlap_explorer.panel.card.neuron.layer == 1
    overlap_explorer.view.value = "heatmap"


def test_one_language_has_no_overlap(overlap_explorer):
    boxes = overlap_explorer.languages.boxes
    shown = overlap_explorer.figure.figure
    boxes["en"].value = boxes["zh"].value = False
    assert "an overlap needs two or more" in overlap_explorer.status.text
    assert overlap_explorer.figure.figure != ""
    boxes["en"].value = True
    assert not overlap_explorer.status.is_error
    assert set(overlap_explorer.overlap.languages) == {"en", "fr"}
    boxes["zh"].value = True
    assert overlap_explorer.figure.figure == shown


def test_an_edit_is_made_shown_turned_and_taken_back(editor):
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
    whole, turned = editor.stack[0].edit, editor.stack[0].applied()
    assert turned.values[place] == -whole.values[place]
    assert (turned.values == whole.values).sum() == len(whole.values) - 1
    editor.undo_button.click()
    editor.undo_button.click()
    editor.wait()
    assert not editor.stack
    assert editor.undo_button.disabled
    assert editor.answers.value == ""
    assert editor.status.text == "No edits are applied."


def test_edits_stack_and_go_one_by_one(editor, tmp_path):
    edit(editor, "Japan", "Rome")
    edit(editor, "Peru", "Berlin")
    assert [one.edit.subject_id for one in editor.stack] == ["JP", "PE"]
    edit(editor, "Japan", "Paris")  # in place of the first
    assert [one.edit.new["en"] for one in editor.stack] == ["Berlin", "Paris"]
    editor.path.value = str(tmp_path / "mine")
    editor.save_button.click()
    assert len(lv.EditCache.load(tmp_path / "mine")) == 2
    editor.selected.value = ("PE", "capital")
    editor.remove_button.click()
    editor.wait()
    assert [one.edit.subject_id for one in editor.stack] == ["JP"]
    editor.load_button.click()
    editor.wait()
    assert {one.edit.subject_id for one in editor.stack} == {"JP", "PE"}
    # What is edited too is no neighbour.
    texts = editor.comparison.to_frame().query("group == 'other subjects'")["text"]
    assert not any("Peru" in text or "Japan" in text for text in texts)


def test_bad_input_to_the_editor_is_said_and_loses_nothing(editor, tmp_path):
    edit(editor, "Japan", "Rome")
    stack = editor.stack
    for subject, new, said in (
        ("Atlantis", "Rome", "no fact here has the subject 'Atlantis'"),
        ("Peru", "Gotham", "'Gotham'"),
        ("", "Rome", ""),
    ):
        edit(editor, subject, new)
        assert editor.status.is_error
        assert said in editor.status.text
        assert "\n" not in editor.status.text
        assert editor.stack is stack
    editor.path.value = str(tmp_path / "nothing")
    editor.load_button.click()
    assert "edits.json" in editor.status.text
    assert editor.stack is stack
    cache = editor.cache
    (one,) = cache
    other = replace(one, provenance=replace(one.provenance, weights="0" * 64))
    lv.EditCache([other]).save(tmp_path / "other")
    editor.path.value = str(tmp_path / "other")
    editor.load_button.click()
    assert "edit the fact anew on this model" in editor.status.text
    assert editor.stack is stack


def test_edits_wait_for_their_model(capitals):
    explorer = lv.LiveEditor("embedded", capitals)
    explorer.wait()
    explorer.relation.value, explorer.position.value = "capital", "answer"
    edit(explorer, "Japan", "Rome")
    explorer.model_choice.value = "embedded-control"
    explorer.wait()
    assert not explorer.stack
    explorer.undo_button.click()
    assert not explorer.stack
    explorer.model_choice.value = "embedded"
    explorer.wait()
    assert [one.edit.subject_id for one in explorer.stack] == ["JP"]
    assert explorer.comparison.counts("the edit") == (3, 3)
    explorer.undo_button.click()
    explorer.wait()
    assert not explorer.stack


def test_an_edit_can_be_cancelled(editor):
    begun = threading.Event()
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
    edit(editor, "Japan", "Rome")
    assert editor.comparison.counts("the edit") == (3, 3)


def test_typing_attributes_the_last_text_only(embedded, capitals):
    explorer = lv.PromptExplorer(embedded, capitals)
    explorer.wait()
    explorer.wait()
    shown = []
    explorer.figure.observe(lambda change: shown.append(change["new"]), "revision")
    for text in ("The c", "The capital of", "The capital of Japan is"):
        explorer.text.value = text
    explorer.answer.value = "Tokyo"
    explorer.wait()
    assert len(shown) == 1
    prompt = explorer.scores.prompts[0]
    assert (prompt.text, prompt.answer) == ("The capital of Japan is", "Tokyo")
    assert torch.equal(explorer.scores.values, lv.attribute(embedded, [prompt]).values)
    assert explorer.status.text.startswith("P(Tokyo) = 9")
    explorer.answer.value = "Rome"
    explorer.wait()
    assert "not what the model would write" in explorer.status.text
    explorer.text.value = " "
    explorer.wait()
    assert explorer.status.is_error
    assert "empty text" in explorer.status.text


def test_neurons_of_a_fact(embedded, capitals):
    explorer = lv.NeuronExplorer(embedded, capitals)
    explorer.wait()
    explorer.wait()
    best = lv.neuron_table(explorer.scores).iloc[0]
    assert explorer.panel.card.neuron == (best["layer"], best["neuron"])
    explorer.choice.relation.value = "continent"
    explorer.wait()
    explorer.wait()
    assert explorer.scores.prompts[0].relation == "continent"


def test_another_model_can_be_chosen(capitals):
    explorer = lv.NeuronExplorer("embedded", capitals)
    explorer.wait()
    first = explorer.scores.provenance.weights
    explorer.model_choice.value = "embedded-masked"
    while explorer.scores.provenance.weights == first and not explorer.status.is_error:
        explorer.wait()
    assert explorer.scores.provenance.model == "embedded-masked"
    nothing = lv.NeuronExplorer("no such model", capitals)
    nothing.wait()
    assert "no such model" in nothing.status.text
    assert nothing.status.is_error


def slow(monkeypatch, module: str, name: str) -> threading.Event:
    """Let a function of a module wait until the event is set."""
    import importlib

    home = importlib.import_module(module)
    real, go_on = getattr(home, name), threading.Event()

    def waits(*args, **options):
        go_on.wait(30)
        return real(*args, **options)

    monkeypatch.setattr(home, name, waits)
    return go_on


def test_nothing_is_computed_by_another_model_than_the_list_names(capitals, monkeypatch):
    explorer = lv.LiveEditor("embedded", capitals)
    explorer.wait()
    explorer.relation.value, explorer.position.value = "capital", "answer"
    explorer.subject.value, explorer.new_object.value = "Japan", "Rome"
    go_on = slow(monkeypatch, "lafn_viz.widgets.explorer", "loaded")
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
    assert [one.edit.provenance.model for one in explorer.stack] == ["embedded-control"]


def test_cancelled_work_draws_nothing_and_is_done_again_when_asked(embedded, capitals, monkeypatch):
    explorer = lv.OverlapExplorer(embedded, capitals, n_others=1)
    explorer.wait()
    shown = explorer.figure.figure
    go_on = slow(monkeypatch, "lafn_viz.widgets.overlap", "attribute")
    explorer.choice.subject.value = "capital/DE"
    explorer.cancel.click()
    go_on.set()
    explorer.wait()
    assert explorer.status.text == "Cancelled."
    assert explorer.figure.figure == shown
    explorer.choice.subject.value = "capital/FR"
    explorer.wait()
    assert explorer.overlap.facts == ("capital/FR",)


def test_nothing_is_told_once_work_was_cancelled():
    """Else what was on its way would stand over "Cancelled." for good."""
    said, inside, go_on = [], threading.Event(), threading.Event()

    def progress(share, told):
        inside.set()
        go_on.wait(30)
        said.append(told)

    task = Task(progress)
    work = threading.Thread(target=task.step, args=(0.5, "half"))
    work.start()
    assert inside.wait(30)
    threading.Timer(0.2, go_on.set).start()
    task.cancel()
    assert said == ["half"]  # it was being told, and cancel() waited for it
    work.join()
    with pytest.raises(Cancelled):
        task.step(0.6, "more")
    assert said == ["half"]


def test_a_language_that_is_not_checked_is_not_said_to_be_unknown(overlap_explorer):
    overlap_explorer.figure.clicked = {"curve": 0, "row": 0, "column": 1, "click": 20}
    overlap_explorer.languages.boxes["fr"].value = False
    assert overlap_explorer.status.text.startswith("French is not checked")
    overlap_explorer.languages.boxes["fr"].value = True
    assert "neurons of capital/FR in English and French" in overlap_explorer.panel.title.value


def test_a_control_comes_even_if_the_first_drawing_fails(embedded, capitals):
    explorer = lv.OverlapExplorer(embedded, capitals, n_others=1)
    explorer.wait()
    boxes = explorer.languages.boxes
    boxes["en"].value = boxes["fr"].value = False
    explorer.choice.subject.value = "capital/PE"
    explorer.wait()
    assert explorer.status.is_error
    boxes["en"].value = boxes["fr"].value = True
    assert explorer.status.text.endswith("Control: 1 other facts.")


def test_undo_takes_back_one_edits_turns(editor):
    edit(editor, "Japan", "Rome")
    edit(editor, "Peru", "Berlin")
    for subject, scale in (("JP", 0.5), ("PE", 0.3)):
        editor.selected.value = (subject, "capital")
        editor.scale.value = scale + 0.1
        editor.scale.value = scale
    editor.undo_button.click()
    assert [one.scale for one in editor.stack] == [0.5, 1.0]
    editor.undo_button.click()
    assert [one.scale for one in editor.stack] == [1.0, 1.0]
    assert len(editor.stack) == 2


def test_an_edit_that_is_being_made_is_not_lost_to_another(editor):
    editor.subject.value, editor.new_object.value = "Japan", "Rome"
    editor.edit_button.click()
    edit(editor, "Peru", "Berlin")
    assert [one.edit.subject_id for one in editor.stack] == ["JP"]


def test_saving_replaces_no_other_edits_and_stays_in_its_folder(embedded, capitals, tmp_path):
    explorer = lv.LiveEditor(embedded, capitals, root=tmp_path / "page")
    explorer.wait()
    explorer.relation.value, explorer.position.value = "capital", "answer"
    edit(explorer, "Japan", "Rome")
    for name in ("../elsewhere", str(tmp_path), "."):
        explorer.path.value = name
        explorer.save_button.click()
        assert "is not inside the folder of this page" in explorer.status.text
    explorer.path.value = "mine"
    for _ in range(2):  # one's own can be saved again
        explorer.save_button.click()
        assert explorer.status.text.startswith("Saved")
    assert len(lv.EditCache.load(tmp_path / "page" / "mine")) == 1
    another = lv.LiveEditor(embedded, capitals, root=tmp_path / "page")
    another.wait()
    another.relation.value, another.position.value = "capital", "answer"
    edit(another, "Peru", "Berlin")
    another.path.value = "mine"
    another.save_button.click()
    assert "holds other edits; load them first" in another.status.text
    another.load_button.click()
    another.wait()
    assert [one.edit.subject_id for one in another.stack] == ["JP"]


def test_a_card_of_another_method_goes(embedded, capitals):
    explorer = lv.PromptExplorer(embedded, capitals)
    explorer.wait()
    explorer.panel.choose(explorer.panel.first)
    explorer.wait()
    assert explorer.panel.card is not None
    explorer.method.value = "gradient"
    explorer.wait()
    assert explorer.panel.card is None
    assert explorer.panel.figure.figure == ""


@pytest.mark.parametrize(
    ("facts", "said"),
    [({"languages": "en"}, "an overlap needs two languages"), ({}, "there are no facts")],
)
def test_facts_that_cannot_be_explored(embedded, capitals, facts, said):
    some = capitals.filter(**facts) if facts else replace(capitals, facts=())
    with pytest.raises(ValueError, match=said):
        lv.OverlapExplorer(embedded, some) if facts else lv.NeuronExplorer(embedded, some)


def test_text_of_a_data_set_is_shown_and_not_run():
    text = "<img src=x onerror=alert(1)>"
    found = table([text], [[Cell(text, 'en" onclick="x')]], caption=text, name="t")
    assert "<img" not in found
    assert found.count("&lt;img src=x onerror=alert(1)&gt;") == 3
    assert 'onclick="' not in found


def test_a_page_builds_a_tab_when_it_is_opened(embedded, capitals):
    tabs = page(embedded, capitals)
    assert [bool(place.children) for place in tabs.children] == [True, False, False, False]
    tabs.selected_index = 2
    assert isinstance(tabs.children[2].children[0], list(EXPLORERS.values())[2])
    for place in tabs.children:
        for explorer in place.children:
            explorer.stop()
            explorer.wait()
