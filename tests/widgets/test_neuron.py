"""The neuron explorer: a fact's table, its first card, another model."""

import pytest

import lafn_viz as lv


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_word_lists_the_neurons_that_promote_it(embedded, capitals):
    explorer = lv.NeuronExplorer(embedded, capitals)
    explorer.wait()
    explorer.wait()
    panel, before = explorer.panel, explorer.panel.box.children[0]
    panel.field.value = "Paris"
    explorer.wait()
    best = lv.neurons_promoting(embedded, explorer.scores.prompts, "Paris").iloc[0]
    listed = panel.box.children[0].df
    assert listed["neuron"].iloc[0] == f"{best['layer']:.0f}:{best['neuron']:.0f}"
    assert listed["adds to logit"].iloc[0] == pytest.approx(best["logit"], abs=1e-4)
    assert "promote" in panel.title.value
    assert "lv.neurons_promoting(model, scores.prompts, 'Paris')" in explorer.python()
    panel.box.children[0].selected_rows = [0]
    explorer.wait()
    assert panel.card.neuron == (best["layer"], best["neuron"])
    panel.field.value = ""
    assert panel.box.children[0].df.equals(before.df)
    assert "neurons_promoting" not in explorer.python()


@pytest.mark.slow
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


def test_other_facts_are_the_baseline_where_zero_is_none(tiny, capitals):
    explorer = lv.NeuronExplorer(tiny("gemma3"), capitals)
    explorer.method.value = "direct_effect"
    explorer.wait()
    assert explorer.scores.provenance.options["baseline"] == "other_facts"
