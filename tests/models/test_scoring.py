from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

import lafn_viz as lv
from lafn_viz.models import scoring
from lafn_viz.models.capabilities import Unembedding
from lafn_viz.models.scoring import (
    ChunkedAnswerLogProb,
    all_by_row,
    answer_log_prob,
    is_likeliest,
    sum_by_row,
    token_log_prob,
    token_rank,
)
from lafn_viz.models.tokens import encode


def test_log_prob_by_hand():
    # Two tokens of probability 1/4 and 1/2: log 1/8.
    logits = torch.tensor([[[9.0, 0, 0]], [[0.0, 0, 0]]]).repeat(1, 2, 1)
    logits[0, 0] = torch.tensor([0.25, 0.25, 0.5]).log()
    logits[0, 1] = torch.tensor([0.5, 0.25, 0.25]).log()
    got = answer_log_prob(logits, torch.tensor([[0, 0], [0, 1]]))
    assert got.exp().tolist() == pytest.approx([1 / 8, 1 / 9])


def test_a_tokens_rank_counts_the_likelier_ones_and_a_tie_counts_for_it():
    logits = torch.tensor([[3.0, 1, 2, 3], [3.0, 1, 2, 3], [0.0, 1, 2, 3]])
    tokens = torch.tensor([3, 2, 3])
    assert token_rank(logits, tokens).tolist() == [0, 2, 0]
    assert is_likeliest(logits, tokens).tolist() == [True, False, True]
    assert not is_likeliest(torch.full((1, 4), torch.nan), tokens[:1]).any()


def test_answers_one_after_the_other_are_scored_as_those_in_a_rectangle():
    torch.manual_seed(0)
    logits, answers = torch.randn(3, 2, 7), torch.randint(7, (3, 2))
    answers[1] = logits[1].argmax(-1)
    row = torch.tensor([2, 0, 1, 2, 1, 0])  # in any order
    place = torch.tensor([0, 0, 1, 1, 0, 1])
    flat, tokens = logits[row, place], answers[row, place]
    torch.testing.assert_close(
        sum_by_row(token_log_prob(flat, tokens), row, 3), answer_log_prob(logits, answers)
    )
    expected = -cross_entropy(logits.transpose(1, 2), answers, reduction="none").sum(1)
    torch.testing.assert_close(answer_log_prob(logits, answers), expected)
    known = all_by_row(is_likeliest(flat, tokens), row, 3)
    assert torch.equal(known, (logits.argmax(-1) == answers).all(-1))
    assert known.tolist() == [False, True, False]


