"""All explorers in tabs."""

import shutil

import ipywidgets as w
import pytest
from made_up_edits import an_edit

from lafn_viz.core.paths import data_folder
from lafn_viz.widgets import EXPLORERS, page
from lafn_viz.widgets.edit_stack import StagedEdit
from lafn_viz.widgets.help import HELP


def at_rest(tabs):
    for explorer in tabs.explorers:
        explorer.stop()
        explorer.wait()


def test_a_tab_is_built_when_it_is_opened(embedded, capitals):
    tabs = page(embedded, capitals)
    assert [len(place.children[-1].children) for place in tabs.children] == [1, 0, 0, 0, 0]
    tabs.selected_index = 2
    assert [type(explorer) for explorer in tabs.explorers] == [
        list(EXPLORERS.values())[number] for number in (0, 2)
    ]
    at_rest(tabs)


def controls(widget):
    """What a person can set or press in a widget."""
    is_shown_only = isinstance(widget, w.HTML | w.FloatProgress)
    if isinstance(widget, w.Button | w.ValueWidget) and not is_shown_only:
        yield widget
    for child in getattr(widget, "children", ()):
        yield from controls(child)


def without_help(widget):
    """The names of the controls that have no help text."""
    return [
        control.description or type(control).__name__
        for control in controls(widget)
        if not HELP.keys() & set(control._dom_classes)
    ]


def test_each_control_has_a_help_text(embedded, capitals):
    tabs = page(embedded, capitals)
    assert not without_help(tabs)
    at_rest(tabs)
    for explorer_class in EXPLORERS.values():
        explorer = explorer_class(embedded, capitals)
        without = without_help(explorer)
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
    at_rest(tabs)


def opened(tabs, title):
    """Open a tab, and return its explorer once it is at rest."""
    tabs.selected_index = list(EXPLORERS).index(title)
    explorer = tabs.children[tabs.selected_index].children[-1].children[0]
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
    assert not any(explorer.status.is_error for explorer in tabs.explorers)


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


RURITANIA = (
    '{"id": "capital/XX", "relation": "capital", "subject_id": "XX", "object_id": "Y", '
    '"subject": {"en": "Ruritania", "fr": "Ruritanie"}, '
    '"object": {"en": "Strelsau", "fr": "Strelsau"}}'
)


def open_yours(tabs, model="", facts="", wordings=""):
    """Type these into the page, press the button, and return what it says."""
    study = tabs.study
    study.show.value = True
    study.model.value, study.facts.value, study.wordings.value = model, str(facts), str(wordings)
    study.button.click()
    return study.status.text


def test_a_model_and_facts_are_opened_in_all_tabs(tabs, tmp_path):
    folder = tmp_path / "a model"
    shutil.copytree(data_folder() / "models" / "embedded-control", folder)
    facts = tmp_path / "mine.jsonl"
    facts.write_text(RURITANIA, "utf-8")
    opened(tabs, "Neurons")
    assert open_yours(tabs, f"{folder} ") == f"Opened {folder}."
    assert not tabs.study.status.is_error
    (explorer,) = tabs.explorers  # the others are built when they are opened
    explorer.wait()
    assert explorer.model.cfg.model_name == str(folder)
    assert explorer.choice.value == "capital/FR"  # the facts stay
    assert open_yours(tabs, facts=facts) == f"Opened 1 fact of {facts}."
    overlap = opened(tabs, "Overlap")
    assert overlap.model_choice.value == str(folder)  # and so does the model
    assert [fact.id for fact in overlap.facts] == ["capital/XX"]
    assert open_yours(tabs, "embedded", facts) == f"Opened embedded with 1 fact of {facts}."
    at_rest(tabs)


