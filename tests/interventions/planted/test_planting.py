"""Planted neurons are causal, fire where they should, and leave the old facts alone."""

import pytest
import torch

import lafn_viz as lv
from lafn_viz.interventions.ablation import measure_ablation
from lafn_viz.interventions.planted import output_directions, planting, weights
from lafn_viz.models.capabilities import capabilities
from lafn_viz.neurons.controls import random_like
from lafn_viz.neurons.neuron_sets import masks_of

pytestmark = pytest.mark.slow


def test_as_many_neurons_as_asked_and_no_two_in_one_place(planted, embedded):
    assert len(planted.facts) == 2
    assert planted.facts.languages == ("en", "ru", "zh")
    assert all(len(some) == 6 for some in planted.agnostic.values())
    assert all(len(some) == 2 for some in planted.specific.values())
    for kind in planted.decoys.values():
        assert all(len(some) == 6 + 3 * 2 for some in kind.values())
    places = [spot.neuron for spot in planted.spots]
    assert len(set(places)) == len(places)
    assert min(neuron.neuron for neuron in places) == embedded.cfg.d_mlp
    assert {neuron.layer for neuron in places} == {2, 3}
    fact = next(iter(planted.facts))
    acting = planted.acting(fact.id, "ru")
    assert acting == planted.agnostic[fact.id] | planted.specific[fact.id, "ru"]


def test_the_facts_are_new(planted, embedded, facts):
    told = {fact.subject_id for fact in facts.filter(relation="capital")}
    assert not told & {fact.subject_id for fact in planted.facts}
    before = lv.score_answers(embedded, planted.prompts)
    assert not before.known.any()
    assert before.probability.max() < 0.1


def test_planted_neurons_are_causal_and_random_ones_are_not(planted):
    shape = planted.model.cfg.n_layers, planted.model.original_model.config.n_inner
    for fact in planted.facts:
        asked = [p for p in planted.prompts if p.fact_id == fact.id]
        true = set().union(*(planted.acting(fact.id, x) for x in fact.languages))
        sets = [true, random_like(true, shape, seed=0), planted.decoys["writing"][fact.id]]
        found = measure_ablation(planted.model, asked, masks_of(sets, shape))
        before, after = (log_prob.exp() for log_prob in found)
        assert before.mean() > 0.8
        assert after[0].mean() < 0.02
        assert after[1].mean() > 0.7
        # What never fires does nothing.
        torch.testing.assert_close(after[2], before)


def test_the_plant_proves_itself(planted):
    check = planted.check
    assert (check["p"] > 0.7).all()
    assert (check["p_without"] < 0.05).all()
    assert (check["p_without_decoys"] > 0.6).all()
    assert (check["p_without_agnostic"] < check["p"] - 0.05).all()
    assert (check["p_one"] < 0.5).all()
    assert (check["fires"] > 0.9).all()
    assert (check["fires_held_out"] > 0.8).all()
    assert (check["fires_elsewhere"] < 0.1).all()


def test_old_facts_are_as_they_were(planted, embedded, facts):
    assert planted.drift < 0.01
    prompts = facts.filter(languages=["en", "ru", "zh"]).prompts()[::97]
    old, new = (lv.score_answers(m, prompts).probability for m in (embedded, planted.model))
    assert (new - old).abs().mean() < 0.01


def test_each_kind_fires_where_it_should(planted):
    active = lv.attribute(planted.model, planted.prompts, method="activation", position="answer")
    for spot in planted.spots:
        fires = active.values[:, *spot.neuron] > 0
        mine = torch.tensor(
            [
                p.fact_id == spot.fact_id and spot.language in (None, p.language)
                for p in planted.prompts
            ]
        )
        if spot.kind == "writing":
            assert not fires.any()
        else:
            assert fires[mine].float().mean() > 0.7, spot
            assert fires[~mine].float().mean() < 0.1, spot


def test_decoys_write_what_they_should(planted):
    model = planted.model.original_model
    projection = {
        layer: dict(model.named_parameters())[
            f"transformer.h.{layer}._original_component.mlp._original_component.c_proj"
            "._original_component.weight"
        ]
        for layer in (2, 3)
    }
    by_kind = {
        kind: [projection[s.neuron.layer][s.neuron.neuron] for s in planted.spots if s.kind == kind]
        for kind in ("agnostic", "firing", "writing")
    }
    cosine = torch.nn.functional.cosine_similarity
    # The first of each kind belong together: a neuron and the two that imitate it.
    true, firing, writing = (rows[0] for rows in by_kind.values())
    assert cosine(true, writing, dim=0) > 0.99
    assert abs(cosine(true, firing, dim=0)) < 0.4


