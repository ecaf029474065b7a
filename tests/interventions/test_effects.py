import numpy as np
import pytest
import torch

import lafn_viz as lv
from lafn_viz.attribution.mean_activations import mean_activations
from lafn_viz.interventions.ablation import measure_ablation
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.tokens import encode


def test_zeroing_is_zeroing(tiny, prompts):
    model, neurons = tiny("gpt2"), [(0, 3), (0, 7), (2, 1)]

    def silence(chosen):
        def hook(value, hook):
            value = value.clone()
            value[..., chosen] = 0
            return value

        return hook

    effect = lv.intervene(model, prompts[:2], neurons, controls=0)
    for number, prompt in enumerate(prompts[:2]):
        item = encode(model, prompt)
        with (
            torch.no_grad(),
            model.hooks(
                fwd_hooks=[
                    ("blocks.0.mlp.hook_post", silence([3, 7])),
                    ("blocks.2.mlp.hook_post", silence([1])),
                ]
            ),
        ):
            logits = model(torch.tensor([item.read]))
        if len(item.answer) == 1:
            expected = logits[0, -1].log_softmax(-1)[item.answer[0]]
            torch.testing.assert_close(effect.after[number], expected)
    assert not torch.equal(effect.after, effect.before)


def test_scaling_by_one_and_no_neurons_change_nothing(tiny, prompts):
    model = tiny("llama")
    for neurons, options in (([], {}), ([(1, 4)], {"how": "scale", "factor": 1.0})):
        effect = lv.intervene(model, prompts, neurons, controls=2, **options)
        torch.testing.assert_close(effect.after, effect.before)
        assert effect.change == pytest.approx(0, abs=1e-6)


def test_other_positions_are_left_alone(tiny, prompts):
    model, neurons = tiny("gpt2"), [(1, n) for n in range(20)]
    changed = {
        position: lv.intervene(model, prompts, neurons, position=position, controls=0).after
        for position in ("all", "answer", "subject_last")
    }
    assert not torch.allclose(changed["all"], changed["answer"])
    assert not torch.allclose(changed["answer"], changed["subject_last"])


