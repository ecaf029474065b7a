"""The overlap explorer: views, clicks, the control, languages that are not checked."""

import inspect
import json
import threading
import time
from dataclasses import replace

import pytest
import torch

import lafn_viz as lv
from lafn_viz.widgets import overlap as overlap_module
from lafn_viz.widgets.background import Cancelled


def test_the_overlap_is_the_one_that_the_package_computes(overlap_explorer, embedded, capitals):
    fact = overlap_explorer.choice.fact
    assert fact.id == "capital/FR"
    prompts = capitals.filter(relation="capital", subjects="FR").prompts(
        splits=["trained", "held-out pair"]
    )
    scores = lv.attribute(embedded, prompts)
    for option, value in (("fraction", 0.02), ("fraction", 0.05), ("threshold", 0.2)):
        overlap_explorer.keep_by.value = option
        getattr(overlap_explorer, option).value = value
        sets = lv.select_neurons(scores, **{option: value})
        shown = overlap_explorer.overlap
        assert {x.language for x in sets} == {"en", "fr", "zh"}
        for expected in sets:
            assert shown.sets[fact.id, expected.language].neurons == expected.neurons
    overlap_explorer.keep_by.value, overlap_explorer.fraction.value = "fraction", 0.02


def test_it_keeps_as_many_neurons_as_examine_and_sweeps(overlap_explorer):
    default = inspect.signature(lv.examine).parameters["fraction"].default
    assert overlap_explorer.keep_by.value == "fraction"
    assert overlap_explorer.fraction.value == default == lv.Plan().select["fraction"]
    caption = json.loads(overlap_explorer.figure.figure)["layout"]["title"]["subtitle"]["text"]
    assert "France – capital" in caption
    assert "best 2% of all neurons" in caption
    n_prompts = sum(x.n_prompts for x in overlap_explorer.overlap.sets.values())
    assert f"{n_prompts} prompts" in caption
    assert overlap_explorer.status.text.startswith("France – capital: ")


def test_a_click_lists_the_neurons_that_two_languages_share(overlap_explorer):
    overlap_explorer.figure.clicked = {"curve": 0, "row": 0, "column": 2, "click": 1}
    sets = overlap_explorer.overlap.sets
    assert [control.value for control in overlap_explorer.pair] == ["en", "zh"]
    shared = sets["capital/FR", "en"].neurons & sets["capital/FR", "zh"].neurons
    assert overlap_explorer.shared == shared
    view = overlap_explorer.panel.box.children[0]
    assert len(view.df) == len(shared)
    overlap_explorer.figure.clicked = {"curve": 1, "row": 1, "column": 2, "click": 2}
    assert "control" in overlap_explorer.status.text
    assert [control.value for control in overlap_explorer.pair] == ["en", "zh"]
    overlap_explorer.figure.clicked = {"curve": 0, "row": 1, "column": 0, "click": 3}
    assert [control.value for control in overlap_explorer.pair] == ["fr", "en"]


def test_a_first_look_is_said_to_be_one(embedded, capitals, monkeypatch):
    said, wanted, code, captions = [], [], [], []

    def caption():
        return json.loads(explorer.figure.figure)["layout"]["title"]["subtitle"]["text"]

    def spied(model, prompts, **options):
        wanted.append(options.get("tolerance"))
        said.append(explorer.status.text)
        code.append(explorer.python() if len(wanted) > 1 else "")
        captions.append(caption() if len(wanted) > 1 else "")
        return lv.attribute(model, prompts, **options)

    monkeypatch.setattr(overlap_module, "attribute", spied)
    explorer = lv.OverlapExplorer("embedded", capitals, n_others=1)
    explorer.wait()
    explorer.wait()
    assert wanted == [overlap_module.FIRST_LOOK] * 2 + [None] * 2  # the fact, then its control
    follows = "; its control, 1 other fact, and the exact scores follow …"
    assert said[1].endswith(f"This is a first look{follows}")
    assert said[2].endswith(
        "Control: 1 other fact. Both are a first look; the exact scores follow …"
    )
    assert said[3].endswith("Control: 1 other fact. It is a first look; the exact scores follow …")
    assert explorer.status.text.endswith("Control: 1 other fact.")
    exact = lv.attribute(embedded, explorer.panel.scores.prompts)
    assert torch.equal(exact.values, explorer.panel.scores.values)
    assert captions[2] == f"{caption()} · a first look"
    note = "# A first look is shown; these are the exact scores.\n"
    assert note in code[2]
    assert code[2].replace(note, "") == explorer.python()


