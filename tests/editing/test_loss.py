"""The loss of an edit is what whole passes with plain hooks give, one prompt at a time."""

import pytest
import torch

from lafn_viz.editing.loss import N_ENDS, EditLoss
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import hook_post
from lafn_viz.models.tokens import encode


def log_p_of(model, prompt, position, added, *, end):
    """Log-probabilities at the answer's tokens, and at the token after it where `end` is set."""
    item = encode(model, prompt)
    first = item.predicts if position == "answer" else item.subject_last
    tokens = (*item.read, item.answer[-1])

    def hook_of(values):
        def add(value, hook):
            mask = torch.arange(value.shape[1])[:, None] >= first
            return value + mask * values

        return add

    with model.hooks([(hook_post(x), hook_of(v)) for x, v in added.items()]):
        log_p = model(torch.tensor([tokens]))[0].log_softmax(-1)
    return log_p[item.predicts : item.predicts + len(item.answer) + end], item.answer


def reference(model, edited, keep, position, added):
    """The two terms of the loss as the module says."""
    new, after_new, kept, seen = [], [], [], {}
    for role, prompts in (("edit", edited), ("keep", keep)):
        for prompt in prompts:
            number = seen[role, prompt.language] = seen.get((role, prompt.language), 0) + 1
            end = number <= N_ENDS
            log_q, answer = log_p_of(model, prompt, position, added, end=end)
            with torch.no_grad():
                log_p, _ = log_p_of(model, prompt, position, {}, end=end)
            divergence = (log_p.exp() * (log_p - log_q)).sum(-1)
            if role == "edit":
                new.append(-log_q[range(len(answer)), answer].sum())
                after_new += divergence[len(answer) :]
            else:
                kept += divergence
    return torch.stack(new), torch.stack(kept).mean() + torch.stack(after_new).mean()


@pytest.fixture
def cases(facts):
    some = facts.filter(languages=["en", "ru"])
    edited = some.filter(relation="capital", subjects="Japan").prompts()[::3]
    return edited, some.filter(relation="continent", subjects="Japan").prompts()[::4]


# The logits of Gemma 2 have a cap; OPT takes no mask of ours.
@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3", "opt"])
@pytest.mark.parametrize("in_groups", [False, True])
@pytest.mark.parametrize("position", ["from_subject", "answer"])
def test_values_and_gradients_are_those_of_plain_passes(
    tiny, cases, family, in_groups, position, monkeypatch
):
    monkeypatch.setattr("lafn_viz.editing.forward.PASS", 2.0 if in_groups else 1e9)
    model = tiny(family)
    torch.manual_seed(0)
    added = {layer: torch.randn(capabilities(model).d_mlp, requires_grad=True) for layer in (0, 2)}
    loss = EditLoss(model, *cases, position)
    assert (len(loss.forward.parts) > 1) == in_groups
    results = []
    for terms in (loss(added), reference(model, *cases, position, added)):
        total = terms[0].mean() + 0.5 * terms[1]
        results += [(*terms, *torch.autograd.grad(total, [*added.values()]))]
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)