def test_what_cannot_be_opened_is_said_and_the_page_stays(tabs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overlap = opened(tabs, "Overlap")
    one, bad = tmp_path / "one.jsonl", tmp_path / "bad.jsonl"
    one.write_text(RURITANIA.replace(', "fr": "Ruritanie"', "").replace(', "fr": "Strelsau"', ""))
    bad.write_text("{")
    for said, given in {
        "nothing is typed": {},
        "there is no model 'nowhere/at/all'": {"model": "nowhere/at/all"},
        "did you mean 'embedded'?": {"model": "embeded"},
        "bad.jsonl": {"facts": bad},
        "none.jsonl": {"facts": tmp_path / "none.jsonl"},
        "wordings are given without facts": {"wordings": bad},
        "an overlap needs two languages": {"facts": one},
    }.items():
        assert said in open_yours(tabs, **given)
        assert tabs.study.status.is_error
        assert tabs.explorers == [overlap]
    overlap.choice.value = "capital/JP"  # it works as before
    overlap.wait()
    assert "Japan" in overlap.status.text
    assert tabs.state.chosen["fact"] == "capital/JP"


def test_readers_of_a_shared_page_open_nothing_from_outside(embedded, few, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    outside = tmp_path / "secret.jsonl"
    outside.write_text("a secret")
    (tmp_path / "here" / "mine.jsonl").write_text(RURITANIA)
    (tmp_path / "here" / "link.jsonl").symlink_to(outside)
    tabs = page(embedded, few, root=tmp_path / "here")
    (explorer,) = tabs.explorers
    for given in (
        {"facts": outside},
        {"facts": "../secret.jsonl"},
        {"facts": "link.jsonl"},
        {"facts": "mine.jsonl", "wordings": outside},
        {"model": tmp_path},
        {"model": "~"},
    ):
        said = open_yours(tabs, **{name: str(value) for name, value in given.items()})
        assert "is not inside the folder of this page" in said
        assert "secret" not in said.replace("secret.jsonl", "")
        assert tabs.explorers == [explorer]
    assert open_yours(tabs, facts="mine.jsonl") == "Opened 1 fact of mine.jsonl."
    at_rest(tabs)
    explorer.wait()


@pytest.mark.slow
def test_two_facts_or_two_models_stand_side_by_side(tabs):
    overlap = opened(tabs, "Overlap")
    overlap.choice.value = "capital/JP"
    tabs.beside.value = True
    first, second = tabs.explorers
    assert (type(second), second.choice.value) == (type(overlap), "capital/JP")
    second.choice.value = "capital/PE"
    second.model_choice.value = "embedded-control"
    at_rest(tabs)
    assert first is overlap
    assert (first.choice.value, tabs.state.chosen["fact"]) == ("capital/JP", "capital/JP")
    assert not tabs.state.note
    first_neurons = opened(tabs, "Neurons")
    *_, neurons, beside = tabs.explorers
    assert neurons is first_neurons
    assert beside.choice.value == "capital/JP"
    assert tabs.children[1].children[-1].children == (neurons, beside)
    tabs.beside.value = False
    assert tabs.children[1].children[-1].children == (neurons,)
    opened(tabs, "Overlap")
    assert tabs.children[0].children[-1].children == (overlap,)
    tabs.beside.value = True  # what was chosen in the second one is not lost
    assert tabs.children[0].children[-1].children == (overlap, second)
    assert second.choice.value == "capital/PE"


@pytest.mark.slow
def test_edits_that_are_saved_nowhere_are_known(tabs, few, embedded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    editor = opened(tabs, "Edit")
    assert not tabs.state.unsaved
    editor._set_stack(editor.stack.push(StagedEdit.loaded(an_edit(embedded), few)))
    editor.wait()
    assert tabs.state.unsaved
    assert "edits that are saved nowhere" in open_yours(tabs, "embedded-control")
    assert editor in tabs.explorers
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


@pytest.mark.slow
def test_the_guide_leads_through_one_fact_in_five_clicks(capitals):
    from lafn_viz.widgets.guide import STEPS

    tabs = page("embedded", capitals)
    guide, marked = tabs.guide, []
    for number, step in enumerate(STEPS):
        (guide.next if number else guide.button).click()
        explorer = tabs.explorers[-1]
        wait_for(tabs)
        assert list(EXPLORERS)[tabs.selected_index] == step.tab
        assert guide.status.text.startswith(f"{number + 1} of {len(STEPS)}. ")
        marked.append(step.shown(explorer))
        assert "lafn-marked" in marked[-1]._dom_classes
        assert not any("lafn-marked" in w._dom_classes for w in marked[:-1] if w is not marked[-1])
    assert len(STEPS) == 5
    overlap = tabs.explorers[0]
    assert [control.value for control in overlap.pair] == ["en", "zh"]
    assert "of France – capital in English and Chinese" in overlap.panel.title.value
    guide.next.click()
    assert guide.line.layout.display == "none"
    assert "lafn-marked" not in marked[-1]._dom_classes


def wait_for(tabs):
    """Wait until the open tab shows its result, which a model that is loaded begins."""
    for _ in range(3):
        tabs.explorers[-1].wait()
