"""The Python that an explorer gives shows what the explorer shows."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

import lafn_viz as lv
from lafn_viz.models.capabilities import weights_of
from lafn_viz.widgets.explorer import Explorer
from lafn_viz.widgets.python_code import OWN


@pytest.fixture
def run(embedded, capitals, monkeypatch):
    """Runs the code of an explorer that was given this model and these facts."""

    def run(explorer: Explorer) -> dict:
        code = explorer.python()
        for name in ("model", "facts"):
            assert OWN.format(name) in code
            code = code.replace(OWN.format(name), f"given_{name}")
        names = {"given_model": embedded, "given_facts": capitals, "drawn": []}
        monkeypatch.setattr(go.Figure, "show", lambda figure: names["drawn"].append(figure))
        exec(code, names)
        return names

    return run


def same_figure(figure: go.Figure, shown: str) -> bool:
    """Whether a figure has the traces that a page shows, but for the last digits."""
    one, other = json.loads(figure.to_json())["data"], json.loads(shown)["data"]
    assert len(one) == len(other)
    for mine, theirs in zip(one, other, strict=True):
        assert mine["type"] == theirs["type"]
        for key in ("x", "y", "z"):
            values = [np.asarray(x.get(key), dtype=object).tolist() for x in (mine, theirs)]
            assert json.dumps(values[0]) == json.dumps(values[1])
    return True


@pytest.mark.slow
@pytest.mark.parametrize("view", ["heatmap", "upset", "layers", "strip"])
def test_the_overlap_is_found_and_drawn_again(overlap_explorer, run, view):
    overlap_explorer.view.value = view
    made = run(overlap_explorer)
    figure, shown = overlap_explorer.figure.figure, overlap_explorer.overlap
    overlap_explorer.view.value = "heatmap"
    assert {key: found.neurons for key, found in made["one"].sets.items()} == {
        key: found.neurons for key, found in shown.sets.items()
    }
    assert made["one"].agnostic == shown.agnostic
    np.testing.assert_allclose(made["one"].other_fact, shown.other_fact)
    assert same_figure(made["drawn"][0], figure)


def test_what_is_chosen_is_in_the_code(overlap_explorer, run):
    overlap_explorer.keep_by.value, overlap_explorer.threshold.value = "threshold", 0.3
    overlap_explorer.languages.boxes["fr"].value = False
    made = run(overlap_explorer)
    shown = overlap_explorer.overlap
    overlap_explorer.languages.boxes["fr"].value = True
    overlap_explorer.keep_by.value = "fraction"
    assert made["one"].languages == shown.languages == ("en", "zh")
    assert made["one"].agnostic == shown.agnostic


def test_the_lens_is_read_again(embedded, capitals, run):
    explorer = lv.LensExplorer(embedded, capitals)
    explorer.wait()
    explorer.language.value = "zh"
    made = run(explorer)
    np.testing.assert_array_equal(made["lens"].rank, explorer.lens.rank)
    assert same_figure(made["drawn"][0], explorer.strip.figure)


def test_the_neurons_and_the_card_are_shown_again(embedded, capitals, run):
    explorer = lv.NeuronExplorer(embedded, capitals)
    explorer.wait()
    explorer.wait()
    made = run(explorer)
    assert torch.equal(made["scores"].values, explorer.scores.values)
    assert made["card"].neuron == explorer.panel.card.neuron
    assert same_figure(made["drawn"][0], explorer.panel.figure.figure)


def test_a_typed_prompt_is_attributed_again(embedded, capitals, run):
    explorer = lv.PromptExplorer(embedded, capitals)
    explorer.wait()
    explorer.wait()
    explorer.text.value, explorer.answer.value = "日本の首都は", "\"東京'"
    explorer.wait()
    made = run(explorer)
    assert made["prompt"].answer == "\"東京'"
    assert torch.equal(made["scores"].values, explorer.scores.values)


@pytest.mark.slow
def test_edits_are_made_again(embedded, capitals, edits_made_once, run):
    explorer = lv.LiveEditor(embedded, capitals)
    explorer.wait()
    with pytest.raises(ValueError, match="nothing is shown yet"):
        explorer.python()
    explorer.relation.value, explorer.position.value = "capital", "answer"
    explorer.subject.value, explorer.new_object.value = "日本", "Rome"
    explorer.edit_button.click()
    explorer.wait()
    explorer.scale.value = 0.5
    slider = explorer.sliders.children[0]
    slider.value = 2.0
    explorer.wait()
    made = run(explorer)
    (applied,) = explorer.cache
    (edit,) = made["edits"]
    assert edit.neurons == applied.neurons
    assert torch.allclose(edit.values, applied.values, atol=1e-4)


def test_a_model_by_its_name_is_loaded_and_the_embedded_facts_read():
    explorer = lv.LensExplorer("embedded")
    explorer.wait()
    names: dict = {}
    code = explorer.python().split("fact = ")[0]
    exec(code, names)
    assert list(names["facts"]) == list(explorer.facts)
    assert weights_of(names["model"]) == weights_of(explorer.model)


def test_a_click_gives_the_code_each_time(embedded, capitals):
    explorer = lv.LensExplorer(embedded, capitals)
    explorer.wait()
    button = explorer.python_code
    for number in (1, 2):
        button.asked = number
        assert button.answered == number
        assert button.code == explorer.python()
