"""Integrals along paths, with a number of points and with as many as the tolerance needs."""

import warnings

import pytest
import torch
from one_layer import along, assert_near, fixed, target_of
from scipy.stats import spearmanr

import lafn_viz as lv
from lafn_viz.attribution import path_integral
from lafn_viz.attribution.one_pass import OnePass, Paths
from lafn_viz.attribution.path_integral import integrate
from lafn_viz.attribution.quadrature import lobatto
from lafn_viz.models.batching import batches


@pytest.mark.parametrize("rule", ["riemann_left", "riemann_right", "riemann_midpoint"])
def test_riemann_sums_are_the_sums_they_are_called(tiny, prompts, rule):
    nodes = {
        "riemann_left": [0, 0.25, 0.5, 0.75],
        "riemann_right": [0.25, 0.5, 0.75, 1],
        "riemann_midpoint": [0.125, 0.375, 0.625, 0.875],
    }[rule]
    model, prompt = tiny("gpt2"), prompts[0]
    scores = fixed(model, [prompt], quadrature=rule, n_steps=4, position="answer")
    for layer in range(model.cfg.n_layers):
        value, w = target_of(model, prompt, layer, "answer")
        assert_near(scores.values[0, layer], along(value, 0 * w, w, nodes, [0.25] * 4))


def test_finite_differences_along_the_path_agree(tiny, prompts):
    # No gradient at all: move one neuron at many points of the path and look at F.
    model, prompt, layer = tiny("gpt2"), prompts[0], 1
    scores = lv.attribute(model, [prompt], position="answer", n_steps=16).values[0, layer]
    value, activations = target_of(model, prompt, layer, "answer")
    middles = (torch.arange(400) + 0.5) / 400
    path = middles[:, None, None] * activations
    for neuron in scores.abs().topk(3).indices.tolist():
        nudge = torch.zeros_like(path)
        nudge[:, 0, neuron] = 1e-2
        with torch.no_grad():
            slope = (value(path + nudge) - value(path - nudge)).mean() / 2e-2
        by_hand = (slope * activations[0, 0, neuron]).item()
        assert scores[neuron].item() == pytest.approx(by_hand, rel=2e-2)


def test_more_steps_less_error(tiny, prompts):
    errors = [
        fixed(tiny("gpt2"), prompts, n_steps=n).completeness_error.abs().mean().item()
        for n in (1, 3, 9)
    ]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "gemma2", "opt", "bert", "roberta"])
@pytest.mark.parametrize("method", ["integrated_gradients", "amig"])
def test_auto_reaches_the_tolerance_and_is_what_many_points_give(tiny, prompts, family, method):
    model, some = tiny(family), prompts[:4]
    loose = lv.attribute(model, some, method=method)
    # Many short paths add up many roundings: AMIG cannot be held as tight, nor can OPT, which takes
    # a thousand points at P = 1e-12. On some processors these leave an error of 9e-4.
    bound = 5e-3 if method == "amig" else 2e-3 if family == "opt" else 1e-3
    tight = lv.attribute(model, some, method=method, tolerance=bound)
    assert loose.relative_error.max() <= 0.01
    assert tight.relative_error.max() <= bound
    assert tight.n_points.sum() >= loose.n_points.sum()
    many = fixed(model, some, method=method, n_steps=40 if method == "amig" else 100)
    assert ((loose.values - many.values).norm() / many.values.norm()).item() < 0.03
    assert ((tight.values - many.values).norm() / many.values.norm()).item() < 5 * bound


def test_auto_refines_only_where_the_path_is_a_step(tiny, prompts, monkeypatch):
    # A massive activation makes the way to it nearly a step: blow one layer's way up.
    model = tiny("gpt2")
    weight = model.original_model.transformer.h[1].mlp.c_proj.weight
    before = weight.data.clone()
    weight.data *= 300
    try:
        auto = lv.attribute(model, prompts[:3], position="answer")
        few = fixed(model, prompts[:3], position="answer", n_steps=20, quadrature="riemann_left")
    finally:
        weight.data.copy_(before)
    assert few.relative_error[:, 1].max() > 0.05
    assert auto.relative_error.max() <= 0.01
    assert auto.n_points[:, 1].max() > 10 > auto.n_points[:, 2].max()


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_a_rule_with_more_points_keeps_those_of_the_one_before(tiny, prompts, family, monkeypatch):
    monkeypatch.setattr(path_integral, "ROUNDS", 0)  # whole paths alone
    (batch,) = batches(tiny(family), prompts[:1])
    run = OnePass(tiny(family), batch, "log_prob", max_rows=5)
    paths = Paths(run.everyone(), [0.3 * end.flip(-1) for end in run.activations])
    for tolerance, rule in ((1e9, lobatto(3)), (1e-9, lobatto(5))):
        auto = integrate(
            run, paths, lobatto(3), tolerance=tolerance, next_rule=lobatto(5), refined_by=lobatto(3)
        )
        alone = integrate(run, paths, rule)
        assert_near(auto.values, alone.values)
        assert torch.equal(auto.n_points, alone.n_points)
        assert (auto.n_points == len(rule[0])).all()


@pytest.mark.slow
def test_auto_does_not_chase_rounding(embedded, facts):
    """In half precision F is known to some percent: points beyond that mend nothing."""
    prompts = facts.filter(relation="capital", languages=["en", "zh"]).sample(3).prompts()
    half = lv.load_model("embedded", dtype=torch.bfloat16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lv.CompletenessWarning)
        quick, exact = lv.attribute(half, prompts), lv.attribute(embedded, prompts)
    assert quick.n_points.float().mean() <= exact.n_points.float().mean()
    best = exact.values.flatten(1).topk(100).indices
    for row, some in enumerate(best):
        both = [scores.values[row].flatten()[some] for scores in (quick, exact)]
        assert spearmanr(*both).statistic > 0.97
