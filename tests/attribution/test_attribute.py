"""The one pass against independent references, and the properties that hold for every model."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from scipy.stats import spearmanr

import lafn_viz as lv
from lafn_viz.attribution.mean_activations import mean_activations
from lafn_viz.attribution.quadrature import nodes_and_weights
from lafn_viz.attribution.scores import CompletenessWarning
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import hook_attended, hook_post
from lafn_viz.models.tokens import encode

CAUSAL = [
    "gpt2", "bloom", "xglm", "llama", "qwen2", "qwen3", "gemma2", "gemma3", "gpt_neox", "opt",
]  # fmt: skip
FAMILIES = [*CAUSAL, "bert", "roberta", "xlm-roberta"]
POSITIONS = ["all", "answer", "subject_last"]


def reads(model, prompt, position):
    """Tokens that the model reads, positions acted on, positions that predict the answer."""
    tokenizer = model.tokenizer
    text = tokenizer(prompt.text, add_special_tokens=False)["input_ids"]
    both = tokenizer(prompt.text + prompt.continuation, add_special_tokens=False)["input_ids"]
    answer = both[len(text) :]
    if tokenizer.mask_token_id is not None:
        tokens = [tokenizer.cls_token_id, *text, *[tokenizer.mask_token_id] * len(answer)]
        tokens.append(tokenizer.sep_token_id)
        first, everything, shift = 1 + len(text), range(len(tokens)), 1
    else:
        tokens = [*text, *answer[:-1]]
        first, everything, shift = len(text) - 1, range(len(text)), 0
    end = prompt.subject_span[1]
    upto = len(tokenizer(prompt.text[:end], add_special_tokens=False)["input_ids"])
    at = {"all": list(everything), "answer": [first], "subject_last": [shift + upto - 1]}[position]
    return tokens, answer, at, list(range(first, first + len(answer)))


def target_of(model, prompt, layer, position, target="probability"):
    """F of one layer, by one plain forward: (function of activations, activations)."""
    tokens, answer, at, predicts = reads(model, prompt, position)
    tokens = torch.tensor([tokens])
    name = f"blocks.{layer}.mlp.hook_post"
    _, cache = model.run_with_cache(tokens, names_filter=name)

    def value(activations):
        def put(value, hook):
            value = value.clone()
            value[:, at] = activations.to(value)
            return value

        rows = tokens.repeat(len(activations), 1)
        with model.hooks(fwd_hooks=[(name, put)]):
            logits = model(rows)
        log_probs = logits[:, predicts].log_softmax(-1)
        log_prob = log_probs[:, torch.arange(len(answer)), answer].sum(-1)
        return log_prob.exp() if target == "probability" else log_prob

    return value, cache[name][:, at].detach()


def along(value, start, end, nodes, weights, factor=None):
    """Weighted gradients on the way from start to end, times factor; a row for each point."""
    nodes, weights = (torch.as_tensor(x).float()[:, None, None] for x in (nodes, weights))
    points = (start + nodes * (end - start)).float().requires_grad_()
    gradients = torch.autograd.grad(value(points).sum(), points)[0]
    total = (weights * gradients).sum(0, keepdim=True)
    return (total * (end - start if factor is None else factor))[0].sum(0)


def loop(model, prompts, position, n_steps):
    """Integrated gradients prompt by prompt, layer by layer."""
    rule = nodes_and_weights("gauss_legendre", n_steps)
    scores = []
    for prompt in prompts:
        for layer in range(model.cfg.n_layers):
            value, w = target_of(model, prompt, layer, position)
            scores.append(along(value, 0 * w, w, *rule))
    return torch.stack(scores).view(len(prompts), model.cfg.n_layers, -1)


def same(one, two, tolerance=1e-5):
    assert two.abs().max() > 0
    assert ((one - two).abs().max() / two.abs().max()).item() < tolerance


def fixed(model, prompts, **options):
    """With few steps a warning is due; these tests compare the scores all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompletenessWarning)
        return lv.attribute(model, prompts, **options)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_equals_the_loop(tiny, prompts, family, position):
    some = prompts[::4]
    scores = fixed(tiny(family), some, position=position, n_steps=5)
    same(scores.values, loop(tiny(family), some, position, 5))