def test_effect_says_what_it_found(embedded, facts):
    prompts = facts.filter(relation="capital", subjects="PE").prompts()
    scores = lv.attribute(embedded, prompts)
    best = scores.values.mean(0).flatten().topk(60).indices
    neurons = [(int(i) // scores.values.shape[2], int(i) % scores.values.shape[2]) for i in best]
    effect = lv.intervene(embedded, prompts, neurons, controls=3)
    frame = effect.to_frame()
    assert effect.change == pytest.approx(frame["p_after"].mean() / frame["p_before"].mean() - 1)
    assert np.allclose(
        effect.control_change.mean(),
        frame["p_control"].mean() / frame["p_before"].mean() - 1,
        atol=1e-5,
    )
    # The attribution predicts the intervention, and random neurons do not do the same.
    assert effect.change < 3 * effect.control_change.min() - 0.1


def test_hooks_are_gone_after_an_exception(tiny, prompts, monkeypatch):
    model = tiny("gpt2")
    before = lv.score_answers(model, prompts).log_prob
    from lafn_viz.attribution.one_pass import OnePass

    def fail(self, owner, changes):
        with model.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", lambda value, hook: value * 0)]):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OnePass, "changed", fail)
        with pytest.raises(KeyboardInterrupt):
            lv.intervene(model, prompts, [(0, 1)])
    torch.testing.assert_close(lv.score_answers(model, prompts).log_prob, before, rtol=0, atol=0)


@pytest.mark.parametrize("family", ["gpt2", "bloom", "bert"])
@pytest.mark.parametrize("position", ["all", "answer", "subject_last"])
def test_many_sets_at_once_are_each_set_alone(tiny, prompts, family, position):
    model = tiny(family)
    found = capabilities(model)
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(7, found.n_layers, found.d_mlp, generator=generator) < 0.2
    before, together = measure_ablation(model, prompts, masks, position=position, max_rows=11)
    torch.testing.assert_close(before, lv.score_answers(model, prompts).log_prob)
    for mask, expected in zip(masks, together, strict=True):
        alone = measure_ablation(model, prompts, mask[None], position=position)[1][0]
        torch.testing.assert_close(alone, expected, rtol=1e-4, atol=1e-5)


def test_mean_and_resampled_values_are_those_of_the_corpus(tiny, facts):
    model = tiny("gpt2")
    here = facts.filter(relation="capital", subjects="France", languages=["en", "ru"]).prompts()[:2]
    there = facts.filter(relation="capital", subjects="Japan", languages=["en", "ru"]).prompts()
    means = mean_activations(model, there, position="answer")
    mask = torch.zeros(1, 3, 48, dtype=torch.bool)
    mask[0, 1, 5:9] = True
    _, after = measure_ablation(model, here, mask, how="mean", corpus=there, position="answer")
    for number, prompt in enumerate(here):
        item = encode(model, prompt)

        def put(value, hook, item=item, prompt=prompt):
            value = value.clone()
            value[:, item.predicts, 5:9] = means[prompt.language][1, 5:9]
            return value

        with torch.no_grad(), model.hooks(fwd_hooks=[("blocks.1.mlp.hook_post", put)]):
            logits = model(torch.tensor([item.read]))[0, item.predicts :]
        chosen = logits.log_softmax(-1)[range(len(item.answer)), list(item.answer)]
        torch.testing.assert_close(after[0, number], chosen.sum())
    # A corpus of one prompt leaves resampling no choice: the prompt itself changes nothing.
    one = [here[0]]
    before, after = measure_ablation(
        model, one, mask, how="resample", corpus=one, position="answer"
    )
    torch.testing.assert_close(after[0], before)
    _, moved = measure_ablation(model, one, mask, how="resample", corpus=there, position="answer")
    assert not torch.allclose(moved[0], before)


@pytest.mark.parametrize("how", ["mean", "resample"])
def test_what_replaces_activations_must_be_given(tiny, prompts, how):
    with pytest.raises(ValueError, match="needs a corpus"):
        lv.intervene(tiny("gpt2"), prompts, [(0, 1)], how=how)
    english = [prompt for prompt in prompts if prompt.language == "en"]
    with pytest.raises(ValueError, match="no prompt in ru, zh"):
        lv.intervene(tiny("gpt2"), prompts, [(0, 1)], how=how, corpus=english)


def test_effects_are_those_of_each_fact_alone(tiny, facts):
    model = tiny("gpt2")
    some = facts.filter(relation="capital", subjects=["FR", "JP", "PE"], languages=["en", "ru"])
    prompts = some.prompts()
    ids = list(dict.fromkeys(prompt.fact_id for prompt in prompts))
    sets = {
        "one": {ids[0]: [(0, 3), (1, 4)], ids[1]: [(2, 2)], ids[2]: []},
        "two": {ids[0]: [(1, 1)]},
    }
    found = lv.effects(model, sets, prompts, controls=2)
    assert found.facts == tuple(ids)
    assert found.sets == ("one", "two")
    for number, name in enumerate(found.sets):
        for row, fact in enumerate(found.facts[:2]):
            if fact not in sets[name]:
                continue
            mine = [p for p in prompts if p.fact_id == fact]
            effect = lv.intervene(model, mine, sets[name][fact], controls=2).to_frame()
            by_language = effect.groupby("language", sort=False)["p_after"].mean()
            column = [found.languages.index(language) for language in by_language.index]
            np.testing.assert_allclose(found.p[1, number, row, column], by_language, rtol=1e-4)
    # No neurons, no effect; not a zero.
    assert np.isnan(found.p[:, 0, 2]).all()
    assert found.n_neurons[0, 2] == 0
    table = found.summary(by_language=True)
    own = found.changes(of="log_p")["own fact"][0, :2, 0]
    assert table.loc[("one", "own fact", "en"), "log_p"] == pytest.approx(own.mean())
    stranger = [p for p in prompts if p.fact_id == ids[1]]
    other = lv.intervene(model, stranger, sets["two"][ids[0]], controls=0).to_frame()
    got = found.changes(mean_of=found.languages)["other fact"][1, 0, 0]
    assert got == pytest.approx(other["p_after"].mean() / other["p_before"].mean() - 1, rel=1e-4)


def test_effects_of_other_facts_are_refused(tiny, prompts):
    with pytest.raises(ValueError, match="no fact of the neuron sets"):
        lv.effects(tiny("gpt2"), {"a": {"nothing": [(0, 1)]}}, prompts)


def test_provenance_names_the_factor_where_it_counts(tiny, prompts):
    model, fact = tiny("gpt2"), prompts[0].fact_id
    for how, named in (("scale", {"factor": 3.0}), ("zero", {})):
        said = {"how": how, "position": "all"} | named
        one = lv.intervene(model, prompts, [(1, 4)], how=how, factor=3.0, controls=0)
        many = lv.effects(model, {"a": {fact: [(1, 4)]}}, prompts, how=how, factor=3.0, controls=0)
        assert one.provenance.options.items() >= said.items()
        assert one.provenance.options == many.provenance.options
        assert ("factor" in one.provenance.options) == bool(named)