@pytest.mark.parametrize("cap", [None, 2.0])
@pytest.mark.parametrize("biased", [False, True])
def test_chunks_give_the_log_prob_and_the_gradient_of_all_logits_at_once(monkeypatch, cap, biased):
    monkeypatch.setattr(scoring, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", 1)
    torch.manual_seed(0)
    bias = torch.randn(11) if biased else None
    unembedding = Unembedding(torch.randn(11, 5), bias, cap)
    answers = torch.randint(11, (4, 3))
    hidden = torch.randn(4, 3, 5, requires_grad=True)
    logits = unembedding.logits(hidden)
    answers[2] = logits[2].argmax(-1)
    expected = answer_log_prob(logits, answers)
    log_prob, known = ChunkedAnswerLogProb.apply(hidden, answers, unembedding)
    torch.testing.assert_close(log_prob, expected)
    assert known.tolist() == is_likeliest(logits, answers).all(-1).tolist()
    assert known[2]
    weights = torch.randn(4)
    gradients = [torch.autograd.grad(value @ weights, hidden)[0] for value in (log_prob, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_masked_answers_are_what_transformers_puts_in_their_masks(tiny, folder, prompts, family):
    reference = AutoModelForMaskedLM.from_pretrained(folder(family), attn_implementation="eager")
    tokenizer = AutoTokenizer.from_pretrained(folder(family))
    scores = lv.score_answers(tiny(family), prompts)
    lengths = set()
    for number, prompt in enumerate(prompts):
        answer = tokenizer(prompt.continuation, add_special_tokens=False)["input_ids"]
        text = prompt.text + tokenizer.mask_token * len(answer)
        tokens = tokenizer(text, return_tensors="pt")
        masks = tokens["input_ids"][0] == tokenizer.mask_token_id
        with torch.no_grad():
            log_probs = reference(**tokens).logits[0, masks].log_softmax(-1)
        expected = sum(row[token] for row, token in zip(log_probs, answer, strict=True)).item()
        assert scores.log_prob[number].item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
        lengths.add(len(answer))
    assert max(lengths) > 1


@pytest.mark.parametrize("family", ["gpt2", "llama", "bloom"])
def test_log_prob_of_the_whole_answer_is_that_of_transformers(tiny, folder, prompts, family):
    reference = AutoModelForCausalLM.from_pretrained(folder(family), attn_implementation="eager")
    scores = lv.score_answers(tiny(family), prompts)
    lengths = set()
    for number, prompt in enumerate(prompts):
        item = encode(tiny(family), prompt)
        lengths.add(len(item.answer))
        tokens = torch.tensor([[*item.read, item.answer[-1]]])
        given = torch.arange(tokens.shape[1]) <= item.predicts
        with torch.no_grad():
            out = reference(tokens, labels=tokens.masked_fill(given, -100))
        expected = -out.loss.item() * len(item.answer)
        assert scores.log_prob[number].item() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert max(lengths) > 1


@pytest.mark.slow
def test_known_means_that_greedy_decoding_writes_the_answer(embedded, facts):
    prompts = facts.filter(relation="capital", subjects=["PE", "JP", "EG"]).prompts()
    scores = lv.score_answers(embedded, prompts)
    assert scores.known.sum() > 0
    for prompt, known in zip(prompts[::7], scores.known[::7], strict=True):
        n = len(encode(embedded, prompt).answer)
        text = embedded.generate(
            prompt.text, max_new_tokens=n, do_sample=False, verbose=False, stop_at_eos=False
        )
        assert (text == prompt.text + prompt.continuation) == bool(known)


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_answers_that_share_what_is_read_are_scored_as_each_alone(tiny, prompts, family):
    names = [*sorted({p.answer for p in prompts}), "Q", "X"]
    asked = [replace(p, answer=name) for name in names for p in (prompts[0], prompts[-1])]
    together = lv.score_answers(tiny(family), asked)
    for number, prompt in enumerate(asked):
        alone = lv.score_answers(tiny(family), [prompt])
        assert together.log_prob[number].item() == pytest.approx(alone.log_prob.item(), abs=1e-4)
        assert together.rank[number] == alone.rank[0]
    read = [encode(tiny(family), prompt).read for prompt in asked]
    assert len(set(read)) < len(read)


def test_order_and_batch_size_do_not_matter(tiny, prompts):
    one = lv.score_answers(tiny("gpt2"), prompts)
    two = lv.score_answers(tiny("gpt2"), prompts[::-1], max_prompts=2)
    torch.testing.assert_close(one.log_prob, two.log_prob.flip(0))
    frame = one.to_frame()
    assert list(frame["text"]) == [p.text for p in prompts]
    assert frame["probability"].between(0, 1).all()


def test_nothing_to_ask_gets_a_sentence(tiny):
    with pytest.raises(ValueError, match="there are no prompts; give at least one"):
        lv.score_answers(tiny("gpt2"), [])


def test_a_probability_that_is_not_a_number_is_refused_and_never_known(folder, prompts):
    model = lv.load_model(folder("gpt2"))
    scores = lv.score_answers(model, prompts)
    broken = replace(scores, log_prob=torch.full_like(scores.log_prob, torch.nan),
                     rank=torch.zeros_like(scores.rank))  # fmt: skip
    assert not broken.known.any()
    with torch.no_grad():  # in place, as a bad edit of weights would leave it
        model.original_model.transformer.h[1].mlp.c_proj.weight.fill_(torch.nan)
    says = f"the answers of {len(prompts)} of {len(prompts)} prompts have a probability that is not"
    with pytest.raises(ValueError, match=says):
        lv.score_answers(model, prompts)
    with pytest.raises(ValueError, match=says):
        lv.intervene(model, prompts, [(0, 1)], controls=1)
    assert not lv.attribute(model, prompts, method="activation").known.any()
