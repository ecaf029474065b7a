"""Each method against plain gradients, and the table that a new method enters."""

from dataclasses import replace
from typing import get_args

import jaxtyping
import pytest
import torch
from one_layer import FAMILIES, POSITIONS, along, assert_near, blanked, fixed, reads, target_of

import lafn_viz as lv
from lafn_viz.attribution.methods import METHODS, Method, OnePointMethod, PathMethod
from lafn_viz.attribution.one_pass import Paths
from lafn_viz.attribution.quadrature import nodes_and_weights
from lafn_viz.models.hooks import hook_attended, hook_post
from lafn_viz.models.tokens import encode


@pytest.mark.slow
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("family", ["gpt2", "llama", "bloom", "bert", "xlm-roberta"])
def test_amig_equals_the_loop_over_tokens(tiny, prompts, family, position):
    model, some = tiny(family), [prompts[0], prompts[-1]]
    ours = fixed(model, some, method="amig", position=position, n_steps=3)
    released = fixed(model, some, method="amig_as_released", position=position, n_steps=4)
    rule, left = nodes_and_weights("gauss_legendre", 3), nodes_and_weights("riemann_left", 4)
    expected, as_released = torch.zeros_like(ours.values), torch.zeros_like(ours.values)
    for number, prompt in enumerate(some):
        for layer in range(model.cfg.n_layers):
            value, w = target_of(model, prompt, layer, position)
            starts = blanked(model, prompt, layer, position)
            for start in starts:
                expected[number, layer] += along(value, start, w, *rule)
            # The authors' code reads GPT's neurons before their non-linearity, and puts blanks in
            # place of BERT's special tokens, too.
            hook = "hook_pre" if family in ("gpt2", "bloom") else "hook_post"
            value, w = target_of(model, prompt, layer, position, hook=hook)
            masked = family in ("bert", "xlm-roberta")
            starts = blanked(model, prompt, layer, position, hook=hook, special=masked)
            mean = torch.stack(starts).mean(0)
            as_released[number, layer] = along(value, mean, w, *left, factor=w)
    assert_near(ours.values, expected)
    assert_near(released.values, as_released)


@pytest.mark.parametrize("family", [x for x in FAMILIES if x not in ("bert", "roberta")])
def test_the_place_before_the_non_linearity_is_found_in_every_family(tiny, prompts, family):
    """There, what the released AMIG moves is what the layer's own function makes neurons of."""
    model = tiny(family)
    place = METHODS["amig_as_released"].site(model)(1)
    tokens = torch.tensor([reads(model, prompts[0], "all")[0]])
    _, seen = model.run_with_cache(tokens, names_filter=[place, hook_post(1)])
    before, after = seen[place], seen[hook_post(1)]
    gated = family in ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2")
    assert (place == hook_post(1)) == (gated or family == "xlm-roberta")
    if place != hook_post(1):
        # Each neuron is the same function of its own place, which grows where it is positive.
        order = before.flatten().argsort()
        positive = before.flatten()[order] > 0.1
        assert positive.any()
        assert (after.flatten()[order][positive].diff() >= -1e-6).all()


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_amig_blanks_no_token_of_the_examples(tiny, facts, family):
    model = tiny(family)
    capitals = facts.filter(relation="capital", subjects="FR", languages="en")
    prompt = capitals.prompts(shots=1, examples=facts)[0]
    ours = fixed(model, [prompt], method="amig", position="answer", n_steps=2).values[0, 1]
    value, w = target_of(model, prompt, 1, "answer")
    rule = nodes_and_weights("gauss_legendre", 2)
    starts = blanked(model, prompt, 1, "answer")
    assert_near(ours, sum(along(value, start, w, *rule) for start in starts))


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("family", ["llama", "bloom", "bert"])
def test_one_point_methods_equal_plain_gradients(tiny, prompts, family, position):
    model, some = tiny(family), prompts[:3]
    activation, gradient, product = (
        lv.attribute(model, some, method=method, position=position)
        for method in ("activation", "gradient", "gradient_x_activation")
    )
    for number, prompt in enumerate(some):
        for layer in range(model.cfg.n_layers):
            value, w = target_of(model, prompt, layer, position)
            point = w.clone().requires_grad_()
            slope = torch.autograd.grad(value(point).sum(), point)[0]
            torch.testing.assert_close(activation.values[number, layer], w[0].sum(0))
            close = {"rtol": 1e-3, "atol": 1e-5 * slope.abs().max().item()}
            torch.testing.assert_close(gradient.values[number, layer], slope[0].sum(0), **close)
            torch.testing.assert_close(
                product.values[number, layer], (slope * w)[0].sum(0), rtol=1e-3,
                atol=1e-5 * (slope * w).abs().max().item(),
            )  # fmt: skip
    assert activation.completeness_error.isnan().all()


