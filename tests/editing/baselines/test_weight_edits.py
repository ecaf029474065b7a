"""Edits of weights: the closed forms solve their problems, and the model is left as it was."""

import contextlib

import pytest
import torch
from made_up_edits import ids, logits
from transformers import AutoModelForCausalLM, AutoTokenizer

import lafn_viz as lv
from lafn_viz.editing.baselines.weight_edits import (
    WeightEdit,
    least_squares,
    rank_one,
    second_moments,
)
from lafn_viz.editing.forward import EditedForward
from lafn_viz.models.capabilities import capabilities, weights_of
from lafn_viz.models.hooks import down_weight, hook_post, hook_written


@pytest.fixture
def made_up():
    generator = torch.Generator().manual_seed(0)
    corpus = torch.randn(400, 12, generator=generator) @ torch.randn(12, 12, generator=generator)
    keys, residuals = (torch.randn(3, n, generator=generator) for n in (12, 5))
    return corpus, corpus.T @ corpus / 400, keys, residuals


def test_rank_one_adds_the_residual_at_its_key_and_least_elsewhere(made_up):
    corpus, moment, keys, residuals = made_up
    change = rank_one(moment, keys[:1], residuals[:1], ridge=0.0)
    assert torch.allclose(keys[0] @ change, residuals[0], atol=1e-4)
    # Of all changes that do, none moves the corpus less: any other differs by what is zero there.
    for seed in range(5):
        other = torch.randn(12, 5, generator=torch.Generator().manual_seed(seed))
        other -= torch.outer(keys[0], keys[0] @ other) / keys[0].square().sum()
        moved = (corpus @ (change + 0.01 * other)).square().sum()
        assert moved > (corpus @ change).square().sum()


def test_the_last_key_of_several_is_exact(made_up):
    _, moment, keys, residuals = made_up
    change = rank_one(moment, keys, residuals)
    assert torch.allclose(keys[-1] @ change, residuals[-1], atol=1e-3)


def test_least_squares_solves_its_problem(made_up):
    corpus, moment, keys, residuals = made_up
    weight = 0.3
    change = least_squares(moment, keys, residuals, weight=weight, ridge=0.0)
    # The same problem as rows: the corpus wants nothing, the keys want their residuals.
    rows = torch.cat([corpus * (weight / len(corpus)) ** 0.5, keys]).double()
    wanted = torch.cat([torch.zeros(len(corpus), 5), residuals]).double()
    expected = torch.linalg.lstsq(rows, wanted).solution.float()
    assert torch.allclose(change, expected, atol=1e-3)
    near = least_squares(moment, keys, residuals, weight=1e-6)
    assert torch.allclose(keys @ near, residuals, atol=1e-2)


@pytest.mark.parametrize("family", ["gpt2", "llama", "bloom"])
def test_moments_are_those_of_a_plain_hook(tiny, prompts, family):
    model = tiny(family)
    total, count = 0.0, 0
    seen = []
    for prompt in prompts:
        tokens = torch.tensor([model.tokenizer(prompt.text, add_special_tokens=False)["input_ids"]])
        tokens = torch.cat(
            [torch.tensor([capabilities(model).special_prefix], dtype=torch.long), tokens], 1
        )
        with (
            torch.no_grad(),
            model.hooks(fwd_hooks=[(hook_post(1), lambda v, hook: seen.append(v))]),
        ):
            model(tokens)
        keys = seen.pop().reshape(-1, capabilities(model).d_mlp)
        total, count = total + keys.T @ keys, count + len(keys)
    moment = second_moments(model, prompts)[1]
    assert torch.allclose(moment, total / count, rtol=1e-3, atol=1e-4 * float(moment.abs().max()))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_change_of_weights_is_that_of_the_forward_pass_and_is_undone(tiny, prompts, family):
    model = tiny(family)
    generator = torch.Generator().manual_seed(1)
    change = 0.1 * torch.randn(down_weight(model, 1).shape, generator=generator)
    before = {name: weight.clone() for name, weight in model.original_model.state_dict().items()}
    forward = EditedForward(model, prompts, "answer", whole=True)
    with torch.no_grad():
        expected = forward.logits({}, changed={1: change})
        plain = forward.logits({})
        with contextlib.suppress(KeyboardInterrupt), WeightEdit({1: change}).applied(model):
            changed = forward.logits({})
            raise KeyboardInterrupt
    assert torch.allclose(changed, expected, atol=1e-3)
    assert (changed - plain).abs().max() > 0.01
    for name, weight in model.original_model.state_dict().items():
        assert torch.equal(weight, before[name])


