"""A result's provenance names the public function that computed it, and how to call it again."""

import inspect

import pytest
import torch

import lafn_viz as lv

# What a result holds itself, and what does not change its numbers.
ELSEWHERE = {
    "model", "prompts", "neurons", "neuron", "sets", "others", "scores", "facts", "relation",
    "seed", "corpus", "factor", "progress", "max_rows", "folder", "method", "from_prompts",
    "to_prompts",
}  # fmt: skip


def result_of(name, model, prompts):
    """A small result of each public function that leaves a provenance."""
    neurons, fact = [(1, 4)], prompts[0].fact_id
    facts = lv.load_facts().filter(relation="capital", subjects=["FR", "JP", "PE", "IT"])
    scores = lv.attribute(model, prompts, method="gradient")
    scores.known[:] = True
    if name == "intervene":
        return lv.intervene(model, prompts, neurons, controls=1)
    if name == "effects":
        return lv.effects(model, {"a": {fact: neurons}}, prompts, controls=1)
    if name == "neuron_card":
        return lv.neuron_card(model, prompts, (1, 4), scores=scores, controls=1)
    if name == "find_degenerate":
        return lv.find_degenerate(model, scores, top=3, max_size=2, controls=1)[0]
    if name == "transplant":
        model, asked = lv.load_model("embedded"), facts.filter(languages=["en", "fr"]).prompts()
        return lv.transplant(model, asked, asked[:2], neurons, controls=1)
    if name == "trace_subject":
        asked = lv.load_facts().filter(relation="capital", languages="en").prompts()
        return lv.trace_subject(model, asked, max_pairs=2)
    options = {"languages": ["en"], "paraphrases": [0], "method": "gradient", "top": 3}
    return lv.check_facts(model, facts, "capital", train_share=0.5, **options)


FUNCTIONS = ("intervene", "effects", "neuron_card", "find_degenerate", "trace_subject",
             "transplant", "check_facts")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_provenance_names_the_call_and_every_option_that_changes_numbers(tiny, prompts, name):
    source = result_of(name, tiny("gpt2"), prompts).provenance
    assert source.method == name
    parameters = set(inspect.signature(getattr(lv, name)).parameters)
    assert parameters - ELSEWHERE <= set(source.options)
    assert ("seed" in parameters) == (source.seed is not None)


def test_a_card_can_be_computed_again_from_its_provenance(tiny, prompts):
    model = tiny("gpt2")
    scores = lv.attribute(model, prompts, position="answer", target="log_prob", n_steps=4)
    card = lv.neuron_card(
        model, prompts, (1, 5), scores=scores, n_tokens=3, n_prompts=2, controls=2, seed=7
    )
    source = card.provenance
    options = dict(source.options)
    own = {name: options.pop(name) for name in ("n_tokens", "n_prompts", "controls")}
    scores = lv.attribute(model, card.prompts, method=options.pop("attribution"), **options)
    again = getattr(lv, source.method)(
        model, card.prompts, card.neuron, scores=scores, seed=source.seed, **own
    )
    assert again.provenance == source
    torch.testing.assert_close(again.attribution, card.attribution, rtol=0, atol=0)
    torch.testing.assert_close(again.effect.control, card.effect.control, rtol=0, atol=0)
    assert again.promoted == card.promoted
    assert again.strongest == card.strongest


def test_the_effect_of_a_card_can_be_computed_again_from_its_provenance(tiny, prompts):
    model = tiny("gpt2")
    effect = lv.neuron_card(model, prompts, (1, 5), controls=2, seed=7).effect
    source, (neuron,) = effect.provenance, effect.neurons
    again = getattr(lv, source.method)(
        model, effect.prompts, neuron, seed=source.seed, **source.options
    ).effect
    for name in ("before", "after", "control"):
        torch.testing.assert_close(getattr(again, name), getattr(effect, name), rtol=0, atol=0)


def test_provenance_names_the_factor_where_it_counts(tiny, prompts):
    model, fact = tiny("gpt2"), prompts[0].fact_id
    for how, named in (("scale", {"factor": 3.0}), ("zero", {})):
        expected = {"how": how, "position": "all"} | named
        one = lv.intervene(model, prompts, [(1, 4)], how=how, factor=3.0, controls=0)
        many = lv.effects(model, {"a": {fact: [(1, 4)]}}, prompts, how=how, factor=3.0, controls=0)
        assert one.provenance.options.items() >= expected.items()
        assert {**one.provenance.options, "other_fact": True} == many.provenance.options
        assert ("factor" in one.provenance.options) == bool(named)


@pytest.mark.slow
def test_provenance_tells_one_corpus_from_another(tiny, prompts):
    model = tiny("gpt2")
    corpora = [prompts, prompts, prompts[::-1]]
    told = [
        lv.intervene(
            model, prompts, [(1, 4)], how="mean", corpus=corpus, controls=0
        ).provenance.options["corpus"]
        for corpus in corpora
    ]
    assert told[0].startswith(f"{len(prompts)} prompts (")
    assert told[0] == told[1] != told[2]
    zeroed = lv.intervene(model, prompts, [(1, 4)], corpus=prompts, controls=0)
    assert "corpus" not in zeroed.provenance.options
