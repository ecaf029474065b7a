"""What is read once for all gives the same as prompt by prompt, and hooks see whole prompts."""

import pytest
import torch
from one_layer import CAUSAL

import lafn_viz as lv
from lafn_viz.models import shared_beginnings
from lafn_viz.models.shared_beginnings import can_share
from lafn_viz.models.tokens import encode_all


@pytest.fixture
def asked(facts):
    capitals = facts.filter(relation="capital", languages=["en", "ru"])
    some = capitals.filter(subjects=["FR", "PE", "JP"])
    return [p for p in some.prompts(shots=1, examples=capitals) if p.paraphrase < 2]


def alone(model, prompts):
    """Log-probability and rank of each answer, by a plain forward for each prompt."""
    log_probs, ranks = [], []
    for item in encode_all(model, prompts):
        with torch.no_grad():
            logits = model(torch.tensor([item.read]))[0, item.predicts :].float()
        answer = torch.tensor(item.answer)
        chosen = logits[torch.arange(len(answer)), answer]
        log_probs.append(logits.log_softmax(-1)[torch.arange(len(answer)), answer].sum())
        ranks.append((logits > chosen[:, None]).sum(1).max())
    return torch.stack(log_probs), torch.stack(ranks)


@pytest.mark.parametrize("family", CAUSAL)
def test_scores_are_those_of_each_prompt_alone(tiny, asked, monkeypatch, family):
    model = tiny(family)
    monkeypatch.setattr(shared_beginnings, "KEPT", 64)  # a few beginnings at once
    model.run_with_cache(torch.tensor([[1, 2]]))  # leaves hooks of transformers in the model
    # The bridges of these two hook points themselves, so their prompts are read whole.
    assert can_share(model, encode_all(model, asked)) == (family not in ("xglm", "opt"))
    scores = lv.score_answers(model, asked, max_prompts=5)
    log_prob, rank = alone(model, asked)
    torch.testing.assert_close(scores.log_prob, log_prob, rtol=1e-4, atol=1e-4)
    assert torch.equal(scores.rank, rank)


def test_a_beginning_is_read_once(tiny, asked, monkeypatch):
    model, read = tiny("gpt2"), []
    plain = type(model).forward

    def counted(self, tokens, *args, **kwargs):
        read.append(tokens.shape)
        return plain(self, tokens, *args, **kwargs)

    monkeypatch.setattr(type(model), "forward", counted)
    lv.score_answers(model, asked)
    encoded = encode_all(model, asked)
    beginnings = {item.read[: item.subject[0]] for item in encoded}
    assert len(beginnings) < len({item.read for item in encoded})
    lengths = {len(beginning) for beginning in beginnings}
    # Those of one length in one pass, and in another what follows them.
    assert len(read) == 2 * len(lengths)
    assert sum(rows * width for rows, width in read[::2]) == sum(map(len, beginnings))


def test_hooks_and_edits_see_whole_prompts(tiny, asked):
    model, lengths = tiny("gpt2"), []

    def last_position(value, hook):
        lengths.append(value.shape[1])
        value[:, 0] = 0
        return value

    encoded = encode_all(model, asked)
    with model.hooks(fwd_hooks=[("blocks.1.mlp.hook_post", last_position)]):
        assert not can_share(model, encoded)
        lv.score_answers(model, asked)
    assert set(lengths) == {len(item.read) for item in encoded}
    assert can_share(model, encoded)


def test_small_models_and_masked_ones_read_whole_prompts(tiny, facts, asked):
    plain = facts.filter(relation="capital", subjects="FR", languages="en").prompts()
    model, masked = tiny("gpt2"), tiny("bert")
    assert not can_share(model, encode_all(model, plain))
    assert not can_share(masked, encode_all(masked, asked))
    assert lv.score_answers(masked, asked).log_prob.isfinite().all()
