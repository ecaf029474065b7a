"""Baselines against brute force over plain transformers in float64, and which one acts."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as hf
from families import put_special_token_in_front
from one_layer import assert_near, fixed

import lafn_viz as lv
from lafn_viz.attribution.baselines import BaselineWarning
from lafn_viz.attribution.one_pass import OnePass
from lafn_viz.models.capabilities import capabilities

INVARIANT = ("gemma2", "gemma3", "olmo2")
ASK = {"target": "log_prob", "position": "answer"}


@pytest.fixture
def asked(facts):
    """Three facts in two languages and two wordings, with answers of one token."""
    some = facts.filter(relation="capital", languages=["en", "ru"], subjects=["FR", "JP", "PE"])
    prompts = [p for p in some.prompts() if p.paraphrase < 2]
    return [replace(prompt, answer=".", separator="") for prompt in prompts]


class Plain:
    """A transformers model in float64, asked for one layer's neurons at the last token."""

    def __init__(self, folder):
        self.model = hf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
        self.tokenizer = hf.AutoTokenizer.from_pretrained(folder)

    def run(self, prompt, layer, neurons=None, rows=1):
        """(log P of the answer, the layer's neurons), with the neurons of each row put there."""
        tokens = self.tokenizer(prompt.text, add_special_tokens=False, return_tensors="pt")
        tokens = tokens["input_ids"].repeat(rows, 1)
        (answer,) = self.tokenizer(prompt.answer, add_special_tokens=False)["input_ids"]
        seen = []

        def hook(module, inputs):
            value = inputs[0].clone()
            if neurons is not None:
                value[:, -1] = neurons
            seen.append(value[:, -1].detach())
            return (value,)

        down = self.model.model.layers[layer].mlp.down_proj
        handle = down.register_forward_pre_hook(hook)
        try:
            logits = self.model(tokens).logits[:, -1]
        finally:
            handle.remove()
        return logits.log_softmax(-1)[:, answer], seen[0]

    def integrated(self, prompt, layer, start, alpha, weights):
        """Integrated gradients from `start` by points alpha and their weights."""
        _, end = self.run(prompt, layer)
        points = (start + alpha[:, None] * (end - start)).requires_grad_()
        value, _ = self.run(prompt, layer, points, rows=len(alpha))
        (gradient,) = torch.autograd.grad(value.sum(), points)
        return ((end - start) * weights[:, None] * gradient).sum(0)