def test_direct_effect_is_what_the_neuron_writes_read_by_the_unembedding(tiny, prompts):
    model, prompt = tiny("gpt2"), replace(prompts[0], answer="a", separator="")
    scores = lv.attribute(
        model, [prompt], method="direct_effect", target="logit_difference", foil="b",
        position="answer",
    ).values[0]  # fmt: skip
    hf, (tokens, (answer,), _, _) = model.original_model, reads(model, prompt, "answer")
    foil = model.tokenizer("b")["input_ids"][0]
    _, cache = model.run_with_cache(torch.tensor([tokens]))
    last = f"blocks.{model.cfg.n_layers - 1}.hook_out"
    stream = cache[last][0, -1].detach().requires_grad_()
    logits = hf.lm_head(hf.transformer.ln_f(stream))
    direction = torch.autograd.grad(logits[answer] - logits[foil], stream)[0]
    for layer in range(model.cfg.n_layers):
        w = cache[f"blocks.{layer}.mlp.hook_post"][0, -1]
        written = hf.transformer.h[layer].mlp.c_proj.weight  # [neuron, d_model]
        assert_near(scores[layer], w * (written @ direction), 1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_direct_effect_leaves_out_later_attention_alone(tiny, prompts, family):
    """A small step of one neuron, with what later attention and neurons write kept as it was."""
    model, prompt = tiny(family), replace(prompts[0], answer=".", separator="")
    ask = {"target": "log_prob", "position": "answer"}
    direct = lv.attribute(model, [prompt], method="direct_effect", **ask).values[0]
    item = encode(model, prompt)
    tokens, layer = torch.tensor([item.read]), 1
    keep = [n for later in (2,) for n in (hook_post(later), hook_attended(model, later))]
    _, cache = model.run_with_cache(tokens)
    active = cache[hook_post(layer)][0, item.predicts]
    neuron, seen = int(active.abs().argmax()), {name: cache[name] for name in keep}

    def stepped(by):
        def step(value, hook):
            value = value.clone()
            value[0, item.predicts, neuron] += by
            return value

        kept = [(name, lambda value, hook, name=name: seen[name]) for name in keep]
        with torch.no_grad(), model.hooks(fwd_hooks=[(hook_post(layer), step), *kept]):
            logits = model(tokens)[0, item.predicts].double()
        return logits.log_softmax(-1)[item.answer[0]]

    by = 0.01 * float(active[neuron].abs())
    slope = (stepped(by) - stepped(-by)) / (2 * by)
    expected = float(slope * active[neuron])
    assert float(direct[layer, neuron]) == pytest.approx(expected, rel=0.02, abs=1e-4)


def test_linear_read_out_every_path_method_agrees(tiny, prompts):
    # The last layer's neurons reach a log-probability difference through one normalisation only;
    # with that frozen everything is linear, so a gradient at one point already is the answer.
    model, prompt = tiny("gpt2"), replace(prompts[0], answer="a", separator="")
    ask = {"target": "logit_difference", "foil": "b", "position": "answer"}

    def frozen(value, hook):
        return torch.full_like(value, 2.0)

    with model.hooks(fwd_hooks=[("ln_final.hook_scale", frozen)]):
        one = fixed(model, [prompt], n_steps=1, **ask).values[0, -1]
        many = fixed(model, [prompt], n_steps=8, **ask).values[0, -1]
        product = lv.attribute(model, [prompt], method="gradient_x_activation", **ask).values[0, -1]
    assert_near(one, many)
    assert_near(one, product)


def test_the_type_names_the_methods_of_the_table():
    assert get_args(Method) == tuple(METHODS)


def test_complete_methods_follow_a_path():
    assert all(spec.follows_path for spec in METHODS.values() if spec.complete)


@pytest.fixture
def any_method(monkeypatch):
    """Let a method be called that is in the table but not in the type."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


class FromHalf(PathMethod):
    """Integrated gradients that begin halfway: one class, as a new method is written."""

    complete = True

    def _paths(self, run, baselines):
        owner = run.everyone()
        return Paths(owner, [activations / 2 for activations in run.activations])


class Positive(OnePointMethod):
    """The activations above zero."""

    uses_target = False
    n_points = 0

    def _values(self, run, baselines):
        return torch.stack(run.activations, 1).clamp_min(0).sum(2)


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_a_path_method_is_one_class(tiny, prompts, monkeypatch, any_method, family):
    monkeypatch.setitem(METHODS, "from_half", FromHalf())
    model, some = tiny(family), prompts[:4]
    scores = fixed(model, some, method="from_half", n_steps=4)
    rule = nodes_and_weights("gauss_legendre", 4)
    for number, prompt in enumerate(some):
        for layer in range(model.cfg.n_layers):
            value, w = target_of(model, prompt, layer, "all")
            assert_near(scores.values[number, layer], along(value, w / 2, w, *rule))
    assert scores.provenance.method == "from_half"
    assert scores.provenance.options["quadrature"] == "gauss_legendre"
    auto = lv.attribute(model, some, method="from_half")
    assert auto.relative_error.max() <= 0.01
    assert auto.n_points.min() >= 3
    with pytest.warns(lv.CompletenessWarning, match="miss the completeness tolerance"):
        lv.attribute(model, some, method="from_half", n_steps=1, quadrature="riemann_right")
    with pytest.raises(ValueError, match="'from_half' has no choice of baseline"):
        lv.attribute(model, some, method="from_half", baseline="mean")


def test_a_one_point_method_is_one_class(tiny, prompts, monkeypatch, any_method):
    monkeypatch.setitem(METHODS, "positive", Positive())
    model, options = tiny("gpt2"), {"target": "logit_difference", "foil": "b"}
    scores = lv.attribute(model, prompts[:2], method="positive", **options)
    _, w = target_of(model, prompts[0], 1, "all")
    torch.testing.assert_close(scores.values[0, 1], w[0].clamp_min(0).sum(0))
    assert scores.completeness_error.isnan().all()
    assert scores.n_points.sum() == 0
    with pytest.raises(ValueError, match=r"there are integrated_gradients.*positive"):
        lv.attribute(model, prompts[:2], method="negative")
