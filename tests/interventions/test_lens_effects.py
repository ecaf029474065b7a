"""What layers name with neurons at zero, against models without these neurons, and its controls."""

import copy
import re

import numpy as np
import pytest
import torch

import lafn_viz as lv
from lafn_viz.interventions.lens_effects import KINDS, LEADERS
from lafn_viz.neurons.neuron_sets import Neuron

DOWN = {
    "gpt2": lambda hf, layer: hf.transformer.h[layer].mlp.c_proj.weight.T,
    "gemma3": lambda hf, layer: hf.model.layers[layer].mlp.down_proj.weight,
    "bert": lambda hf, layer: hf.bert.encoder.layer[layer].output.dense.weight,
}
OWN, ANOTHER = 0, 1  # places in LEADERS
ZEROED, RANDOM, OTHER = range(3)  # places in KINDS


@pytest.fixture(scope="module")
def asked(facts):
    capitals = facts.filter(relation="capital", languages=["en", "ru", "zh"])
    some = capitals.filter(subjects=["FR", "JP", "PE", "EG"])
    return [prompt for prompt in some.prompts() if prompt.paraphrase == 1]


def by_hand(lens):
    """log P of the own name and of the likeliest other one, prompt by prompt and layer by layer."""
    values = np.full((2, len(lens.prompts), lens.n_layers + 1), np.nan)
    for number, prompt in enumerate(lens.prompts):
        if not lens.told_apart[number]:
            continue
        own = lens.languages.index(prompt.language)
        for layer in range(lens.n_layers + 1):
            log_p, tokens = lens.log_prob[number, layer], lens.token[number]
            values[OWN, number, layer] = log_p[own]
            values[ANOTHER, number, layer] = max(
                log_p[i] for i, t in enumerate(tokens) if t not in (-1, tokens[own])
            )
    return values


@pytest.mark.parametrize("family", DOWN)
def test_neurons_at_zero_are_those_that_write_nothing(tiny, asked, family):
    model = tiny(family)
    chosen = [Neuron(0, 3), Neuron(0, 7), Neuron(1, 5), Neuron(2, 0)]
    facts = {prompt.fact_id for prompt in asked}
    found = lv.lens_effects(
        model, asked, {"some": dict.fromkeys(facts, chosen)}, controls=0, other_fact=False
    )
    before = by_hand(lv.language_lens(model, asked, controls=1))
    weights = [DOWN[family](model.original_model, layer) for layer in range(3)]
    kept = copy.deepcopy(weights)
    with torch.no_grad():
        for layer, neuron in chosen:
            weights[layer][:, neuron] = 0
    try:
        after = by_hand(lv.language_lens(model, asked, controls=1))
    finally:
        with torch.no_grad():
            for weight, old in zip(weights, kept, strict=True):
                weight.copy_(old)
    assert np.nanmax(np.abs(after - before)) > 1e-3
    np.testing.assert_allclose(found.log_p[0, ZEROED], after - before, atol=2e-5)
    assert np.isnan(found.log_p[0, [RANDOM, OTHER]]).all()


def test_what_is_at_zero_stands_after_the_examples(embedded, facts):
    capitals = facts.filter(relation="capital", languages=["en", "ru"])
    some = capitals.filter(subjects=["FR", "JP", "PE", "EG"])
    prompts = [p for p in some.prompts(shots=2, examples=capitals) if p.paraphrase == 1]
    chosen = [Neuron(layer, neuron) for layer in range(4) for neuron in range(0, 640, 3)]
    of_facts = {prompt.fact_id: chosen for prompt in prompts}
    found = lv.lens_effects(
        embedded, prompts, {"some": of_facts}, controls=0, other_fact=False, facts=capitals
    )
    effect = lv.intervene(embedded, prompts, chosen, controls=0)
    names = found.lens.log_prob[range(len(prompts)), :, found.lens.own][:, -1]
    # Where an answer has one token, its first token is all of it.
    whole = np.abs(names - effect.before.numpy()) < 1e-4
    whole &= found.lens.told_apart
    assert whole.sum() >= 3
    change = (effect.after - effect.before).numpy()
    assert np.abs(change[whole]).max() > 0.1
    np.testing.assert_allclose(found.log_p[0, ZEROED, OWN, whole, -1], change[whole], atol=1e-3)


