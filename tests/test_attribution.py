"""The one pass against independent references, and the properties that hold for every model."""

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients

import lafn_viz as lv
from lafn_viz.target import encode

FAMILIES = ["gpt2", "bloom", "llama", "qwen2", "gemma2", "gpt_neox", "opt"]
POSITIONS = ["all", "answer", "subject_last"]


def target_of(model, prompt, layer, position):
    """F of one layer, by one plain forward: (function of activations, positions, activations)."""
    item = encode(model, prompt)
    tokens = torch.tensor([[*item.tokens, *item.answer[:-1]]])
    at = {
        "all": list(range(len(item.tokens))),
        "answer": [len(item.tokens) - 1],
        "subject_last": [item.subject_last],
    }[position]
    name = f"blocks.{layer}.mlp.hook_post"
    _, cache = model.run_with_cache(tokens, names_filter=name)

    def probability(activations):
        def put(value, hook):
            value = value.clone()
            value[:, at] = activations.to(value)
            return value

        rows = tokens.repeat(len(activations), 1)
        with model.hooks(fwd_hooks=[(name, put)]):
            logits = model(rows)
        log_probs = logits[:, len(item.tokens) - 1 :].log_softmax(-1)
        answer = torch.tensor(item.answer)
        return log_probs[:, torch.arange(len(answer)), answer].sum(-1).exp()

    return probability, cache[name][:, at].detach()


def loop(model, prompt, position, n_steps):
    """Integrated gradients layer by layer, point by point."""
    nodes, weights = np.polynomial.legendre.leggauss(n_steps)
    layers = []
    for layer in range(model.cfg.n_layers):
        probability, activations = target_of(model, prompt, layer, position)
        total = torch.zeros_like(activations)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            point = (node * activations).float().requires_grad_()
            total += weight * torch.autograd.grad(probability(point).sum(), point)[0]
        layers.append((total * activations)[0].sum(0))
    return torch.stack(layers)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_equals_the_loop(tiny, prompts, family, position):
    model = tiny(family)
    scores = lv.attribute(model, prompts, position=position, n_steps=5)
    reference = torch.stack([loop(model, prompt, position, 5) for prompt in prompts])
    scale = reference.abs().max()
    assert scale > 0
    assert ((scores.values - reference).abs().max() / scale).item() < 1e-5


@pytest.mark.parametrize("position", POSITIONS)
def test_captum_agrees(tiny, prompts, position):
    model = tiny("gpt2")
    scores = lv.attribute(model, prompts[:3], position=position, n_steps=16)
    for number, prompt in enumerate(prompts[:3]):
        for layer in range(model.cfg.n_layers):
            probability, activations = target_of(model, prompt, layer, position)
            other = (
                IntegratedGradients(probability)
                .attribute(activations, baselines=0.0, n_steps=16, method="gausslegendre")[0]
                .sum(0)
            )
            torch.testing.assert_close(
                scores.values[number, layer], other.float(), rtol=1e-3, atol=1e-7
            )


def test_finite_differences_along_the_path_agree(tiny, prompts):
    # No gradient at all: move one neuron at many points of the path and look at F.
    model, prompt, layer = tiny("gpt2"), prompts[0], 1
    scores = lv.attribute(model, [prompt], position="answer", n_steps=16).values[0, layer]
    probability, activations = target_of(model, prompt, layer, "answer")
    middles = (torch.arange(400) + 0.5) / 400
    path = middles[:, None, None] * activations
    for neuron in scores.abs().topk(3).indices.tolist():
        nudge = torch.zeros_like(path)
        nudge[:, 0, neuron] = 1e-2
        with torch.no_grad():
            slope = (probability(path + nudge) - probability(path - nudge)).mean() / 2e-2
        by_hand = (slope * activations[0, 0, neuron]).item()
        assert scores[neuron].item() == pytest.approx(by_hand, rel=2e-2)


@pytest.mark.parametrize("target", ["probability", "log_prob"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "bloom"])
def test_complete_and_the_error_is_told_as_it_is(tiny, prompts, family, target):
    model = tiny(family)
    for position in POSITIONS:
        scores = lv.attribute(model, prompts[:4], position=position, target=target, n_steps=20)
        for number, prompt in enumerate(prompts[:4]):
            for layer in range(model.cfg.n_layers):
                probability, activations = target_of(model, prompt, layer, position)
                with torch.no_grad():
                    ends = probability(torch.cat([activations, 0 * activations]))
                ends = ends if target == "probability" else ends.log()
                gap = scores.values[number, layer].sum() - (ends[0] - ends[1])
                error = scores.completeness_error[number, layer]
                assert error.item() == pytest.approx(gap.item(), abs=2e-5 * ends.abs().max().item())


def test_more_steps_less_error(tiny, prompts):
    errors = [
        lv.attribute(tiny("gpt2"), prompts, n_steps=n).completeness_error.abs().mean().item()
        for n in (1, 3, 9)
    ]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


@pytest.mark.parametrize("family", ["gpt2", "bloom"])
def test_max_rows_bounds_the_rows_and_changes_nothing(tiny, prompts, family):
    model, seen = tiny(family), []

    def count(value, hook):
        seen.append(len(value))

    whole = lv.attribute(model, prompts, n_steps=3)
    with model.hooks(fwd_hooks=[("blocks.2.mlp.hook_post", count)]):
        small = lv.attribute(model, prompts, n_steps=3, max_rows=6)
    torch.testing.assert_close(whole.values, small.values, rtol=1e-4, atol=1e-8)
    assert max(seen) <= 6


@pytest.mark.parametrize("position", POSITIONS)
def test_activation_is_the_activation(tiny, prompts, position):
    model = tiny("llama")
    scores = lv.attribute(model, prompts, method="activation", position=position)
    for number, prompt in enumerate(prompts):
        for layer in range(model.cfg.n_layers):
            _, activations = target_of(model, prompt, layer, position)
            torch.testing.assert_close(scores.values[number, layer], activations[0].sum(0))
    assert scores.completeness_error.isnan().all()


def test_model_is_as_before_and_hooks_are_gone_even_after_an_error(tiny, prompts):
    model = tiny("gpt2")
    before = {k: v.clone() for k, v in model.original_model.state_dict().items()}
    logits = model(torch.tensor([[5, 6, 7]]))

    def fail(value, hook):
        raise RuntimeError("interrupted")

    with (
        pytest.raises(RuntimeError, match="interrupted"),
        model.hooks(fwd_hooks=[("blocks.1.mlp.hook_post", fail)]),
    ):
        lv.attribute(model, prompts)
    assert all(torch.equal(v, before[k]) for k, v in model.original_model.state_dict().items())
    assert torch.equal(model(torch.tensor([[5, 6, 7]])), logits)


def test_same_prompts_same_scores_and_frame_of_the_best(embedded, facts):
    prompts = facts.filter(relation="capital", subjects="FR", languages=["en", "ar"]).prompts()
    one, two = (lv.attribute(embedded, prompts) for _ in range(2))
    assert torch.equal(one.values, two.values)
    assert one.provenance == two.provenance
    frame = one.to_frame(top=3)
    assert len(frame) == 3 * len(prompts)
    first = frame.iloc[0]
    assert one.values[0].max().item() == pytest.approx(first["score"])
    assert one.values[0, first["layer"], first["neuron"]].item() == pytest.approx(first["score"])
