"""What every public call does around its work with a model."""

import inspect
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import lafn_viz as lv
from lafn_viz.models.calls import call, current_call, holds_a_model, reads_model, require_model
from lafn_viz.models.hooks import hook_post, hooked
from lafn_viz.models.tokens import encode

NO_MODELS = {
    "embedded": "a name, 'embedded'; load it first: model = lv.load_model(name)",
    Path("folder"): "a name, 'folder'; load it first",
    None: "model is None; give what lv.load_model",
    7: "model is of type int; give what",
    lv.load_model: "model is of type function; give what",
}


@pytest.mark.parametrize("given", NO_MODELS, ids=["name", "folder", "None", "number", "function"])
def test_what_is_no_model_is_refused_in_one_sentence(given, prompts):
    for function in (lv.score_answers, lv.attribute, lv.next_tokens, lv.lape):
        with pytest.raises(TypeError) as error:
            function(given, prompts)
        assert NO_MODELS[given] in str(error.value)
        assert len(str(error.value)) < 300


def test_a_model_of_transformers_or_inside_something_else_is_told(embedded, prompts):
    with pytest.raises(TypeError, match=r"type GPT2LMHeadModel of transformers; give what lv"):
        lv.score_answers(embedded.original_model, prompts)
    with pytest.raises(TypeError, match=r"type SimpleNamespace; give the model in it, its .model"):
        lv.score_answers(SimpleNamespace(model=embedded), prompts)


def test_a_model_without_a_tokenizer_is_refused(embedded, monkeypatch):
    monkeypatch.setattr(embedded, "tokenizer", None)
    with pytest.raises(TypeError, match="model has no tokenizer"):
        require_model(embedded)


def test_every_public_function_of_a_model_checks_it():
    functions = [
        value
        for name in lv.__all__
        if inspect.isfunction(value := getattr(lv, name))
        and next(iter(inspect.signature(value).parameters), "") == "model"
    ]
    assert len(functions) > 12
    for function in functions:
        if function in (lv.edited, lv.plant, lv.sweep):  # an editor's block; the names of models
            continue
        with pytest.raises(TypeError, match="model is of type list; give what"):
            function(**{"model": [], **_rest(function)})


def _rest(function):
    return {
        name: None
        for name, parameter in list(inspect.signature(function).parameters.items())[1:]
        if parameter.default is parameter.empty and parameter.kind != parameter.VAR_KEYWORD
    }


def test_the_model_is_found_wherever_the_parameter_stands():
    @reads_model
    def second(a, model=None, *, b=1):
        return a, b

    with pytest.raises(TypeError, match="model is of type int"):
        second(1, 2)
    with pytest.raises(TypeError, match="model is of type int"):
        second(1, model=2)
    assert second(1) == (1, 1)


def in_a_thread(function):
    """Run a function in a thread of its own and return what it returns."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(timeout=60)


def test_a_call_waits_for_the_call_of_another_thread_and_not_for_its_own(embedded, prompts):
    with ThreadPoolExecutor(1) as pool, call(embedded):
        other = pool.submit(lv.score_answers, embedded, prompts)
        here = lv.score_answers(embedded, prompts)
        assert current_call(embedded) is not None
        assert in_a_thread(lambda: current_call(embedded)) is None
        with pytest.raises(TimeoutError):
            other.result(timeout=0.2)
    assert torch.equal(other.result(timeout=60).log_prob, here.log_prob)
    assert current_call(embedded) is None
    assert not holds_a_model()


def test_a_call_that_fails_lets_the_next_one_in(embedded, prompts):
    with pytest.raises(ZeroDivisionError), call(embedded):
        raise ZeroDivisionError
    assert len(in_a_thread(lambda: lv.score_answers(embedded, prompts)).prompts) == len(prompts)


def test_hooks_of_a_call_are_not_those_of_a_pass_in_another_thread(embedded, prompts):
    tokens = torch.tensor([encode(embedded, prompts[0]).read])
    plain = embedded(tokens)
    silence = [(hook_post(1), lambda value, hook: value * 0)]
    with hooked(embedded, silence):
        assert not torch.equal(embedded(tokens), plain)
        assert torch.equal(in_a_thread(lambda: embedded(tokens)), plain)
        embedded.reset_hooks()
        assert not torch.equal(embedded(tokens), plain)
    assert torch.equal(embedded(tokens), plain)


def test_passes_in_two_threads_do_not_mix_their_numbers_of_rows(tiny):
    model = tiny("gpt2")
    for_one = model.pos_embed
    for_one._current_batch_size = 7
    assert in_a_thread(lambda: for_one._current_batch_size) is None
    assert for_one._current_batch_size == 7
    model(torch.tensor([[1, 2]]))
    assert for_one._current_batch_size is None


def test_a_model_in_training_mode_is_read_without_dropout(folder, prompts):
    model = lv.load_model(folder("gpt2"))
    plain = lv.score_answers(model, prompts)
    dropout = model.original_model.transformer.drop
    model.train()
    dropout.eval()
    assert torch.equal(lv.score_answers(model, prompts).log_prob, plain.log_prob)
    assert model.training
    assert model.original_model.training
    assert not dropout.training


@pytest.mark.parametrize("family", ["gpt2", "gemma3", "bert"])
def test_weights_that_want_gradients_are_read_as_those_that_want_none(folder, prompts, family):
    model = lv.load_model(folder(family))
    calls = {
        "from zero": lambda: lv.attribute(model, prompts[:2], baseline="zero", n_steps=4).values,
        "auto": lambda: lv.attribute(model, prompts[:2], target="log_prob").values,
        "answers": lambda: lv.score_answers(model, prompts).log_prob,
        "card": lambda: torch.tensor(lv.neuron_card(model, prompts[:2], (1, 3)).activation),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = {name: call() for name, call in calls.items()}
        model.requires_grad_(True)
        for name, call in calls.items():
            found = call()
            assert torch.equal(found, plain[name]), name
            assert not found.requires_grad
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
