"""All explorers in tabs."""

import ipywidgets as w
import pytest
from made_up_edits import an_edit

from lafn_viz.widgets import EXPLORERS, page
from lafn_viz.widgets.edit_stack import StagedEdit
from lafn_viz.widgets.help import HELP


def test_a_tab_is_built_when_it_is_opened(embedded, capitals):
    tabs = page(embedded, capitals)
    assert [bool(place.children) for place in tabs.children] == [True, False, False, False, False]
    tabs.selected_index = 2
    assert isinstance(tabs.children[2].children[0], list(EXPLORERS.values())[2])
    for place in tabs.children:
        for explorer in place.children:
            explorer.stop()
            explorer.wait()


def controls(widget):
    """What a person can set or press in a widget."""
    is_shown_only = isinstance(widget, w.HTML | w.FloatProgress)
    if isinstance(widget, w.Button | w.ValueWidget) and not is_shown_only:
        yield widget
    for child in getattr(widget, "children", ()):
        yield from controls(child)


def test_each_control_has_a_help_text(embedded, capitals):
    for explorer_class in EXPLORERS.values():
        explorer = explorer_class(embedded, capitals)
        without = [
            control.description or type(control).__name__
            for control in controls(explorer)
            if not HELP.keys() & set(control._dom_classes)
        ]
        assert not without, f"{explorer_class.__name__}: no help for {', '.join(without)}"
        assert "<dt>agnostic</dt>" in explorer.heading.value
        explorer.stop()
        explorer.wait()


@pytest.fixture(scope="module")
def few(capitals):
    """Three facts of each relation."""
    return capitals.filter(subjects=["FR", "JP", "PE"])


@pytest.fixture
def tabs(embedded, few):
    """All tabs; at the end none of them works on."""
    tabs = page(embedded, few)
    yield tabs
    for place in tabs.children:
        for explorer in place.children:
            explorer.stop()
            explorer.wait()


def opened(tabs, title):
    """Open a tab, and return its explorer once it is at rest."""
    tabs.selected_index = list(EXPLORERS).index(title)
    explorer = tabs.children[tabs.selected_index].children[0]
    explorer.wait()
    return explorer


@pytest.mark.slow
def test_all_tabs_are_about_one_fact(tabs):
    overlap = opened(tabs, "Overlap")
    overlap.choice.value = "capital/JP"
    overlap.method.value = "activation"
    overlap.languages.value = ["en", "zh"]
    overlap.wait()
    neurons = opened(tabs, "Neurons")
    assert (neurons.choice.value, neurons.method.value) == ("capital/JP", "activation")
    assert neurons.scores.prompts[0].fact_id == "capital/JP"
    assert neurons.scores.provenance.method == "activation"
    assert opened(tabs, "Layers").lens.prompts[0].fact_id == "capital/JP"
    editor = opened(tabs, "Edit")
    assert (editor.relation.value, editor.subject.value) == ("capital", "Japan")
    assert editor.languages.value == ("en", "zh")
    prompt = opened(tabs, "Type and see")
    assert (prompt.text.value, prompt.answer.value) == ("The capital of Japan is", "Tokyo")
    # A text of the reader's stays, and is no fact.
    prompt.answer.value = "Kyoto"
    prompt.wait()
    editor = opened(tabs, "Edit")
    editor.relation.value, editor.subject.value = "continent", "秘鲁"
    assert opened(tabs, "Overlap").choice.value == "continent/PE"
    assert overlap.overlap.facts == ("continent/PE",)
    assert overlap.languages.value == ("en", "zh")
    assert opened(tabs, "Type and see").answer.value == "Kyoto"
    assert not any(place.children[0].status.is_error for place in tabs.children)


@pytest.mark.slow
def test_a_model_that_a_tab_cannot_use_is_kept_for_the_others(few):
    tabs = page("embedded", few)
    overlap = opened(tabs, "Overlap")
    overlap.model_choice.value = "embedded-masked"
    overlap.wait()
    editor = opened(tabs, "Edit")
    assert editor.model_choice.value == "embedded"
    assert tabs.state.note == "This tab does not offer model 'embedded-masked'."
    assert tabs.state.chosen["model"] == "embedded-masked"
    assert opened(tabs, "Overlap").model_choice.value == "embedded-masked"
    assert not tabs.state.note


@pytest.mark.slow
def test_the_address_holds_what_is_shown_and_shows_what_it_holds(tabs, embedded, few):
    overlap = opened(tabs, "Overlap")
    shown = {
        "tab": "overlap", "fact": "capital/FR", "method": "integrated_gradients",
        "languages": "en,fr,zh",
    }  # fmt: skip
    assert tabs.state.chosen == shown  # a model that has no name has no place in it
    overlap.choice.value = "capital/PE"
    overlap.languages.value = ["fr", "zh"]
    opened(tabs, "Neurons")
    sent = dict(tabs.state.chosen)
    assert sent == shown | {"tab": "neurons", "fact": "capital/PE", "languages": "fr,zh"}
    other = page(embedded, few)
    other.state.asked = {**sent, "number": 1}
    assert other.selected_index == 1
    assert opened(other, "Neurons").scores.prompts[0].fact_id == "capital/PE"
    assert opened(other, "Overlap").languages.value == ("fr", "zh")
    assert other.state.chosen == sent | {"tab": "overlap"}


@pytest.mark.slow
def test_an_address_that_asks_for_what_is_not_there_changes_nothing(tabs):
    overlap = opened(tabs, "Overlap")
    before, shown = dict(tabs.state.chosen), overlap.figure.figure
    for number, (name, value) in enumerate(
        [
            ("fact", "capital/XX"),
            ("model", "../../etc/passwd"),
            ("method", "<img src=x onerror=alert(1)>"),
            ("languages", "xx"),
            ("languages", ""),
        ]
    ):
        tabs.state.asked = {name: value, "tab": "nowhere", "number": number}
        overlap.wait()
        assert tabs.state.note.startswith(f"This tab does not offer {name}")
        assert (tabs.state.chosen, overlap.figure.figure) == (before, shown)
    # Nor is it asked for again in the next tab.
    opened(tabs, "Neurons")
    assert not tabs.state.note


@pytest.mark.slow
def test_edits_that_are_saved_nowhere_are_known(tabs, few, embedded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    editor = opened(tabs, "Edit")
    assert not tabs.state.unsaved
    editor._set_stack(editor.stack.push(StagedEdit.loaded(an_edit(embedded), few)))
    editor.wait()
    assert tabs.state.unsaved
    editor.files.save_button.click()
    assert not tabs.state.unsaved
    editor.scale.value = 0.5
    editor.wait()
    assert tabs.state.unsaved
    editor.files.download.asked += 1
    assert not tabs.state.unsaved
    editor.undo_button.click()
    editor.wait()
    assert tabs.state.unsaved
    editor.remove_button.click()
    editor.wait()
    assert not tabs.state.unsaved