def test_a_click_on_a_neuron_waits_for_one_fact_only(embedded, capitals, monkeypatch):
    """Its card comes between the facts, and follows the exact scores when they are there."""
    attributed, go_on = [], threading.Event()

    def held(model, prompts, **options):
        attributed.append(prompts[0].subject)
        if len(attributed) > 1:
            assert go_on.wait(60)
        return lv.attribute(model, prompts, **options)

    monkeypatch.setattr(overlap_module, "attribute", held)
    explorer = lv.OverlapExplorer("embedded", capitals, n_others=2)
    while len(attributed) < 2:  # the fact is drawn, and its control is attributed
        time.sleep(0.01)
    cards, panel = [], explorer.panel
    panel.figure.observe(lambda _: cards.append((len(attributed), panel.card)), "revision")
    explorer.guarded(lambda: panel.choose(panel.first))()
    go_on.set()
    explorer.wait()
    (at, rough), (at_end, exact) = cards
    assert (at, at_end) == (2, 4)  # after the first fact of the control; after the exact scores
    assert exact.neuron == rough.neuron
    assert not torch.equal(exact.attribution, rough.attribution)
    again = lv.neuron_card(embedded, panel.scores.prompts, exact.neuron, scores=panel.scores)
    assert torch.equal(exact.attribution, again.attribution)
    # What the click asked for stands; the next choice is told again.
    assert explorer.status.text == f"Neuron {exact.neuron.layer}:{exact.neuron.neuron}."
    explorer.fraction.value = 0.05
    assert explorer.status.text.endswith("Control: 2 other facts.")


def test_a_row_of_the_table_shows_its_card(overlap_explorer):
    view = overlap_explorer.panel.box.children[0]
    view.selected_rows = [1]
    overlap_explorer.wait()
    layer, neuron = overlap_explorer.panel.field.value.split(":")
    assert overlap_explorer.panel.card.neuron == (int(layer), int(neuron))
    assert view.df["neuron"].iloc[1] == overlap_explorer.panel.field.value
    for wrong, message in (("12", "'12' is no neuron"), ("9:1", "neurons=[(9, 1)]; give at least")):
        overlap_explorer.panel.field.value = wrong
        overlap_explorer.wait()
        assert overlap_explorer.status.text.startswith(message)
        assert overlap_explorer.status.is_error


@pytest.mark.parametrize("view", ["upset", "layers", "strip", "heatmap"])
def test_every_view_is_drawn(overlap_explorer, view):
    revision = overlap_explorer.figure.revision
    overlap_explorer.view.value = "strip" if view == "heatmap" else "heatmap"
    overlap_explorer.view.value = view
    assert overlap_explorer.figure.revision > revision
    assert not overlap_explorer.status.is_error


def test_a_click_on_the_strip_shows_the_card_of_its_neuron(overlap_explorer):
    overlap_explorer.view.value = "strip"
    sent = json.loads(overlap_explorer.figure.figure)["data"][0]
    overlap_explorer.figure.clicked = {"curve": 0, "row": 2, "column": 60, "click": 9}
    overlap_explorer.wait()
    assert overlap_explorer.panel.field.value == sent["customdata"][2][60]
    assert overlap_explorer.panel.card.neuron.layer == 1
    overlap_explorer.view.value = "heatmap"


