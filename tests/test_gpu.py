"""`benchmarks/gpu.py`, and attribution on a GPU beside float32 on the CPU."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import lafn_viz as lv

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import gpu

# With few steps a warning is due; these tests count work and compare scores all the same.
pytestmark = pytest.mark.filterwarnings("ignore::lafn_viz.CompletenessWarning")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def counted(model, prompts, **options):
    with FlopCounterMode(display=False) as counter:
        scores = lv.attribute(model, prompts, **options)
    return scores, counter.get_total_flops()


@pytest.mark.parametrize("position", ["all", "answer"])
@pytest.mark.parametrize("steps", [3, 12])
def test_flop_formula_counts_what_torch_counts(embedded, position, steps):
    # One prompt in one pass, as the formula has it.
    (prompt,) = gpu.some_prompts(embedded, 1)
    scores, count = counted(embedded, [prompt], position=position, n_steps=steps)
    assert gpu.flop_of(embedded, scores, position) == pytest.approx(count, rel=0.01)


@pytest.mark.parametrize("family", ["llama", "gpt_neox", "qwen2"])
def test_flop_formula_holds_for_other_families(tiny, prompts, family):
    scores, count = counted(tiny(family), prompts[:1], n_steps=8)
    assert gpu.flop_of(tiny(family), scores, "all") == pytest.approx(count, rel=0.02)


@pytest.mark.slow
def test_flop_formula_counts_what_auto_took(embedded):
    prompts = gpu.some_prompts(embedded, 4)
    scores, count = counted(embedded, prompts, n_steps="auto")
    # Every round of refining repeats the unmodified rows.
    assert gpu.flop_of(embedded, scores, "all") * 4 == pytest.approx(count, rel=0.05)


def test_made_up_model_has_the_shape_that_the_estimate_takes(tmp_path, monkeypatch):
    monkeypatch.setitem(gpu.MADE_UP, "30M", gpu.Size(128, 2, 192, 4, 1, d_head=16))
    model = lv.load_model(gpu.make_up("30M", tmp_path, "cpu"))
    assert gpu.shape_of(model) == gpu.shape_of_size("30M", gpu.shape_of(model).d_vocab)


@pytest.mark.parametrize("size", gpu.MADE_UP)
def test_sizes_are_what_they_are_called(size):
    called = float(size[:-1]) * {"M": 1e6, "B": 1e9}[size[-1]]
    assert 0.9 < gpu.MADE_UP[size].weights / called < 1.5


@pytest.mark.parametrize(("size", "published"), [("7B", 6.74e9), ("27B", 27.0e9), ("70B", 70.6e9)])
def test_sizes_have_the_weights_of_published_models(size, published):
    """As their authors count them: Llama, Gemma 3 (without its vision encoder), Llama 3."""
    assert gpu.MADE_UP[size].weights == pytest.approx(published, rel=0.002)


def test_agreement_looks_at_the_best_of_the_reference():
    reference = torch.arange(12.0).view(1, 2, 6)
    ranks, shared = gpu.agreement(reference, reference**3, top=4)
    assert (ranks, shared) == ([1.0], [1.0])
    # The four best in the opposite order, and two others above them.
    other = torch.tensor([100.0, 99, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1]).view(1, 2, 6)
    ranks, shared = gpu.agreement(reference, other, top=4)
    assert ranks == pytest.approx([-1.0])
    assert shared == [0.5]
    # Ties share a rank: by hand, ranks 1 2.5 2.5 4 against 1 2 3 4.
    other[0, 1] = torch.tensor([0.0, 0, 1, 2, 2, 3])
    assert gpu.agreement(reference, other, top=4)[0] == pytest.approx([4.5 / np.sqrt(22.5)])


def test_prompts_are_of_different_facts_and_a_control_shares_the_language(embedded):
    prompts = gpu.some_prompts(embedded, 12)
    assert len({prompt.fact_id for prompt in prompts}) == 12
    step = len(gpu.LANGUAGES)
    assert [p.language for p in prompts[step:]] == [p.language for p in prompts[:-step]]


def test_estimate_is_work_over_rate_and_names_what_it_assumes(capsys):
    args = argparse.Namespace(
        rate=100.0, facts=1000, languages=2, paraphrases=3, points=8, gpus=[1, 10]
    )
    gpu.estimate(args, "7B", rate=1.0, share=0.5, tokens=10, measured="1.1B")
    said = capsys.readouterr().out
    shape = gpu.shape_of_size("7B")
    hours = 6000 * gpu.flop(shape, [9] * 32, 10, 10) / (100e12 * 0.5) / 3600
    assert f"   1 GPUs: {hours:12,.1f} hours" in said
    assert f"  10 GPUs: {hours / 10:12,.1f} hours" in said
    assert "of 100 TFLOP/s (as given), of which 50.0% is reached, as with 1.1B on this" in said
    # The leading term: four FLOP for every weight, position and row.
    leading = 4 * shape.weights * 10 * 9 * 32 * 33 / 2
    assert gpu.flop(shape, [9] * 32, 10, 10) == pytest.approx(leading, rel=0.1)


@pytest.mark.slow
def test_without_a_gpu_the_benchmark_says_so_and_runs(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu, "matmul_rate", lambda *_: 1e11)
    monkeypatch.setitem(gpu.MADE_UP, "30M", gpu.Size(128, 2, 192, 2, 1))
    monkeypatch.setattr(
        sys, "argv",
        ["gpu.py", "--prompts", "5", "--loop", "1", "--repeat", "1", "--sizes", "30M",
         "--cost-prompts", "1", "--dtypes", "float32", "--parts", "speed", "agreement", "cost"],
    )  # fmt: skip
    threads = torch.get_num_threads()
    gpu.main()
    said = capsys.readouterr().out
    assert torch.get_num_threads() == threads
    assert "There is no CUDA device" in said
    assert "float32 on cpu          " in said
    assert said.count("the loop: answer") == 1
    assert "Estimate, not measured" in said


@pytest.mark.slow
def test_half_precision_finds_the_neurons_of_float32(embedded):
    prompts = gpu.some_prompts(embedded, 8)
    exact = lv.attribute(embedded, prompts, n_steps=20).values
    half = lv.load_model("embedded", dtype=torch.bfloat16)
    held(exact, lv.attribute(half, prompts, n_steps=20).values)


def held(exact, found):
    """Ranks and members of the 100 best agree, as those of another fact do not."""
    ranks, shared = gpu.agreement(exact, found)
    assert min(ranks) > 0.98
    assert min(shared) > 0.95
    control = gpu.agreement(exact, found.roll(-len(gpu.LANGUAGES), 0))
    assert max(control[0]) < 0.5
    assert max(control[1]) < 0.6


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_finds_the_neurons_of_float32_on_the_cpu(embedded, dtype):
    prompts = gpu.some_prompts(embedded, 16)
    exact = lv.attribute(embedded, prompts, n_steps=20).values
    model = lv.load_model("embedded", device="cuda", dtype=dtype)
    lv.attribute(model, prompts, n_steps=20)
    began = time.perf_counter()
    found = lv.attribute(model, prompts, n_steps=20).values
    rate = len(prompts) / (time.perf_counter() - began)
    sys.stdout.write(f"{dtype}: {rate:.0f} prompts/s\n")
    held(exact, found)
