"""The stack of edits as a value: every step, undo, sliders, and a cache for each model."""

import contextlib
import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st

import lafn_viz as lv
from lafn_viz.editing.edit import Edit, EditError
from lafn_viz.neurons.neuron_sets import Neuron
from lafn_viz.widgets.edit_stack import EditStack, StagedEdit

NEURONS = (Neuron(0, 3), Neuron(0, 7), Neuron(2, 1))
SUBJECTS = ("JP", "PE", "FR")
FACTS = lv.load_facts().filter(relation="capital", languages=["en"])
VALUES = torch.tensor([1.0, -2.0, 0.5])


def staged(subject: str, *, new: str = "Rome", weights: str = "a" * 64) -> StagedEdit:
    """An edit of a capital with made-up values."""
    edit = Edit(
        subject_id=subject,
        relation="capital",
        names={"en": (subject,)},
        old={"en": "Paris"},
        new={"en": new},
        neurons=NEURONS,
        values=VALUES,
        position="answer",
        curve=(2.0, 1.0),
        loss=1.0,
        divergence=0.0,
        prompts=(),
        provenance=lv.Provenance("made-up", weights, "made-up"),
    )
    return StagedEdit.loaded(edit, FACTS)


EDITS = [staged(subject, new=new) for subject in SUBJECTS for new in ("Rome", "Berlin")]

pushes = st.sampled_from(EDITS).map(lambda edit: lambda stack: stack.push(edit))
removals = st.sampled_from(SUBJECTS).map(
    lambda subject: lambda stack: stack.remove((subject, "capital"))
)
scalings = st.tuples(st.sampled_from(SUBJECTS), st.floats(0, 2)).map(
    lambda drawn: lambda stack: stack.scale((drawn[0], "capital"), drawn[1])
)
factors = st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(NEURONS), st.floats(-2, 3)).map(
    lambda drawn: lambda stack: stack.set_factor((drawn[0], "capital"), *drawn[1:])
)
loads = st.just(lambda stack: stack.replace_all([EDITS[0], EDITS[2]]))
undos = st.just(lambda stack: stack.undo())
steps = st.lists(st.one_of(pushes, removals, scalings, factors, loads, undos), max_size=12)


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(steps)
def test_undo_returns_to_the_value_before_each_step(drawn):
    stack, values_before = EditStack(), []
    for step in drawn:
        try:
            new = step(stack)
        except KeyError:  # the edit is not on the stack: nothing changed
            continue
        # Only a step that makes a new state can be undone; a drag that goes on is the same step.
        if len(new.history) > len(stack.history):
            assert new.undo() == stack
            values_before.append(stack.edits)
        elif len(new.history) < len(stack.history):
            assert new.edits == values_before.pop()
        keys = [edit.key for edit in new]
        assert len(set(keys)) == len(keys)
        stack = new
    while values_before:
        stack = stack.undo()
        assert stack.edits == values_before.pop()
    assert not stack.can_undo
    assert stack == stack.undo() == EditStack()


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(steps, st.integers(1, 4))
def test_redo_takes_back_each_undo_until_another_step(drawn, n_undone):
    stack = EditStack()
    for step in drawn:
        with contextlib.suppress(KeyError):
            stack = step(stack)
    stack = replace(stack, undone=())
    states = [stack]
    while states[-1].can_undo and len(states) <= n_undone:
        states.append(states[-1].undo())
    undone = states[-1]
    for before in reversed(states):
        assert (undone, undone.undone) == (before, before.undone)
        undone = undone.redo()
    assert undone == stack == stack.redo()
    # Another step forgets what was undone.
    other = states[-1].push(EDITS[0])
    assert not other.can_redo
    assert other.redo() is other


def test_dragging_one_slider_is_one_step():
    stack = EditStack().push(staged("JP")).push(staged("PE"))
    key = ("JP", "capital")
    dragged = stack
    for scale in (0.9, 0.5, 0.3):
        dragged = dragged.scale(key, scale)
    assert dragged.find(key).scale == 0.3
    assert dragged.undo() == stack
    # Another slider of the edit, or the same slider of another edit, begins a step of its own.
    for factor in (0.5, -1.0):
        dragged = dragged.set_factor(key, NEURONS[1], factor)
    dragged = dragged.set_factor(key, NEURONS[2], 3.0)
    dragged = dragged.scale(("PE", "capital"), 0.1)
    assert len(dragged.history) == len(stack.history) + 4
    # After undo the same slider begins a new step.
    again = dragged.undo().undo().set_factor(key, NEURONS[1], 2.0)
    assert again.undo().find(key).factors == {NEURONS[1]: -1.0}


