"""Checks of exercises: right in another way passes, and each wrong way hears its own reason."""

import re

import numpy as np
import pytest
import torch

from lafn_viz.course import (
    check_auc,
    check_completeness_error,
    check_discoveries,
    check_edit_loss,
    check_known_everywhere,
    check_layer_activations,
    check_p_value,
    check_speaks_of,
    check_without_each_token,
    check_without_neuron,
)


@pytest.mark.parametrize(
    "answer",
    [
        lambda observed, draws: (1 + sum(d >= observed for d in draws)) / (1 + len(draws)),
        lambda observed, draws: torch.tensor([*draws, observed]).ge(observed).float().mean(),
    ],
)
def test_p_value_may_be_any_number(answer):
    verdict = check_p_value(answer)
    assert verdict.passed, verdict.says
    assert "999 draws" in verdict.says


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda observed, draws: sum(d >= observed for d in draws) / len(draws), "one more draw"),
        (
            lambda observed, draws: (1 + sum(d > observed for d in draws)) / (1 + len(draws)),
            "equal reaches it too",
        ),
        (
            lambda observed, draws: (1 + sum(d >= observed for d in draws)) / len(draws),
            "below the line too",
        ),
        (lambda observed, draws: 1.0, "p is"),
        (lambda observed, draws: "0.05 or so", "should return one number"),
    ],
)
def test_p_value_says_what_is_wrong(answer, reason):
    verdict = check_p_value(answer)
    assert not verdict.passed
    assert reason in verdict.says


def pairs_won(true, false, tie):
    won = [float(t > f) + tie * (t == f) for t in true for f in false]
    return sum(won) / len(won)


def test_auc_may_be_a_tensor():
    def ranked(true, false):
        difference = torch.tensor(true, dtype=torch.float64)[:, None] - torch.tensor(
            false, dtype=torch.float64
        )
        return ((difference.sign() + 1) / 2).mean()

    assert check_auc(ranked).passed


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda true, false: pairs_won(true, false, 0.0), "counts half"),
        (lambda true, false: pairs_won(true, false, 1.0), "would be perfect"),
        (lambda true, false: pairs_won(false, true, 0.5), "wrong way round"),
        (lambda true, false: sum(t > 0.5 for t in true) / len(true), "threshold"),
        (lambda true, false: None, "returns nothing"),
    ],
)
def test_auc_says_what_is_wrong(answer, reason):
    verdict = check_auc(answer)
    assert not verdict.passed
    assert reason in verdict.says


@pytest.fixture(scope="module")
def asked(embedded, facts):
    """A prompt's tokens and its answer's token."""
    prompt = facts.filter(relation="capital", subjects="Japan").prompts()[0]
    tokens = embedded.to_tokens(prompt.text, prepend_bos=False)
    return tokens, embedded.tokenizer.encode(" " + prompt.answer, add_special_tokens=False)[0]


def read(model, tokens, layer):
    _, cache = model.run_with_cache(tokens)
    return cache[f"blocks.{layer}.mlp.hook_post"][0, -1]


@pytest.mark.parametrize("kind", [torch.Tensor.double, torch.Tensor.numpy, torch.Tensor.tolist])
def test_numbers_may_be_of_any_kind(embedded, asked, kind):
    verdict = check_layer_activations(lambda *args: kind(read(*args)), embedded, asked[0])
    assert verdict.passed, verdict.says


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda *args: read(*args).mean(), r"it should have \(640,\)"),
        (lambda *args: {"a": 1}, "should return a tensor"),
        (lambda *args: None, "returns nothing"),
    ],
)
def test_no_answer_stops_the_notebook(embedded, asked, answer, reason):
    verdict = check_layer_activations(answer, embedded, asked[0])
    assert not verdict.passed
    assert re.search(reason, verdict.says)


@pytest.mark.parametrize(
    ("layers", "index", "passes"),
    [
        (None, (slice(None), slice(None)), True),
        (None, (slice(None), -1), False),  # silent at the last position alone
        (3, (slice(None), slice(None)), False),  # whatever layer was asked for
    ],
)
def test_a_neuron_is_silenced_in_its_layer_at_every_position(
    embedded, asked, layers, index, passes
):
    def without(model, tokens, token, layer, neuron):
        def silence(value, hook):
            value = value.clone()
            value[(*index, neuron)] = 0
            return value

        place = f"blocks.{layer if layers is None else layers}.mlp.hook_post"
        with model.hooks(fwd_hooks=[(place, silence)]):
            return model(tokens)[0, -1].softmax(-1)[token].numpy()

    assert check_without_neuron(without, embedded, *asked).passed == passes


def test_an_answer_that_writes_into_what_it_was_given_spoils_nothing():
    tokens = torch.tensor([5, 6, 7])

    def shares_one_tensor(given, blank):
        rows = given.expand(len(given), -1)
        for i in range(len(given)):
            rows[i, i] = blank
        return rows

    wrong = check_without_each_token(shares_one_tensor, tokens, 0)
    assert "share one tensor" in wrong.says
    assert tokens.tolist() == [5, 6, 7]
    own = torch.eye(3, dtype=torch.bool)
    assert check_without_each_token(lambda t, b: torch.where(own, b, t), tokens, 0).passed
    assert not check_without_each_token(lambda t, b: torch.where(own, 0, t), tokens, 0).passed


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda s, f, end: s.sum() - (f(end) - f(torch.zeros(6))), "no sign"),
        (lambda s, f, end: (s - (f(end) - f(torch.zeros(6)))).abs(), "should return one number"),
    ],
)
def test_completeness_error_says_what_is_wrong(answer, reason):
    assert reason in check_completeness_error(answer).says


def stops_at_first(p_values, level):
    n = 0
    for rank, p in enumerate(sorted(p_values), start=1):
        if p > level * rank / len(p_values):
            break
        n = rank
    return n


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (stops_at_first, "takes all below it along"),
        (lambda p, level: [(1, 0.1)], "should return one number"),
        (lambda p, level: True, "ranks alone"),
    ],
)
def test_discoveries_says_what_is_wrong(answer, reason):
    assert reason in check_discoveries(answer).says


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda rows: {fact: True for fact, _, _ in rows}, "by name"),
        (lambda rows: 2, "by name"),
        (lambda rows: {fact for fact, _, _ in rows}, "Peru is among them"),
    ],
)
def test_known_everywhere_says_what_is_wrong(answer, reason):
    assert reason in check_known_everywhere(answer).says


@pytest.mark.parametrize(
    "answer",
    [
        lambda text, name: re.search(rf"{re.escape(name)}\b", text, re.IGNORECASE) is not None,
        lambda text, name: set(name.casefold().split()) <= set(re.findall(r"\w+", text.casefold())),
    ],
)
def test_a_name_has_two_borders_and_stands_together(answer):
    assert not check_speaks_of(answer).passed


def test_loss_may_be_computed_by_numpy(embedded, facts):
    verdict = check_edit_loss(lambda p: -np.log(p.numpy()).mean(), embedded, facts)
    assert verdict.passed, verdict.says
