"""Results are those of the plain call, whatever the caller has switched on in torch."""

import contextlib
import threading
import warnings
from dataclasses import replace

import pandas as pd
import pytest
import torch

import lafn_viz as lv
from lafn_viz.editing.baselines.weight_edits import WeightEdit
from lafn_viz.models.generation import generate
from lafn_viz.models.hooks import down_weight
from lafn_viz.models.torch_modes import plain_modes


@contextlib.contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        assert torch.get_default_dtype() == dtype
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        assert torch.get_default_device().type == device
        torch.set_default_device(None)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def warnings_as_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("default", lv.CompletenessWarning)
        warnings.simplefilter("default", lv.NotConvergedWarning)  # five neurons are too few
        yield


@contextlib.contextmanager
def one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


MODES = {
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "grad_disabled": lambda: torch.set_grad_enabled(False),
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "meta_device": lambda: default_device("meta"),
    "meta_block": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": deterministic,
    "anomaly": torch.autograd.detect_anomaly,
    "warnings": warnings_as_errors,
    "one_thread": one_thread,
}


def results(model, prompts):
    """What every kind of call gives: scoring, attribution, writing, editing, weights."""
    edit = lv.edit_case(model, EDIT_CASE, n_neurons=5, locate="activation")
    with lv.edited(model, edit):
        edited = lv.score_answers(model, prompts).log_prob
    weight = down_weight(model, 1)
    with WeightEdit({1: 0.1 * weight.detach()}).applied(model):
        changed = lv.score_answers(model, prompts).log_prob
    return {
        "score_answers": lv.score_answers(model, prompts).log_prob,
        "attribute": lv.attribute(model, prompts, n_steps=3).values,
        "amig": lv.attribute(model, prompts[:1], method="amig", n_steps=2).values,
        "next_tokens": [p for _, p in lv.next_tokens(model, prompts)[0]],
        "generate": generate(model, prompts)[0].tokens,
        "intervene": lv.intervene(model, prompts, [(0, 1)], controls=1).change,
        "edit": edit.values,
        "edited": edited,
        "changed": changed,
    }


QUESTION = lv.Prompt.of("The capital of France is", "Rome", subject="France")
EDIT_CASE = lv.EditCase(
    id="FR", source="made up", subject={"en": "France"}, edit={"en": (QUESTION,)},
    old={"en": "Paris"}, subject_id="FR", relation="capital",
)  # fmt: skip


@pytest.fixture(scope="module")
def plain(tiny, facts):
    prompts = facts.filter(relation="capital", languages=["en", "zh"], subjects=["FR"]).prompts()
    prompts = prompts[:2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lv.CompletenessWarning)
        return prompts, results(tiny("gpt2"), prompts)


@pytest.mark.filterwarnings("ignore::lafn_viz.CompletenessWarning", "ignore:Anomaly Detection")
@pytest.mark.parametrize("mode", MODES)
def test_results_are_those_of_the_plain_call(tiny, plain, mode):
    prompts, expected = plain
    with MODES[mode]():
        found = results(tiny("gpt2"), prompts)
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert not found[name].is_inference(), name
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["inference", "float64", "bfloat16", "meta_block", "autocast"])
def test_so_are_those_of_calls_without_a_model(tiny, facts, mode):
    of_one_relation = facts.filter(relation="capital", languages=["en", "zh"])
    prompts = of_one_relation.filter(subjects=["FR", "JP", "PE"]).prompts()
    scores = lv.attribute(tiny("gpt2"), prompts, method="activation")
    scores = replace(scores, known=torch.ones(len(prompts), dtype=torch.bool))

    def compared():
        overlap = lv.overlap(lv.select_neurons(scores, top=20, share=0.1))
        significance = lv.significance(overlap, n_permutations=100)
        return overlap.to_frame(), significance.to_frame(), lv.stability(scores, top=20).to_frame()

    expected = compared()
    with MODES[mode]():
        found = compared()
    for ours, theirs in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(ours, theirs)


def test_results_of_inference_mode_take_part_in_gradients(tiny, prompts):
    with torch.inference_mode():
        scores = lv.attribute(tiny("gpt2"), prompts[:1], method="gradient")
    factor = torch.ones((), requires_grad=True)
    (scores.values * factor).square().sum().backward()
    assert factor.grad is not None


def test_the_default_dtype_comes_back_after_the_last_of_two_threads():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with plain_modes():
            inside.set()
            leave.wait(30)

    with default_dtype(torch.float64):
        thread = threading.Thread(target=other)
        thread.start()
        inside.wait(30)
        with plain_modes():
            assert torch.get_default_dtype() == torch.float32
        assert torch.get_default_dtype() == torch.float32
        leave.set()
        thread.join()