def in_logarithm(n=150, least=1e-8):
    """Points and weights on [0, 1] that are even in the logarithm."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    u = np.log(least) * (1 - nodes) / 2
    weights = weights / 2 * -np.log(least) * np.exp(u)
    return torch.as_tensor(np.exp(u)), torch.as_tensor(weights)


def evenly(n=50):
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return torch.as_tensor((nodes + 1) / 2), torch.as_tensor(weights / 2)


@pytest.mark.slow
@pytest.mark.parametrize("family", INVARIANT)
def test_both_baselines_equal_brute_force(tiny, folder, asked, family):
    model, plain, prompt = tiny(family), Plain(folder(family)), asked[0]
    others = [p for p in asked if p.language == "en" and p.fact_id != prompt.fact_id]
    assert len(others) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BaselineWarning)
        zero = lv.attribute(model, [prompt], baseline="zero", n_steps=20, **ASK)
    given = lv.attribute(model, [prompt], corpus=asked, n_steps=20, **ASK)
    among = lv.attribute(model, asked, n_steps=20, **ASK)
    assert given.provenance.options["baseline"] == "other_facts"
    for layer in range(model.cfg.n_layers):
        nothing = torch.zeros(model.cfg.d_mlp, dtype=torch.float64)
        expected = plain.integrated(prompt, layer, nothing, *in_logarithm())
        assert_near(zero.values[0, layer], expected, 1e-3)
        mean = torch.cat([plain.run(p, layer)[1] for p in others]).mean(0)
        expected = plain.integrated(prompt, layer, mean, *evenly())
        assert_near(given.values[0, layer], expected, 1e-3)
        assert_near(among.values[0, layer], expected, 1e-3)
        change = (plain.run(prompt, layer)[0] - plain.run(prompt, layer, mean)[0]).item()
        assert float(given.target_change[0, layer]) == pytest.approx(change, abs=1e-4)


@pytest.mark.parametrize("family", INVARIANT)
def test_few_points_are_enough_where_those_of_a_straight_path_fail(tiny, asked, family):
    model, errors = tiny(family), {}
    straight = torch.zeros(capabilities(model).shape)
    for name, baseline, n in (
        ("other", "auto", 8),
        ("zero", "zero", 12),
        ("straight", straight, 12),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = lv.attribute(model, asked[::3], baseline=baseline, n_steps=n, **ASK)
        errors[name] = scores.relative_error
    assert errors["other"].max() < 1e-3
    assert errors["zero"].max() < 0.01
    assert errors["straight"].median() > 50 * errors["zero"].median()


def test_auto_is_zero_where_zero_means_something(tiny, prompts):
    for family in ("gpt2", "bert"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", BaselineWarning)
            auto, zero = (
                fixed(tiny(family), prompts[:2], n_steps=2, **options)
                for options in ({}, {"baseline": "zero"})
            )
        assert torch.equal(auto.values, zero.values)
        assert auto.provenance.options["baseline"] == "zero"


def test_zero_says_what_it_measures(tiny, asked):
    model, ask = tiny("gemma3"), {"method": "direct_effect", **ASK}
    with pytest.warns(BaselineWarning, match=r"^the baseline is zero in a model whose layers"):
        zero = lv.attribute(model, asked, baseline="zero", **ask)
    with pytest.warns(BaselineWarning, match="no prompt asks another fact of the relation"):
        alone = lv.attribute(model, asked[:4], **ask)
    assert alone.provenance.options["baseline"] == "zero"
    torch.testing.assert_close(alone.values, zero.values[:4])
    with warnings.catch_warnings():
        warnings.simplefilter("error", BaselineWarning)
        lv.attribute(model, asked[:1], method="gradient_x_activation", **ASK)
        others = lv.attribute(model, asked, **ask)
    assert others.provenance.options["baseline"] == "other_facts"
    # Along the residual stream, too, scaling all neurons of a layer changes nothing.
    assert zero.values.sum(-1).abs().max() < 1e-3 * zero.values.abs().sum(-1).max()
    assert others.values.sum(-1).abs().max() > 0.1 * others.values.abs().sum(-1).max()


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_the_mean_of_other_facts_leaves_out_the_asked_one(tiny, asked, family):
    """It equals the mean over a corpus without the fact, and other relations play no part."""
    model = tiny(family)
    more = [*asked, *(replace(p, relation="x", fact_id=f"x/{p.subject}") for p in asked)]
    ask = {"n_steps": 2, "position": "all" if family == "bert" else "answer"}
    scores = fixed(model, asked, baseline="other_facts", corpus=more, **ask)
    for number in (0, 5):
        prompt = asked[number]
        others = [p for p in asked if p.fact_id != prompt.fact_id]
        mean = fixed(model, [prompt], baseline="mean", corpus=others, **ask)
        assert_near(scores.values[number], mean.values[0])


def test_special_tokens_at_the_start_have_no_score(tiny, asked, monkeypatch):
    """A causal model's first tokens are the same in all prompts, so no fact can be in them."""
    model = tiny("gpt2")
    put_special_token_in_front(model, monkeypatch)
    seen = {}
    original = OnePass.slopes

    def slopes(self, paths, points, **options):
        seen["differs"] = [
            (s != e).any(-1).any(0) for s, e in zip(paths.start, self.activations, strict=True)
        ]
        return original(self, paths, points, **options)

    monkeypatch.setattr(OnePass, "slopes", slopes)
    fixed(model, asked[:4] + asked[8:], baseline="other_facts", n_steps=1)
    for differs in seen["differs"]:
        assert not differs[0]
        assert differs[1:].all()


def test_a_corpus_without_other_facts_is_refused(tiny, asked):
    french = [replace(prompt, language="fr") for prompt in asked[4:]]
    for corpus, language in ((asked[:4], "en"), (french, "en"), (asked[:2] + asked[4:6], "ru")):
        with pytest.raises(ValueError, match=rf"no other fact of 'capital' in '{language}' than"):
            lv.attribute(tiny("gpt2"), asked, baseline="other_facts", corpus=corpus)
