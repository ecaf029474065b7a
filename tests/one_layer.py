"""Attribution of one layer at a time by plain forwards: the references of the one pass."""

import warnings

import torch

import lafn_viz as lv
from lafn_viz.attribution.quadrature import nodes_and_weights
from lafn_viz.attribution.scores import CompletenessWarning

CAUSAL = [
    "gpt2", "bloom", "xglm", "llama", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2", "gpt_neox",
    "opt",
]  # fmt: skip
FAMILIES = [*CAUSAL, "bert", "roberta", "xlm-roberta"]
POSITIONS = ["all", "answer", "subject_last", "from_subject"]


def reads(model, prompt, position):
    """Tokens that the model reads, positions acted on, positions that predict the answer."""
    tokenizer = model.tokenizer
    # Examples before the text are read, and nothing is done to them.
    before = tokenizer(prompt.context, add_special_tokens=False)["input_ids"]
    text = tokenizer(prompt.full_text, add_special_tokens=False)["input_ids"]
    both = tokenizer(prompt.full_text + prompt.continuation, add_special_tokens=False)["input_ids"]
    answer = both[len(text) :]
    assert text[: len(before)] == before
    if tokenizer.mask_token_id is not None:
        tokens = [tokenizer.cls_token_id, *text, *[tokenizer.mask_token_id] * len(answer)]
        tokens.append(tokenizer.sep_token_id)
        first, everything, shift = 1 + len(text), range(len(tokens)), 1
    else:
        tokens = [*text, *answer[:-1]]
        first, everything, shift = len(text) - 1, range(len(text)), 0
    begin, end = (len(prompt.context) + place for place in prompt.subject_span)
    upto = len(tokenizer(prompt.full_text[:end], add_special_tokens=False)["input_ids"])
    ends = tokenizer(prompt.full_text, add_special_tokens=False, return_offsets_mapping=True)
    n_before = sum(stop <= begin for _, stop in ends["offset_mapping"])
    at = {
        "all": list(everything)[shift + len(before) if before else 0 :],
        "answer": [first],
        "subject_last": [shift + upto - 1],
        "from_subject": [p for p in everything if p >= shift + n_before],
    }[position]
    return tokens, answer, at, list(range(first, first + len(answer)))


def target_of(model, prompt, layer, position, target="probability", *, hook="hook_post"):
    """F of one layer, by one plain forward: (function of activations, activations)."""
    tokens, answer, at, predicts = reads(model, prompt, position)
    tokens = torch.tensor([tokens])
    name = f"blocks.{layer}.mlp.{hook}"
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


def blanked(model, prompt, layer, position, *, hook="hook_post", special=False):
    """Activations with each token of the prompt (or of the input) replaced, by a plain forward."""
    tokens, _, at, _ = reads(model, prompt, position)
    context, text = (
        model.tokenizer(text, add_special_tokens=False)["input_ids"]
        for text in (prompt.context, prompt.full_text)
    )
    text = text[len(context) :]
    blank = model.tokenizer.mask_token_id
    shift = len(context) + (0 if blank is None else 1)
    blank = model.tokenizer.eos_token_id if blank is None else blank
    name = f"blocks.{layer}.mlp.{hook}"
    places = range(len(tokens)) if special else range(shift, shift + len(text))
    rows = [[*tokens[:place], blank, *tokens[place + 1 :]] for place in places]
    _, cache = model.run_with_cache(torch.tensor(rows), names_filter=name)
    return cache[name][:, at].detach().split(1)


def assert_near(one, two, tolerance=1e-5):
    """The largest difference is small beside the largest value."""
    assert two.abs().max() > 0
    assert ((one - two).abs().max() / two.abs().max()).item() < tolerance


def fixed(model, prompts, **options):
    """With few steps a warning is due; these tests compare the scores all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompletenessWarning)
        return lv.attribute(model, prompts, **options)
