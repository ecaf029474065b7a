"""The one pass against independent references, and what holds for every model."""

from dataclasses import replace

import pytest
import torch
from captum.attr import IntegratedGradients
from families import FAMILIES, FURTHER
from one_layer import FAMILIES as NAMES, POSITIONS, assert_near, fixed, loop, target_of

import lafn_viz as lv
from lafn_viz.attribution import one_pass
from lafn_viz.attribution.one_pass import OnePass, Paths, Points
from lafn_viz.interventions.ablation import measure_ablation
from lafn_viz.models.batching import batches
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.tokens import encode


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("family", NAMES)
def test_one_pass_equals_the_loop(tiny, prompts, family, position):
    some = prompts[::4]
    model = tiny(family)
    # A tensor is taken as it is: a path from it is straight, also where a norm follows the neurons.
    start = torch.zeros(capabilities(model).shape)
    scores = fixed(model, some, position=position, n_steps=5, baseline=start)
    assert_near(scores.values, loop(model, some, position, 5))


@pytest.mark.parametrize("position", ["all", "answer"])
@pytest.mark.parametrize("family", ["gpt2", "gemma3", "bloom", "bert"])
def test_examples_are_read_and_not_acted_on(tiny, facts, family, position):
    capitals = facts.filter(relation="capital", subjects=["FR", "PE"], languages=["en", "ru"])
    asked = capitals.prompts(shots=1, examples=facts)[::5]
    model = tiny(family)
    start = torch.zeros(capabilities(model).shape)  # a straight path, also in Gemma
    scores = fixed(model, asked, position=position, n_steps=3, baseline=start)
    assert_near(scores.values, loop(model, asked, position, 3))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gemma3", "bloom", *FURTHER])
def test_what_stands_before_the_first_changed_position_runs_once(
    tmp_path, tokenizer, family, monkeypatch
):
    torch.manual_seed(0)
    (FAMILIES | FURTHER)[family]().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = lv.load_model(tmp_path)
    prompts = [
        lv.Prompt.of(f"in {name}:", "so", subject=name, language="en") for name in ("Peru", "Iran")
    ]
    caps = capabilities(model)
    masks = torch.rand(3, *caps.shape, generator=torch.manual_seed(0)) < 0.2
    options = {"position": "from_subject", "max_rows": 7}

    def found():
        scores = fixed(model, prompts, baseline=torch.zeros(caps.shape), n_steps=2, **options)
        return scores.values, *measure_ablation(model, prompts, masks, **options)

    assert all(batch.at.start > 0 for batch in batches(model, prompts, position="from_subject"))
    from_the_subject = found()
    # Where a window is shorter than the prompt, every row runs every position.
    monkeypatch.setattr(one_pass, "capabilities", lambda model: replace(caps, window=1))
    for one, two in zip(from_the_subject, found(), strict=True):
        assert_near(one, two)


@pytest.mark.parametrize("family", ["gpt2", "bloom", "gemma3", "bert"])
def test_unmodified_rows_give_the_gradient_at_the_ends_of_all_paths(tiny, prompts, family):
    model = tiny(family)
    (batch,) = batches(model, prompts[:1], position="from_subject")
    run = OnePass(model, batch, "probability", max_rows=4)
    points = Points(torch.zeros(5, dtype=torch.long), torch.linspace(0, 0.8, 5))
    layers = dict.fromkeys(range(model.cfg.n_layers), points)
    expected = run.gradients()
    parts = list(run.slopes(Paths(run.everyone()), layers, ends=True))
    assert len(parts) > len(layers)
    for part in parts:
        end = (expected[part.layer] * run.activations[part.layer]).sum(1)
        assert_near(part.end, end)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_captum_agrees(tiny, prompts, family, position):
    model = tiny(family)
    scores = fixed(model, prompts[:3], position=position, n_steps=16)
    for number, prompt in enumerate(prompts[:3]):
        for layer in range(model.cfg.n_layers):
            value, w = target_of(model, prompt, layer, position)
            other = (
                IntegratedGradients(value)
                .attribute(w, baselines=0.0, n_steps=16, method="gausslegendre")[0]
                .sum(0)
            )
            torch.testing.assert_close(
                scores.values[number, layer], other.float(), rtol=1e-3, atol=1e-7
            )


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "bloom", "bert"])
@pytest.mark.parametrize("method", ["integrated_gradients", "amig"])
def test_max_rows_bounds_the_rows_and_changes_nothing(tiny, prompts, family, method):
    model, seen = tiny(family), []

    def count(value, hook):
        seen.append(len(value))

    whole = fixed(model, prompts[:4], method=method, n_steps=3)
    with model.hooks(fwd_hooks=[("blocks.2.mlp.hook_post", count)]):
        small = fixed(model, prompts[:4], method=method, n_steps=3, max_rows=6)
    torch.testing.assert_close(whole.values, small.values, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(whole.target_change, small.target_change, rtol=1e-4, atol=1e-8)
    assert max(seen) <= 6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_half_precision_on_cuda_is_near_float32(folder, tiny, prompts, dtype):
    for family in ("gpt2", "llama", "bloom", "bert"):
        half = lv.load_model(folder(family), device="cuda", dtype=dtype)
        scores = fixed(half, prompts, n_steps=8)
        exact = fixed(tiny(family), prompts, n_steps=8)
        assert ((scores.values - exact.values).norm() / exact.values.norm()).item() < 0.1


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert"])
def test_half_precision_is_near_float32(folder, tiny, prompts, family):
    half = lv.load_model(folder(family), dtype=torch.bfloat16)
    scores = fixed(half, prompts[:4], n_steps=8)
    exact = fixed(tiny(family), prompts[:4], n_steps=8)
    assert ((scores.values - exact.values).norm() / exact.values.norm()).item() < 0.1


def test_model_is_as_before_and_hooks_are_gone_even_after_an_error(tiny, prompts):
    model = tiny("gpt2")
    before = {k: v.clone() for k, v in model.original_model.state_dict().items()}
    logits = model(torch.tensor([[5, 6, 7]]))

    def fail(value, hook):
        raise RuntimeError("interrupted")

    with (
        pytest.raises(RuntimeError, match="interrupted"),
        model.hooks(fwd_hooks=[("blocks.1.mlp.hook_post", fail)]),
    ):
        lv.attribute(model, prompts)
    assert all(torch.equal(v, before[k]) for k, v in model.original_model.state_dict().items())
    assert torch.equal(model(torch.tensor([[5, 6, 7]])), logits)


def test_capabilities_tell_families_apart(tiny):
    for family in NAMES:
        caps = capabilities(tiny(family))
        assert caps.masked == (family in ("bert", "roberta", "xlm-roberta"))
        assert caps.supports_growing_batch == (family not in ("bloom", "xglm", "opt"))
        assert caps.unembedding is not None
    assert capabilities(tiny("gemma2")).unembedding.cap == 30.0
    assert encode(tiny("bert"), lv.Prompt.of("a b", "c", subject="b")).read[0] == 0