def test_sets_belong_to_facts_and_languages(tiny, asked):
    model = tiny("gpt2")
    some, others = [Neuron(0, 1), Neuron(1, 2)], [Neuron(2, 3)]
    sets = {
        "by fact": {"capital/FR": some, "capital/JP": others},
        "by language": {("capital/FR", "ru"): some, ("capital/PE", "en"): []},
    }
    found = lv.lens_effects(model, asked, sets, controls=2, seed=3)
    facts = np.array([prompt.fact_id for prompt in asked])
    russian = np.array([prompt.language == "ru" for prompt in asked])
    apart = found.lens.told_apart
    finite = np.isfinite(found.log_p[:, :, OWN, :, -1])
    np.testing.assert_array_equal(
        finite[0, ZEROED], apart & np.isin(facts, ["capital/FR", "capital/JP"])
    )
    np.testing.assert_array_equal(finite[1, ZEROED], apart & (facts == "capital/FR") & russian)
    assert found.n_neurons[0].tolist() == [
        {"capital/FR": 2, "capital/JP": 1}.get(fact, 0) for fact in facts
    ]
    # Another fact's neurons are those of the next one, and random ones those of the seed.
    swapped = {"capital/FR": others, "capital/JP": some}
    shape = (3, 48)
    drawn = [
        {
            fact: lv.random_like(neurons, shape, seed=3 + draw)
            for fact, neurons in sets["by fact"].items()
        }
        for draw in range(2)
    ]
    direct = lv.lens_effects(
        model, asked, {"swapped": swapped, "a": drawn[0], "b": drawn[1]}, controls=0,
        other_fact=False,
    ).log_p[:, ZEROED]  # fmt: skip
    np.testing.assert_allclose(found.log_p[0, OTHER], direct[0], atol=1e-5)
    np.testing.assert_allclose(found.log_p[0, RANDOM], direct[1:].mean(0), atol=1e-5)


def test_tables_name_every_cell(tiny, asked):
    lens = lv.language_lens(tiny("gpt2"), asked, controls=1)
    facts = np.array([prompt.fact_id for prompt in asked])
    first, second = dict.fromkeys(facts[lens.told_apart].tolist())
    sets = {"some": {first: [(0, 1)], second: [(1, 1)]}, "none": {first: []}}
    found = lv.lens_effects(tiny("gpt2"), asked, sets, controls=1)
    table = found.summary(draws=99)
    assert len(table) == 2 * len(KINDS) * len(LEADERS) * 4
    row = table.loc[("some", "zeroed", "own", 2)]
    values = found.log_p[0, ZEROED, OWN, :, 2]
    means = [np.nanmean(values[facts == fact]) for fact in (first, second)]
    assert row["log_p"] == pytest.approx(np.mean(means))
    assert row["n_prompts"] == np.isfinite(values).sum()
    assert row["n_facts"] == 2
    assert table.xs("none", level="set")["log_p"].isna().all()
    frame = found.to_frame()
    assert set(frame["set"]) == {"some"}
    assert len(frame) == np.isfinite(found.log_p).sum()
    assert "no none neurons" in repr(found)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({"a": {"capital/XX": [(0, 1)]}}, "none of the sets (a) has neurons"),
        ({"a": {"capital/FR": []}, "b": {}}, "none of the sets (a, b) has neurons"),
        ({"a": {"capital/FR": [(9, 1)]}}, "layer"),
    ],
)
def test_bad_sets_are_refused(tiny, asked, sets, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        lv.lens_effects(tiny("gpt2"), asked, sets)