@pytest.mark.parametrize("view", ["layers", "strip"])
def test_layers_and_strip_stand_beside_their_control(overlap_explorer, view):
    overlap_explorer.view.value = view
    figure = json.loads(overlap_explorer.figure.figure)
    overlap_explorer.view.value = "heatmap"
    own, control = {"layers": (0, 1), "strip": (0, -1)}[view]
    key = "y" if view == "layers" else "customdata"
    assert len(figure["data"][own][key]) == len(figure["data"][control][key])
    text = json.dumps(figure["layout"])
    assert f"{len(overlap_explorer._shown) - 1} other facts" in text


def test_a_colour_means_the_same_for_every_fact_unless_switched_off(overlap_explorer):
    def top() -> float:
        return json.loads(overlap_explorer.figure.figure)["data"][0]["zmax"]

    assert overlap_explorer.one_scale.value
    assert top() == 1
    assert "top=1" in overlap_explorer.python()
    overlap_explorer.one_scale.value = False
    assert top() == pytest.approx(lv.plots.overlap_heatmap(overlap_explorer.overlap).data[0].zmax)
    assert "top=1" not in overlap_explorer.python()
    overlap_explorer.one_scale.value = True
    assert top() == 1
    overlap_explorer.view.value = "layers"
    assert overlap_explorer.one_scale.layout.display == "none"
    overlap_explorer.view.value = "heatmap"
    assert overlap_explorer.one_scale.layout.display == ""


def test_one_language_has_no_overlap(overlap_explorer):
    boxes = overlap_explorer.languages.boxes
    shown = overlap_explorer.figure.figure
    boxes["en"].value = boxes["zh"].value = False
    assert "an overlap needs two or more" in overlap_explorer.status.text
    assert overlap_explorer.figure.figure != ""
    boxes["en"].value = True
    assert not overlap_explorer.status.is_error
    assert set(overlap_explorer.overlap.languages) == {"en", "fr"}
    assert "neurons in all 2 languages. Control" in overlap_explorer.status.text
    boxes["zh"].value = True
    assert overlap_explorer.figure.figure == shown


def test_a_language_that_is_not_checked_is_not_called_unknown(overlap_explorer):
    overlap_explorer.figure.clicked = {"curve": 0, "row": 0, "column": 1, "click": 20}
    overlap_explorer.languages.boxes["fr"].value = False
    # What is listed follows the languages that are checked.
    assert (
        "neurons of France – capital in English and Chinese" in overlap_explorer.panel.title.value
    )
    assert "Control: " in overlap_explorer.status.text
    overlap_explorer.pair[1].value = "fr"
    assert overlap_explorer.status.text.startswith("French is not checked")
    overlap_explorer.languages.boxes["fr"].value = True
    assert "neurons of France – capital in English and French" in overlap_explorer.panel.title.value


@pytest.mark.slow
def test_the_control_is_computed_even_if_the_first_drawing_fails(embedded, capitals):
    explorer = lv.OverlapExplorer(embedded, capitals, n_others=1)
    explorer.wait()
    boxes = explorer.languages.boxes
    boxes["en"].value = boxes["fr"].value = False
    explorer.choice.subject.value = "capital/PE"
    explorer.wait()
    assert explorer.status.is_error
    boxes["en"].value = boxes["fr"].value = True
    assert explorer.status.text.endswith("Control: 1 other fact.")


@pytest.mark.slow
def test_cancelled_work_draws_nothing_and_can_be_done_again(embedded, capitals, hold):
    explorer = lv.OverlapExplorer(embedded, capitals, n_others=1)
    explorer.wait()
    shown = explorer.figure.figure
    go_on = hold("lafn_viz.widgets.overlap", "attribute")
    explorer.choice.subject.value = "capital/DE"
    explorer.cancel.click()
    go_on.set()
    explorer.wait()
    assert explorer.status.text == "Cancelled."
    assert explorer.figure.figure == shown
    explorer.choice.subject.value = "capital/FR"
    explorer.wait()
    assert explorer.overlap.facts == ("capital/FR",)


