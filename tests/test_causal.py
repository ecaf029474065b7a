import numpy as np
import pytest
import torch

import lafn_viz as lv


def test_zeroing_is_zeroing(tiny, prompts):
    model, neurons = tiny("gpt2"), [(0, 3), (0, 7), (2, 1)]

    def silence(chosen):
        def hook(value, hook):
            value = value.clone()
            value[..., chosen] = 0
            return value

        return hook

    effect = lv.intervene(model, prompts[:2], neurons, controls=0)
    from lafn_viz.target import encode

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
    import lafn_viz.target as target

    def fail(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(target, "answer_log_prob", fail)
        with pytest.raises(KeyboardInterrupt):
            lv.intervene(model, prompts, [(0, 1)])
    torch.testing.assert_close(lv.score_answers(model, prompts).log_prob, before, rtol=0, atol=0)