def blanked(model, prompt, layer, position):
    """Activations with each token of the prompt replaced, by one plain forward."""
    tokens, _, at, _ = reads(model, prompt, position)
    text = model.tokenizer(prompt.text, add_special_tokens=False)["input_ids"]
    blank = model.tokenizer.mask_token_id
    shift = 0 if blank is None else 1
    blank = model.tokenizer.eos_token_id if blank is None else blank
    name = f"blocks.{layer}.mlp.hook_post"
    rows = [
        [*tokens[:place], blank, *tokens[place + 1 :]] for place in range(shift, shift + len(text))
    ]
    _, cache = model.run_with_cache(torch.tensor(rows), names_filter=name)
    return cache[name][:, at].detach().split(1)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("family", ["gpt2", "llama", "bloom", "bert", "xlm-roberta"])
def test_amig_equals_the_loop_over_tokens(tiny, prompts, family, position):
    model, some = tiny(family), [prompts[0], prompts[-1]]
    ours = fixed(model, some, method="amig", position=position, n_steps=3)
    released = fixed(model, some, method="amig_as_released", position=position, n_steps=4)
    rule, left = nodes_and_weights("gauss_legendre", 3), nodes_and_weights("riemann_left", 4)
    expected, as_released = torch.zeros_like(ours.values), torch.zeros_like(ours.values)
    for number, prompt in enumerate(some):
        for layer in range(model.cfg.n_layers):
            value, w = target_of(model, prompt, layer, position)
            starts = blanked(model, prompt, layer, position)
            for start in starts:
                expected[number, layer] += along(value, start, w, *rule)
            mean = torch.stack(starts).mean(0)
            as_released[number, layer] = along(value, mean, w, *left, factor=w)
    same(ours.values, expected)
    same(released.values, as_released)


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "opt", "bert", "roberta"])
@pytest.mark.parametrize("method", ["integrated_gradients", "amig"])
def test_auto_reaches_the_tolerance_and_is_what_many_points_give(tiny, prompts, family, method):
    model, some = tiny(family), prompts[:4]
    loose = lv.attribute(model, some, method=method)
    # Many short paths add up many roundings: AMIG cannot be held as tight.
    bound = 5e-3 if method == "amig" else 1e-3
    tight = lv.attribute(model, some, method=method, tolerance=bound)
    assert loose.relative_error.max() <= 0.01
    assert tight.relative_error.max() <= bound
    assert tight.n_points.sum() >= loose.n_points.sum()
    many = fixed(model, some, method=method, n_steps=40 if method == "amig" else 100)
    assert ((loose.values - many.values).norm() / many.values.norm()).item() < 0.03
    assert ((tight.values - many.values).norm() / many.values.norm()).item() < 5 * bound


def test_auto_refines_only_where_the_path_is_a_step(tiny, prompts, monkeypatch):
    # A massive activation makes the way to it nearly a step: blow one layer's way up.
    model = tiny("gpt2")
    weight = model.original_model.transformer.h[1].mlp.c_proj.weight
    before = weight.data.clone()
    weight.data *= 300
    try:
        auto = lv.attribute(model, prompts[:3], position="answer")
        few = fixed(model, prompts[:3], position="answer", n_steps=20, quadrature="riemann_left")
    finally:
        weight.data.copy_(before)
    assert few.relative_error[:, 1].max() > 0.05
    assert auto.relative_error.max() <= 0.01
    assert auto.n_points[:, 1].max() > 10 > auto.n_points[:, 2].max()


def test_what_stays_incomplete_is_warned_of(tiny, prompts):
    with pytest.warns(CompletenessWarning, match=r'miss the .* tolerance.*use n_steps="auto"'):
        lv.attribute(tiny("gpt2"), prompts[:2], n_steps=1, quadrature="riemann_right")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lv.attribute(tiny("gpt2"), prompts[:2])
        lv.attribute(tiny("gpt2"), prompts[:2], method="amig_as_released")


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


