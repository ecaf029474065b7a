"""The lens explorer: what each layer would write, in the language that is chosen."""

import numpy as np
import pytest

import lafn_viz as lv


@pytest.fixture(scope="module")
def explorer(embedded, capitals):
    made = lv.LensExplorer(embedded, capitals)
    made.wait()
    return made


def test_it_shows_the_lens_that_the_package_computes(explorer, embedded, capitals):
    asked = capitals.filter(relation="capital", subjects="FR").prompts()
    first = [prompt for prompt in asked if prompt.paraphrase == 0]
    expected = lv.language_lens(embedded, first, facts=capitals)
    np.testing.assert_array_equal(explorer.lens.rank, expected.rank)
    assert "France" in explorer.strip.label
    assert explorer.latent.figure


def test_another_language_is_drawn_from_the_same_lens(explorer):
    lens = explorer.lens
    explorer.language.value = "zh"
    assert explorer.lens is lens
    assert "法国" in explorer.strip.label
    assert explorer.status.text.startswith("Asked in Chinese: names lead in ")
    last = lens.leading()[[p.language for p in lens.prompts].index("zh"), -1]
    assert last[lens.languages.index("zh")]
    assert "Chinese from layer " in explorer.status.text


def test_a_click_lists_the_neurons_of_the_layer_by_direct_effect(explorer, embedded):
    explorer.language.value = "en"
    explorer.strip.clicked = {"curve": 1, "row": 0, "column": 0, "click": 1}
    assert "embedding" in explorer.status.text
    explorer.strip.clicked = {"curve": 1, "row": 3, "column": 0, "click": 2}
    explorer.wait()
    assert explorer.scores.provenance.method == "direct_effect"
    assert explorer.panel.first.layer == 2
    values = explorer.scores.values[0, 2]
    assert explorer.panel.first.neuron == int(values.argmax())
    explorer.strip.clicked = {"curve": 1, "row": 2, "column": 0, "click": 3}
    assert explorer.panel.first.layer == 1


def test_another_fact_and_wording_are_read_anew(explorer):
    explorer.choice.subject.value = "capital/JP"
    explorer.wait()
    assert {prompt.fact_id for prompt in explorer.lens.prompts} == {"capital/JP"}
    explorer.wording.value = 2
    explorer.wait()
    assert {prompt.paraphrase for prompt in explorer.lens.prompts} == {2}
    assert explorer.strip.outdated == ""
    explorer.choice.relation.value = "continent"
    explorer.wait()
    assert {prompt.relation for prompt in explorer.lens.prompts} == {"continent"}
    assert not explorer.status.is_error
