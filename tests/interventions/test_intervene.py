"""One intervention against hooks set by hand, and what it leaves behind."""

import dataclasses

import numpy as np
import pytest
import torch

import lafn_viz as lv
from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.core.stats import bootstrap
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


@pytest.mark.slow
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

    def fail(self, owner, changes):
        with model.hooks(fwd_hooks=[("blocks.0.mlp.hook_post", lambda value, hook: value * 0)]):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OnePass, "changed", fail)
        with pytest.raises(KeyboardInterrupt):
            lv.intervene(model, prompts, [(0, 1)])
    torch.testing.assert_close(lv.score_answers(model, prompts).log_prob, before, rtol=0, atol=0)


@pytest.mark.parametrize("how", ["mean", "resample"])
def test_what_replaces_activations_must_be_given(tiny, prompts, how):
    with pytest.raises(ValueError, match="needs a corpus"):
        lv.intervene(tiny("gpt2"), prompts, [(0, 1)], how=how)
    english = [prompt for prompt in prompts if prompt.language == "en"]
    with pytest.raises(ValueError, match="no prompt in ru, zh"):
        lv.intervene(tiny("gpt2"), prompts, [(0, 1)], how=how, corpus=english)


def test_intervals_are_over_facts_not_over_their_prompts():
    one = lv.Prompt.of("A is", "B", subject="A", relation="r")
    prompts = tuple(
        dataclasses.replace(one, fact_id=f"r/{fact}", paraphrase=wording)
        for fact in range(3)
        for wording in range(4)
    )
    change = torch.arange(3).repeat_interleave(4) - 2.0  # alike within each fact
    effect = lv.Effect(
        before=torch.full((12,), -1.0),
        after=change - 1,
        control=torch.zeros(0, 12),
        neurons=frozenset(),
        prompts=prompts,
        provenance=lv.Provenance("made-up", "", "made-up"),
    )
    row = effect.summary().loc["neurons"]
    assert row["log_p"] == pytest.approx(-1)
    assert (row["log_p_low"], row["log_p_high"]) == pytest.approx(bootstrap(np.arange(3) - 2.0))
    of_one = dataclasses.replace(
        effect, before=effect.before[:4], after=effect.after[:4], control=effect.control[:, :4],
        prompts=prompts[:4],
    )  # fmt: skip
    assert of_one.summary()[["p_low", "p_high", "log_p_low", "log_p_high"]].isna().all(axis=None)