def test_finite_differences_along_the_path_agree(tiny, prompts):
    # No gradient at all: move one neuron at many points of the path and look at F.
    model, prompt, layer = tiny("gpt2"), prompts[0], 1
    scores = lv.attribute(model, [prompt], position="answer", n_steps=16).values[0, layer]
    value, activations = target_of(model, prompt, layer, "answer")
    middles = (torch.arange(400) + 0.5) / 400
    path = middles[:, None, None] * activations
    for neuron in scores.abs().topk(3).indices.tolist():
        nudge = torch.zeros_like(path)
        nudge[:, 0, neuron] = 1e-2
        with torch.no_grad():
            slope = (value(path + nudge) - value(path - nudge)).mean() / 2e-2
        by_hand = (slope * activations[0, 0, neuron]).item()
        assert scores[neuron].item() == pytest.approx(by_hand, rel=2e-2)


@pytest.mark.parametrize("target", ["probability", "log_prob"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "bloom", "bert"])
def test_complete_and_the_error_is_told_as_it_is(tiny, prompts, family, target):
    model = tiny(family)
    for position in POSITIONS:
        scores = fixed(model, prompts[:4], position=position, target=target, n_steps=20)
        for number, prompt in enumerate(prompts[:4]):
            for layer in range(model.cfg.n_layers):
                value, w = target_of(model, prompt, layer, position, target)
                with torch.no_grad():
                    ends = value(torch.cat([w, 0 * w]))
                change = scores.target_change[number, layer].item()
                near = {"abs": 2e-5 * ends.abs().max().item()}
                assert change == pytest.approx((ends[0] - ends[1]).item(), **near)
                gap = scores.values[number, layer].sum() - (ends[0] - ends[1])
                error = scores.completeness_error[number, layer].item()
                assert error == pytest.approx(gap.item(), **near)


def test_logit_difference_is_that_of_the_logits(tiny, prompts):
    # With an answer and a foil of one token each, the normaliser drops out.
    model, prompt = tiny("gpt2"), replace(prompts[0], answer="a", separator="")
    scores = lv.attribute(
        model, [prompt], target="logit_difference", foil="b", position="answer", tolerance=1e-4
    )
    tokens, (answer,), at, _ = reads(model, prompt, "answer")
    foil = model.tokenizer("b")["input_ids"][0]
    for layer in range(model.cfg.n_layers):

        def zero(value, hook):
            value[:, at] = 0
            return value

        ends = []
        for hooks in ([], [(f"blocks.{layer}.mlp.hook_post", zero)]):
            with model.hooks(fwd_hooks=hooks), torch.no_grad():
                logits = model(torch.tensor([tokens]))[0, -1]
            ends.append((logits[answer] - logits[foil]).item())
        change = scores.target_change[0, layer].item()
        assert change == pytest.approx(ends[0] - ends[1], abs=1e-4)
        assert scores.values[0, layer].sum().item() == pytest.approx(change, abs=1e-3)
    one, other = (
        lv.attribute(model, [p], target="log_prob", position="answer", tolerance=1e-4).values
        for p in (prompt, replace(prompt, answer="b"))
    )
    same(scores.values, one - other)


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_baselines(tiny, prompts, family):
    model, some = tiny(family), prompts[:4]
    plain = fixed(model, some, n_steps=4)
    shape = plain.values.shape[1:]
    same(fixed(model, some, n_steps=4, baseline=torch.zeros(shape)).values, plain.values, 1e-7)
    given = torch.rand(shape)
    scores = fixed(model, some, n_steps=4, baseline=given, position="answer")
    means = mean_activations(model, prompts, position="answer")
    options = {"n_steps": 4, "position": "answer"}
    mean = fixed(model, some, baseline="mean", corpus=prompts, **options)
    for number, prompt in enumerate(some):
        for layer in range(model.cfg.n_layers):
            value, w = target_of(model, prompt, layer, "answer")
            rule = nodes_and_weights("gauss_legendre", 4)
            start = given[layer].expand_as(w)
            same(scores.values[number, layer], along(value, start, w, *rule))
            start = means[prompt.language][layer].expand_as(w)
            same(mean.values[number, layer], along(value, start, w, *rule))


