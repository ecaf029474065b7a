"""What every public call does around its work with a model."""

import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest

import lafn_viz as lv
from lafn_viz.models.calls import reads_model, require_model

NO_MODELS = {
    "embedded": "a name, 'embedded'; load it first: model = lv.load_model(name)",
    Path("folder"): "a name, 'folder'; load it first",
    None: "model is None; give what lv.load_model",
    7: "model is of type int; give what",
    lv.load_model: "model is of type function; give what",
}


@pytest.mark.parametrize("given", NO_MODELS, ids=str)
def test_what_is_no_model_is_refused_in_one_sentence(given, prompts):
    for call in (lv.score_answers, lv.attribute, lv.next_tokens, lv.lape):
        with pytest.raises(TypeError) as error:
            call(given, prompts)
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
