"""Targets, baselines, completeness and its warning."""

import warnings
from dataclasses import replace

import pytest
import torch
from one_layer import POSITIONS, along, assert_near, fixed, reads, target_of

import lafn_viz as lv
from lafn_viz.attribution.mean_activations import mean_activations
from lafn_viz.attribution.quadrature import nodes_and_weights
from lafn_viz.attribution.scores import CompletenessWarning


@pytest.mark.slow
@pytest.mark.parametrize("target", ["probability", "log_prob"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "bloom", "bert"])
def test_complete_and_the_error_is_told_as_it_is(tiny, prompts, family, target):
    model = tiny(family)
    for position in POSITIONS:
        scores = fixed(model, prompts[:4], position=position, target=target, n_steps=20)
        for number, prompt in enumerate(prompts[:4]):
            for layer in range(model.cfg.n_layers):
                value, w = target_of(model, prompt, layer, position, target)
                with torch.no_grad():
                    ends = value(torch.cat([w, 0 * w]))
                change = scores.target_change[number, layer].item()
                near = {"abs": 2e-5 * ends.abs().max().item()}
                assert change == pytest.approx((ends[0] - ends[1]).item(), **near)
                gap = scores.values[number, layer].sum() - (ends[0] - ends[1])
                error = scores.completeness_error[number, layer].item()
                assert error == pytest.approx(gap.item(), **near)


def test_what_stays_incomplete_is_warned_of(tiny, prompts):
    with pytest.warns(CompletenessWarning, match=r'miss the .* tolerance.*use n_steps="auto"'):
        lv.attribute(tiny("gpt2"), prompts[:2], n_steps=1, quadrature="riemann_right")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lv.attribute(tiny("gpt2"), prompts[:2])
        lv.attribute(tiny("gpt2"), prompts[:2], method="amig_as_released")


def test_logit_difference_is_that_of_the_logits(tiny, prompts):
    # With an answer and a foil of one token each, the normaliser drops out.
    model, prompt = tiny("gpt2"), replace(prompts[0], answer="a", separator="")
    scores = lv.attribute(
        model, [prompt], target="logit_difference", foil="b", position="answer", tolerance=1e-4
    )
    tokens, (answer,), at, _ = reads(model, prompt, "answer")
    foil = model.tokenizer("b")["input_ids"][0]
    for layer in range(model.cfg.n_layers):

        def zero(value, hook):
            value[:, at] = 0
            return value

        ends = []
        for hooks in ([], [(f"blocks.{layer}.mlp.hook_post", zero)]):
            with model.hooks(fwd_hooks=hooks), torch.no_grad():
                logits = model(torch.tensor([tokens]))[0, -1]
            ends.append((logits[answer] - logits[foil]).item())
        change = scores.target_change[0, layer].item()
        assert change == pytest.approx(ends[0] - ends[1], abs=1e-4)
        assert scores.values[0, layer].sum().item() == pytest.approx(change, abs=1e-3)
    one, other = (
        lv.attribute(model, [p], target="log_prob", position="answer", tolerance=1e-4).values
        for p in (prompt, replace(prompt, answer="b"))
    )
    assert_near(scores.values, one - other)


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_baselines(tiny, prompts, family):
    model, some = tiny(family), prompts[:4]
    plain = fixed(model, some, n_steps=4)
    shape = plain.values.shape[1:]
    zero = fixed(model, some, n_steps=4, baseline=torch.zeros(shape))
    assert_near(zero.values, plain.values, 1e-7)
    given = torch.rand(shape)
    scores = fixed(model, some, n_steps=4, baseline=given, position="answer")
    means = mean_activations(model, prompts, position="answer")
    options = {"n_steps": 4, "position": "answer"}
    mean = fixed(model, some, baseline="mean", corpus=prompts, **options)
    for number, prompt in enumerate(some):
        for layer in range(model.cfg.n_layers):
            value, w = target_of(model, prompt, layer, "answer")
            rule = nodes_and_weights("gauss_legendre", 4)
            start = given[layer].expand_as(w)
            assert_near(scores.values[number, layer], along(value, start, w, *rule))
            start = means[prompt.language][layer].expand_as(w)
            assert_near(mean.values[number, layer], along(value, start, w, *rule))
