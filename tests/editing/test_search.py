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
    AdamSearch,
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


def test_adam_goes_the_way_of_romes_authors():
    """Their loop, written out for one row: compute_v in github.com/kmeng01/rome."""
    generator = torch.Generator().manual_seed(0)
    rows, wanted = torch.randn(40, 6, generator=generator), torch.randn(40, generator=generator)
    there = torch.randn(6, generator=generator)

    def nll(delta):
        return (rows @ delta - wanted).square().mean() * 3

    delta = torch.zeros(6, requires_grad=True)
    optimiser = torch.optim.Adam([delta], lr=0.5)
    bound, losses = 0.1 * there.norm(), []
    for step in range(12):
        optimiser.zero_grad()
        # The penalty is the change's length over the squared length of what is there.
        loss = nll(delta) + 0.5 * (torch.norm(delta) / torch.norm(there) ** 2)
        losses.append(float(loss.detach()))
        if loss < 5e-2 or step == 11:
            break
        loss.backward()
        optimiser.step()
        if delta.norm() > bound:
            with torch.no_grad():
                delta[...] = delta * bound / delta.norm()
    search = AdamSearch(there.norm(), clamp=0.1)
    found = search.minimise(
        torch.zeros(6), lambda values: nll(values) + 0.5 * search.penalty(values), 12
    )
    assert search.curve == pytest.approx(losses)
    assert len(losses) == 12
    assert torch.allclose(found, delta, atol=1e-5)
    assert float(found.norm()) == pytest.approx(float(bound), rel=1e-4)


def test_adam_ends_when_the_loss_is_small_and_bounds_each_row_by_itself():
    there = torch.tensor([1.0, 10.0])
    search = AdamSearch(there)
    target = torch.tensor([[20.0, 0.0], [20.0, 0.0]])
    found = search.minimise(torch.zeros(2, 2), lambda x: (x - target).square().sum(), 200)
    assert found.norm(dim=1).tolist() == pytest.approx([4.0, 20.0], rel=0.05)
    near = AdamSearch(there)
    near.minimise(torch.zeros(2, 2), lambda x: 0.01 + 0 * x.sum(), 200)
    assert len(near.curve) == 1
    with pytest.raises(ValueError, match="there is nothing; give other neurons"):
        AdamSearch(torch.tensor([1.0, 0.0]))


def test_an_edit_as_published_is_on_the_most_active_neurons(embedded, facts):
    case = lv.counterfactual_cases(facts, n=1, seed=1)[0].only(["en", "ru"])
    options = {"position": "answer", "n_neurons": 30, "locate": "intersection", "progress": False}
    with pytest.warns(lv.NotConvergedWarning):
        edit = edit_case(
            embedded, case, search="as_published", divergence=0.0625, decay=0.5, **options
        )
    asked = case.prompts("edit")
    active = lv.attribute(embedded, asked, method="activation", position="answer").values
    # The smallest k at which thirty neurons are among the k most active ones of every question.
    order = active.flatten(1).argsort(descending=True)
    for k in range(30, order.shape[1]):
        common = set.intersection(*(set(row[:k].tolist()) for row in order))
        if len(common) >= 30:
            break
    width = active.shape[2]
    assert {layer * width + neuron for layer, neuron in edit.neurons} == common
    mean = active.mean(0)[tuple(torch.tensor(edit.neurons).T)]
    assert float(edit.values.norm()) <= 4 * float(mean.norm()) * 1.001
    assert edit.curve[-1] < edit.curve[0]
    with pytest.raises(ValueError, match="prunes no neurons; give locate='intersection'"):
        edit_case(embedded, case, search="as_published")