@pytest.mark.parametrize(
    ("facts", "message"),
    [({"languages": "en"}, "an overlap needs two languages"), ({}, "there are no facts")],
)
def test_facts_that_cannot_be_explored(embedded, capitals, facts, message):
    chosen = capitals.filter(**facts) if facts else replace(capitals, facts=())
    with pytest.raises(ValueError, match=message):
        lv.OverlapExplorer(embedded, chosen) if facts else lv.NeuronExplorer(embedded, chosen)


def test_a_fact_that_cannot_be_attributed_is_no_control(embedded, capitals):
    some = capitals.filter(relation="capital", languages=["en", "fr"], subjects=["FR", "JP", "PE"])
    good = some.facts[1]
    bad = replace(
        good, id="capital/bad", subject_id="bad", subject=dict.fromkeys(good.subject, "Peru " * 300)
    )
    shown = []
    for facts in (some, replace(some, facts=(some.facts[0], bad, *some.facts[1:]))):
        explorer = lv.OverlapExplorer(embedded, facts, n_others=2)
        explorer.wait()
        shown.append(explorer)
    assert shown[0].overlap.to_frame().equals(shown[1].overlap.to_frame())
    assert "Control: 2 other facts." in shown[1].status.text
    assert "cannot be attributed: Peru Peru" in shown[1].status.text
    assert not shown[1].status.is_error


def test_a_figure_of_something_else_says_so(overlap_explorer):
    """While another fact is attributed, after it was cancelled, and with no languages."""
    figure, choice = overlap_explorer.figure, overlap_explorer.choice
    assert figure.outdated == ""
    seen = []
    figure.observe(lambda change: seen.append(change["new"]), "outdated")
    choice.subject.value = "capital/JP"
    overlap_explorer.wait()
    still = "Not what is chosen now: this is still France – capital, the model given."
    assert (seen[0], seen[-1]) == (still, "")
    with overlap_explorer.lock:
        choice.subject.value = "capital/PE"
        overlap_explorer.stop()
    assert "this is still Japan – capital" in figure.outdated
    with overlap_explorer.lock:  # its scores are kept: they are drawn before the thread can draw
        choice.subject.value = "capital/FR"
        assert figure.outdated == ""
    overlap_explorer.wait()
    boxes = list(overlap_explorer.languages.boxes.values())
    for box in boxes[1:]:
        box.value = False
    assert "this is still France – capital" in figure.outdated
    for box in boxes[1:]:
        box.value = True
    assert figure.outdated == ""


def test_a_subject_can_be_typed_in_any_language_and_case(overlap_explorer):
    choice = overlap_explorer.choice
    for typed in ("jaPAN", "日本"):
        choice.find.value = typed
        overlap_explorer.wait()
        assert choice.fact.id == "capital/JP"
        assert not overlap_explorer.status.is_error
        choice.subject.value = "capital/FR"
        overlap_explorer.wait()
    assert "日本" in choice.find.options
    choice.find.value = "Frence"
    assert overlap_explorer.status.is_error
    assert "did you mean 'France'?" in overlap_explorer.status.text
    choice.find.value = ""


def test_another_fact_does_not_wait_for_the_control_of_the_last(embedded, capitals, monkeypatch):
    real, ended, begun, go = overlap_module.attribute, [], threading.Event(), threading.Event()

    def attribute(model, prompts, **options):
        if prompts[0].subject == "Gabon":  # the first fact of the control
            begun.set()
            assert go.wait(60)
        try:
            return real(model, prompts, **options)
        except Cancelled:
            ended.append(prompts[0].subject)
            raise

    monkeypatch.setattr(overlap_module, "attribute", attribute)
    explorer = lv.OverlapExplorer(embedded, capitals, n_others=2)
    assert begun.wait(60)
    explorer.choice.value = "capital/JP"
    go.set()
    explorer.wait()
    assert ended == ["Gabon"]  # in its first pass, and no other fact of this control followed
    assert explorer.status.text.startswith("Japan – capital: ")
    assert explorer.status.text.endswith("Control: 2 other facts.")
    explorer.choice.value = "capital/FR"
    explorer.stop()
    explorer.wait()
    explorer.min_scripts.value = 2
    assert "cannot be attributed" not in explorer.status.text
