"""A batch of prompts of any length gives what each of them gives alone."""

import pytest
import torch
from families import FAMILIES, MASKED

import lafn_viz as lv
from lafn_viz.editing.forward import EDIT_POSITIONS, EditedForward
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.hooks import hook_post
from lafn_viz.models.tokens import encode

CAUSAL = [family for family in FAMILIES if family not in MASKED]


def one_by_one(model, prompt, position, added):
    """Logits about the answer of one prompt, read whole, with a plain hook."""
    item = encode(model, prompt)
    first = item.predicts if position == "answer" else item.subject_last
    stop = first + 1 if position == "subject_last" else len(item.read)

    def hook_of(values):
        def add(value, hook):
            value = value.clone()
            value[:, first:stop] += values
            return value

        return add

    with torch.no_grad(), model.hooks([(hook_post(x), hook_of(v)) for x, v in added.items()]):
        logits = model(torch.tensor([item.read]))
    return logits[0, item.predicts : item.predicts + len(item.answer)]


@pytest.mark.parametrize("family", CAUSAL)
def test_equal_to_one_prompt_at_a_time(tiny, prompts, family):
    model = tiny(family)
    width = capabilities(model).d_mlp
    added = {0: torch.linspace(-1, 1, width), 2: torch.linspace(2, 0, width)}
    for position in EDIT_POSITIONS:
        forward = EditedForward(model, prompts, position)
        with torch.no_grad():
            logits = forward.logits(added)
        for number, prompt in enumerate(prompts):
            expected = one_by_one(model, prompt, position, added)
            of_prompt = logits[forward.row == number]
            torch.testing.assert_close(of_prompt, expected, rtol=1e-4, atol=1e-4)


def test_log_probabilities_are_those_of_score_answers(tiny, prompts):
    model = tiny("llama")
    forward, scored = (
        EditedForward(model, prompts, "from_subject"),
        lv.score_answers(model, prompts),
    )
    assert forward.parts[0].batch.prefix, "the prefix should be read once"
    with torch.no_grad():
        logits = forward.logits({})
    torch.testing.assert_close(forward.log_prob(logits), scored.log_prob, rtol=1e-4, atol=1e-4)
    assert torch.equal(forward.known(logits), scored.known)
    assert forward.same(logits, logits).all()
    assert not forward.same(logits, -logits).any()


def test_gradients_reach_the_values(tiny, prompts):
    model = tiny("gpt2")
    values = torch.zeros(capabilities(model).d_mlp, requires_grad=True)
    forward = EditedForward(model, prompts, "answer")
    before = forward.log_prob(forward.logits({1: values})).sum()
    before.backward()
    step = 1e-3 * values.grad / values.grad.norm()
    with torch.no_grad():
        after = forward.log_prob(forward.logits({1: step})).sum()
    expected = float(step @ values.grad)
    assert float(after - before.detach()) == pytest.approx(expected, rel=0.05)


def test_a_masked_model_is_refused(tiny, prompts):
    with pytest.raises(ValueError, match="fills masks"):
        EditedForward(tiny("bert"), prompts, "answer")
    with pytest.raises(ValueError, match="there are no prompts"):
        EditedForward(tiny("gpt2"), [], "answer")
