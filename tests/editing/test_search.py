"""How an edit's neurons are pruned."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

import lafn_viz as lv
from lafn_viz.editing import search
from lafn_viz.editing.loss import EditLoss
from lafn_viz.editing.optimise import edit_case
from lafn_viz.editing.search import ENOUGH, PRUNING_FACTOR, n_evaluations, prunings


@given(st.integers(1, 300), st.integers(1, 10**6))
def test_each_pruning_keeps_a_quarter_down_to_the_wanted_number(n_neurons, n_allowed):
    counts = prunings(n_neurons, n_allowed)
    assert all(after < before for before, after in pairwise([n_allowed, *counts]))
    assert (counts or [n_neurons])[-1] == n_neurons
    assert all(before // PRUNING_FACTOR <= after for before, after in pairwise(counts))
    assert len(counts) <= 3
    assert not counts or counts[0] <= ENOUGH * n_neurons


def test_a_deep_model_is_pruned_as_often_as_a_small_one():
    assert prunings(100, 18 * 2048) == [1600, 400, 100]
    assert prunings(100, 4 * 640) == [640, 160, 100]
    assert n_evaluations(100, 18 * 2048) == n_evaluations(100, 4 * 640)


def test_neurons_are_pruned_on_some_prompts_and_their_values_found_on_all(tiny, facts, monkeypatch):
    case = lv.counterfactual_case(
        facts, subject="Peru", relation="capital", new_object="Rome", languages=["en", "fr"]
    )
    read = []
    call = EditLoss.__call__
    monkeypatch.setattr(EditLoss, "__call__", lambda x, *a, **b: read.append(x) or call(x, *a, **b))
    monkeypatch.setattr(search, "EVALUATIONS_BEFORE_PRUNING", 2)
    monkeypatch.setattr(search, "EVALUATIONS_AFTER_PRUNING", 2)
    with pytest.warns(lv.NotConvergedWarning):
        edit = edit_case(tiny("llama"), case, position="answer", n_neurons=5, progress=False)
    assert len(edit.neurons) == 5
    assert read[0].n_edited == 4
    assert read[-1].n_edited == len(edit.prompts) == len(case.prompts("edit"))