def test_mean_activations_are_the_means_of_each_language(tiny, prompts):
    model = tiny("llama")
    means = mean_activations(model, prompts, position="answer", max_rows=3)
    scores = lv.attribute(model, prompts, method="activation", position="answer")
    for language in ("en", "zh", "ru"):
        mine = [i for i, prompt in enumerate(prompts) if prompt.language == language]
        torch.testing.assert_close(means[language], scores.values[mine].mean(0))


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("family", ["llama", "bloom", "bert"])
def test_one_point_methods_equal_plain_gradients(tiny, prompts, family, position):
    model, some = tiny(family), prompts[:3]
    activation, gradient, product = (
        lv.attribute(model, some, method=method, position=position)
        for method in ("activation", "gradient", "gradient_x_activation")
    )
    for number, prompt in enumerate(some):
        for layer in range(model.cfg.n_layers):
            value, w = target_of(model, prompt, layer, position)
            point = w.clone().requires_grad_()
            slope = torch.autograd.grad(value(point).sum(), point)[0]
            torch.testing.assert_close(activation.values[number, layer], w[0].sum(0))
            close = {"rtol": 1e-3, "atol": 1e-5 * slope.abs().max().item()}
            torch.testing.assert_close(gradient.values[number, layer], slope[0].sum(0), **close)
            torch.testing.assert_close(
                product.values[number, layer], (slope * w)[0].sum(0), rtol=1e-3,
                atol=1e-5 * (slope * w).abs().max().item(),
            )  # fmt: skip
    assert activation.completeness_error.isnan().all()


