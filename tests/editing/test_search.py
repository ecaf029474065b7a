"""How an edit's neurons are pruned."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, strategies as st

import lafn_viz as lv
from lafn_viz.editing import distance, search
from lafn_viz.editing.loss import EditLoss
from lafn_viz.editing.optimise import edit_case
from lafn_viz.editing.search import (
    ENOUGH,
    EVALUATIONS_BEFORE_PRUNING,
    default_n_neurons,
    n_evaluations,
    prunings,
)
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import hook_written


@given(st.integers(1, 300), st.integers(1, 10**6))
def test_prunings_end_at_the_wanted_number(n_neurons, n_allowed):
    counts = prunings(n_neurons, n_allowed)
    assert all(after < before for before, after in pairwise([n_allowed, *counts]))
    assert (counts or [n_neurons])[-1] == n_neurons
    assert all(after <= max(n_neurons, ENOUGH) for after in counts)


def test_a_deep_model_is_pruned_as_often_as_a_small_one():
    assert prunings(100, 18 * 2048) == [1600, 400, 100]
    assert prunings(100, 4 * 640) == [640, 160, 100]
    assert n_evaluations(100, 18 * 2048) == n_evaluations(100, 4 * 640)
    assert n_evaluations(2560, 2560) == EVALUATIONS_BEFORE_PRUNING


def test_a_larger_model_is_edited_in_more_neurons():
    assert [default_n_neurons(n) for n in (64, 4 * 640, 18 * 2048)] == [64, 100, 368]


@pytest.mark.parametrize("site", [None, hook_written], ids=["neurons", "written"])
def test_a_large_vocabulary_is_read_in_part_near_some_values(tiny, facts, monkeypatch, site):
    model = tiny("llama")
    prompts = facts.filter(relation="capital", subjects="Japan", languages=["en", "ru"]).prompts()
    loss = EditLoss(model, prompts[::2], prompts[1::2], "answer")
    width = capabilities(model).d_mlp if site is None else model.cfg.d_model
    values = torch.randn(width, requires_grad=True)
    options = {} if site is None else {"site": site}
    assert loss.near({1: values}, **options) is loss  # its vocabulary is small
    monkeypatch.setattr(distance, "LARGE", 10)
    monkeypatch.setattr(distance, "N_LIKELY", 3)
    nearby = loss.near({1: values}, **options)
    assert len(nearby.distance.large_sum.words.weight) < len(loss.distance.unembedding.weight) / 4
    found = []
    for x in (loss, nearby):
        new, kept = x({1: values}, **options)
        found.append((new, kept, *torch.autograd.grad(new.mean() + kept, values)))
    for exact, near in zip(*found, strict=True):
        torch.testing.assert_close(near, exact, rtol=1e-4, atol=1e-5)


def test_neurons_are_pruned_on_some_prompts_and_their_values_found_on_all(tiny, facts, monkeypatch):
    case = lv.counterfactual_case(
        facts, subject="Peru", relation="capital", new_object="Rome", languages=["en", "fr"]
    )
    read = []
    call = EditLoss.__call__
    monkeypatch.setattr(EditLoss, "__call__", lambda x, *a, **b: read.append(x) or call(x, *a, **b))
    monkeypatch.setattr(search, "EVALUATIONS_BEFORE_PRUNING", 2)
    monkeypatch.setattr(search, "EVALUATIONS_AT_LAST", 2)
    with pytest.warns(lv.NotConvergedWarning):
        edit = edit_case(tiny("llama"), case, position="answer", n_neurons=5, progress=False)
    assert len(edit.neurons) == 5
    assert read[0].n_edited == 4
    assert read[-1].n_edited == len(edit.prompts) == len(case.prompts("edit"))