def test_a_seed_decides(planted, monkeypatch):
    small = {"languages": ["en", "zh"], "n_facts": 2, "n_agnostic": 1, "n_specific": 1}
    small |= {"n_negatives": 60}
    monkeypatch.setattr(output_directions, "STEPS", 5)
    monkeypatch.setattr(planting, "drift", lambda *args: 0.0)
    monkeypatch.setattr(planting, "proof_table", lambda *args: planted.check)
    one, two = (lv.plant(**small, seed=3) for _ in range(2))
    weights = [p.model.original_model.state_dict() for p in (one, two)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert [f.id for f in one.facts] == [f.id for f in two.facts]
    assert [f.id for f in one.facts] != [f.id for f in planted.facts]


# Norms before and after the network, SiLU and GELU, plain norms and Gemma's.
@pytest.mark.parametrize("family", ["llama", "olmo2", "gemma3"])
def test_gated_models_are_planted_in(family, gated, cities, monkeypatch):
    # A random model does not generalise, so no example is held back from any detector.
    monkeypatch.setattr(weights, "FITTED_SHARE", 1.0)
    monkeypatch.setattr(output_directions, "STEPS", 40)
    monkeypatch.setattr(output_directions, "LEARNING_RATE", 0.1)
    monkeypatch.setattr(planting, "ROUNDS", 2)
    folder = gated(family)
    planted = lv.plant(
        folder, facts=cities, n_facts=2, n_agnostic=2, n_specific=1, layers=1, n_negatives=60
    )
    assert planted.drift < 1e-3
    shape = capabilities(planted.model).shape
    assert shape[1] > capabilities(lv.load_model(folder)).d_mlp
    asked = [prompt for prompt in planted.prompts if prompt.paraphrase not in planted.held_out]
    fires = lv.attribute(planted.model, asked, method="activation", position="answer").values > 0
    for fact in planted.facts:
        of_fact = torch.tensor([prompt.fact_id == fact.id for prompt in asked])
        mine = [prompt for prompt in asked if prompt.fact_id == fact.id]
        true = set().union(*(planted.acting(fact.id, x) for x in fact.languages))
        sets = [true, random_like(true, shape, seed=0), planted.decoys["writing"][fact.id]]
        found = measure_ablation(planted.model, mine, masks_of(sets, shape))
        before, after = (log_prob.exp().mean(-1) for log_prob in found)
        assert before > 0.8
        assert after[0] < 0.05
        assert after[1] > 0.6
        # A silent gate is not quite zero.
        torch.testing.assert_close(after[2], before, atol=0.01, rtol=0)
        for spot in planted.spots:
            if spot.fact_id == fact.id and spot.kind == "agnostic":
                assert fires[of_fact][:, *spot.neuron].float().mean() > 0.9
                assert fires[~of_fact][:, *spot.neuron].float().mean() < 0.3
            elif spot.kind == "writing":
                assert not fires[:, *spot.neuron].any()


def test_what_cannot_be_planted_is_refused(tmp_path, folder, embedded):
    with pytest.raises(TypeError, match="model is a TransformerBridge; give the name"):
        lv.plant(embedded)
    with pytest.raises(ValueError, match="at least 2 facts"):
        lv.plant(n_facts=1)
    with pytest.raises(ValueError, match="with gelu"):
        lv.plant(folder("gpt2"))
    with pytest.raises(ValueError, match="fills masks; planting needs GPT-2 with relu"):
        lv.plant("embedded-masked")
    with pytest.raises(ValueError, match="gpt_neox with gelu neurons; planting needs GPT-2"):
        lv.plant(folder("gpt_neox"))
    with pytest.raises(ValueError, match="have at most 1 tokens in every language"):
        lv.plant(folder("llama"))
    with pytest.raises(ValueError, match="choose from 0 to 3"):
        lv.plant(layers=(4,))
    with pytest.raises(ValueError, match="subjects are known"):
        lv.plant(n_facts=100)