def test_the_hook_on_outputs_sees_the_down_projection(tiny, prompts):
    model = tiny("llama")
    forward = EditedForward(model, prompts, "subject_last")
    seen = forward.seen([hook_post(2), hook_written(2)])
    expected = seen[hook_post(2)] @ down_weight(model, 2)
    assert torch.allclose(seen[hook_written(2)], expected, atol=1e-4)


def test_a_weight_edit_says_how_large_it_is():
    assert repr(WeightEdit({3: torch.ones(2, 2)})).endswith("3: 2.00)")
    assert lv.baselines.WeightEdit is WeightEdit


def test_left_in_any_order_the_weights_are_those_of_what_is_still_applied(tiny):
    model = tiny("gpt2")
    plain = down_weight(model, 1).clone()
    one, other = (WeightEdit({1: torch.full_like(plain, size)}) for size in (0.3, -0.1))
    first, second = one.applied(model), other.applied(model)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.equal(down_weight(model, 1), plain - 0.1)
    second.__exit__(None, None, None)
    assert torch.equal(down_weight(model, 1), plain)
    with one.applied(model), one.applied(model):
        torch.testing.assert_close(down_weight(model, 1), plain + 0.6)
    assert torch.equal(down_weight(model, 1), plain)


def test_a_change_that_is_not_all_numbers_is_refused():
    with pytest.raises(ValueError, match="the change of layer 3 is not all numbers"):
        WeightEdit({3: torch.tensor([[0.0, torch.nan]])})


@pytest.mark.parametrize("editor", [lv.baselines.rome(layer=1), lv.baselines.memit(layers=(0, 1))])
def test_a_layer_whose_neurons_are_silent_has_no_key(embedded, facts, editor):
    # In this model, no neuron of layer 1 is active at the last token of "Japan".
    case = lv.counterfactual_case(facts, subject="JP", relation="capital", new_object="Paris")
    says = "layer=1, position='subject_last': no neuron of the layer is active there in .*'en'"
    with pytest.raises(ValueError, match=says):
        editor.edit(embedded, case, ["en", "fr"])


@pytest.mark.parametrize("family", ["gpt2", "gemma3", "gpt_neox"])
def test_an_edited_model_is_saved_as_one_of_transformers(tiny, folder, tmp_path, family):
    model, place = tiny(family), tmp_path / "edited"
    tokens, weights = ids(model, "The capital of Japan is"), weights_of(model)
    change = torch.randn(down_weight(model, 1).shape, generator=torch.Generator().manual_seed(0))
    edit = WeightEdit({1: change})
    before = logits(model, tokens)
    with edit.applied(model):
        expected = logits(model, tokens)
    edit.save_model(model, place)
    assert weights_of(model) == weights
    saved, plain = (AutoModelForCausalLM.from_pretrained(at) for at in (place, folder(family)))
    with torch.no_grad():
        torch.testing.assert_close(saved(tokens).logits, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(expected, before, atol=1e-2)
    # Everything else in the folder is as in the model that the bridge was made from.
    of_saved, of_plain = saved.state_dict(), plain.state_dict()
    assert of_saved.keys() == of_plain.keys()
    (changed,) = {name for name, x in of_plain.items() if not torch.equal(x, of_saved[name])}
    assert ".1.mlp." in changed
    assert type(saved) is type(plain)
    assert AutoTokenizer.from_pretrained(place)("Japan") == model.tokenizer("Japan")
    with pytest.raises(FileExistsError, match="is there and not empty; give another folder"):
        edit.save_model(model, place)