def test_scale_and_factors_multiply_the_values():
    key = ("JP", "capital")
    stack = EditStack().push(staged("JP")).scale(key, 2.0).set_factor(key, NEURONS[1], -0.5)
    torch.testing.assert_close(stack.find(key).applied().values, torch.tensor([2.0, 2.0, 1.0]))
    assert torch.equal(stack.find(key).edit.values, VALUES)  # the edit stays as it was made
    (applied,) = stack.cache
    assert torch.equal(applied.values, stack.find(key).applied().values)
    assert torch.equal(EditStack().push(staged("JP")).find(key).applied().values, VALUES)


def test_a_second_edit_of_the_same_fact_replaces_the_first():
    first, other, second = staged("JP"), staged("PE"), staged("JP", new="Berlin")
    stack = EditStack().push(first).push(other).scale(first.key, 0.5).push(second)
    assert stack.edits == (other, second)
    assert stack.find(first.key) is second
    assert stack.new_since(EditStack().push(other)) == (second,)
    assert [edit.new["en"] for edit in stack.cache] == ["Rome", "Berlin"]
    assert stack.undo().find(first.key).scale == 0.5


def test_a_saved_edit_comes_back_with_its_prompts():
    edit = staged("JP").edit
    loaded = StagedEdit.loaded(edit, FACTS)
    assert loaded.applied().values.tolist() == VALUES.tolist()
    assert loaded.case.key == edit.key
    assert [prompt.answer for prompt in loaded.case.prompts("edit")][:1] == ["Rome"]


def test_an_edit_is_removed_without_the_others():
    edits = [staged(subject) for subject in SUBJECTS]
    stack = EditStack().replace_all(edits)
    for removed in edits:
        kept = stack.remove(removed.key)
        assert list(kept) == [edit for edit in edits if edit is not removed]
        assert kept.undo() == stack
    assert (len(stack), stack[0], bool(EditStack())) == (3, edits[0], False)
    for step in (stack.remove, stack.find, lambda key: stack.scale(key, 0.5)):
        with pytest.raises(KeyError, match="no edit of 'DE', 'capital' is on the stack"):
            step(("DE", "capital"))


def test_edits_of_another_model_wait_and_come_back():
    """Each model has a stack; a step on one changes neither the other's edits nor its history."""
    stacks = {weights: EditStack() for weights in ("a" * 64, "b" * 64)}
    for subject, (weights, _) in zip(SUBJECTS, itertools.cycle(stacks.items()), strict=False):
        stacks[weights] = stacks[weights].push(staged(subject, weights=weights))
    first, second = stacks.values()
    assert [edit.key[0] for edit in first] == ["JP", "FR"]
    assert [edit.key[0] for edit in second] == ["PE"]
    assert {edit.provenance.weights for edit in first.cache} == {"a" * 64}
    assert not second.undo()
    # Edits of two models in one stack cannot be applied.
    with pytest.raises(EditError, match="keep a cache for each model"):
        _ = first.push(second[0]).cache


def test_before_is_the_last_edit_of_the_same_object_with_other_values():
    key = ("JP", "capital")
    first, second, elsewhere = staged("JP"), staged("JP"), staged("JP", new="Berlin")
    stack = EditStack().push(first).push(elsewhere).push(staged("PE")).push(second)
    assert stack.before(key) is first
    moved = stack.scale(key, 0.5)
    assert moved.before(key) is second
    assert moved.scale(key, 0.25).before(key) is second  # one drag is one step
    for lonely in (EditStack().push(first), EditStack().push(elsewhere).push(first)):
        with pytest.raises(ValueError, match="not edited in another way before"):
            lonely.before(key)
    with pytest.raises(KeyError):
        stack.before(("FR", "capital"))