def test_direct_effect_is_what_the_neuron_writes_read_by_the_unembedding(tiny, prompts):
    model, prompt = tiny("gpt2"), replace(prompts[0], answer="a", separator="")
    scores = lv.attribute(
        model, [prompt], method="direct_effect", target="logit_difference", foil="b",
        position="answer",
    ).values[0]  # fmt: skip
    hf, (tokens, (answer,), _, _) = model.original_model, reads(model, prompt, "answer")
    foil = model.tokenizer("b")["input_ids"][0]
    _, cache = model.run_with_cache(torch.tensor([tokens]))
    last = f"blocks.{model.cfg.n_layers - 1}.hook_out"
    stream = cache[last][0, -1].detach().requires_grad_()
    logits = hf.lm_head(hf.transformer.ln_f(stream))
    direction = torch.autograd.grad(logits[answer] - logits[foil], stream)[0]
    for layer in range(model.cfg.n_layers):
        w = cache[f"blocks.{layer}.mlp.hook_post"][0, -1]
        written = hf.transformer.h[layer].mlp.c_proj.weight  # [neuron, d_model]
        same(scores[layer], w * (written @ direction), 1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_direct_effect_leaves_out_later_attention_alone(tiny, prompts, family):
    """A small step of one neuron, with what later attention and neurons write kept as it was."""
    model, prompt = tiny(family), replace(prompts[0], answer=".", separator="")
    ask = {"target": "log_prob", "position": "answer"}
    direct = lv.attribute(model, [prompt], method="direct_effect", **ask).values[0]
    item = encode(model, prompt)
    tokens, layer = torch.tensor([item.read]), 1
    keep = [n for later in (2,) for n in (hook_post(later), hook_attended(model, later))]
    _, cache = model.run_with_cache(tokens)
    active = cache[hook_post(layer)][0, item.predicts]
    neuron, seen = int(active.abs().argmax()), {name: cache[name] for name in keep}

    def stepped(by):
        def step(value, hook):
            value = value.clone()
            value[0, item.predicts, neuron] += by
            return value

        kept = [(name, lambda value, hook, name=name: seen[name]) for name in keep]
        with torch.no_grad(), model.hooks(fwd_hooks=[(hook_post(layer), step), *kept]):
            logits = model(tokens)[0, item.predicts].double()
        return logits.log_softmax(-1)[item.answer[0]]

    by = 0.01 * float(active[neuron].abs())
    slope = (stepped(by) - stepped(-by)) / (2 * by)
    expected = float(slope * active[neuron])
    assert float(direct[layer, neuron]) == pytest.approx(expected, rel=0.02, abs=1e-4)


def test_linear_read_out_every_path_method_agrees(tiny, prompts):
    # The last layer's neurons reach a log-probability difference through one normalisation only;
    # with that frozen everything is linear, so a gradient at one point already is the answer.
    model, prompt = tiny("gpt2"), replace(prompts[0], answer="a", separator="")
    ask = {"target": "logit_difference", "foil": "b", "position": "answer"}

    def frozen(value, hook):
        return torch.full_like(value, 2.0)

    with model.hooks(fwd_hooks=[("ln_final.hook_scale", frozen)]):
        one = fixed(model, [prompt], n_steps=1, **ask).values[0, -1]
        many = fixed(model, [prompt], n_steps=8, **ask).values[0, -1]
        product = lv.attribute(model, [prompt], method="gradient_x_activation", **ask).values[0, -1]
    same(one, many)
    same(one, product)


@pytest.mark.parametrize("rule", ["riemann_left", "riemann_right", "riemann_midpoint"])
def test_riemann_sums_are_the_sums_they_are_called(tiny, prompts, rule):
    nodes = {
        "riemann_left": [0, 0.25, 0.5, 0.75],
        "riemann_right": [0.25, 0.5, 0.75, 1],
        "riemann_midpoint": [0.125, 0.375, 0.625, 0.875],
    }[rule]
    model, prompt = tiny("gpt2"), prompts[0]
    scores = fixed(model, [prompt], quadrature=rule, n_steps=4, position="answer")
    for layer in range(model.cfg.n_layers):
        value, w = target_of(model, prompt, layer, "answer")
        same(scores.values[0, layer], along(value, 0 * w, w, nodes, [0.25] * 4))


@pytest.mark.parametrize("n", [1, 2, 4])
def test_quadrature_is_exact_up_to_its_degree(n):
    degrees = {
        "gauss_legendre": 2 * n - 1, "gauss_radau": 2 * n - 2, "riemann_midpoint": 1,
        "riemann_left": 0, "riemann_right": 0,
    }  # fmt: skip
    for rule, degree in degrees.items():
        nodes, weights = nodes_and_weights(rule, n)
        assert (np.diff(nodes) > 0).all()
        assert nodes[0] >= 0
        assert nodes[-1] <= 1
        for power in range(degree + 1):
            assert weights @ nodes**power == pytest.approx(1 / (power + 1)), (rule, power)
        assert weights @ nodes ** (degree + 1) != pytest.approx(1 / (degree + 2), rel=1e-9), rule
    assert nodes_and_weights("gauss_radau", n)[0][0] == 0


def test_more_steps_less_error(tiny, prompts):
    errors = [
        fixed(tiny("gpt2"), prompts, n_steps=n).completeness_error.abs().mean().item()
        for n in (1, 3, 9)
    ]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


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


def test_normalised_scores_sum_to_one(tiny, prompts):
    scores = lv.attribute(tiny("gpt2"), prompts[:3], method="amig")
    torch.testing.assert_close(scores.normalised().sum((1, 2)), torch.ones(3))
    same(scores.normalised()[0] * scores.values[0].sum(), scores.values[0])


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


def test_same_prompts_same_scores_and_frame_of_the_best(embedded, facts):
    prompts = facts.filter(relation="capital", subjects="FR", languages=["en", "ar"]).prompts()
    one, two = (lv.attribute(embedded, prompts) for _ in range(2))
    assert torch.equal(one.values, two.values)
    assert one.provenance == two.provenance
    frame = one.to_frame(top=3)
    assert len(frame) == 3 * len(prompts)
    first = frame.iloc[0]
    assert one.values[0].max().item() == pytest.approx(first["score"])
    assert one.values[0, first["layer"], first["neuron"]].item() == pytest.approx(first["score"])


def test_capabilities_tell_families_apart(tiny):
    for family in FAMILIES:
        found = capabilities(tiny(family))
        assert found.masked == (family in ("bert", "roberta", "xlm-roberta"))
        assert found.supports_growing_batch == (family not in ("bloom", "xglm", "opt"))
        assert found.unembedding is not None
    assert capabilities(tiny("gemma2")).unembedding.cap == 30.0
    assert encode(tiny("bert"), lv.Prompt.of("a b", "c", subject="b")).read[0] == 0


def test_auto_does_not_chase_rounding(embedded, facts):
    """In half precision F is known to some percent: points beyond that mend nothing."""
    prompts = facts.filter(relation="capital", languages=["en", "zh"]).sample(3).prompts()
    half = lv.load_model("embedded", dtype=torch.bfloat16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lv.CompletenessWarning)
        quick, exact = lv.attribute(half, prompts), lv.attribute(embedded, prompts)
    assert quick.n_points.float().mean() <= exact.n_points.float().mean()
    best = exact.values.flatten(1).topk(100).indices
    for row, some in enumerate(best):
        both = [scores.values[row].flatten()[some] for scores in (quick, exact)]
        assert spearmanr(*both).statistic > 0.97
