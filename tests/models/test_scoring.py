import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, processors
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

import lafn_viz as lv
from lafn_viz.models.batching import batches
from lafn_viz.models.scoring import answer_log_prob
from lafn_viz.models.tokens import encode


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


def test_log_prob_by_hand():
    # Two tokens of probability 1/4 and 1/2: log 1/8.
    logits = torch.tensor([[[9.0, 0, 0]], [[0.0, 0, 0]]]).repeat(1, 2, 1)
    logits[0, 0] = torch.tensor([0.25, 0.25, 0.5]).log()
    logits[0, 1] = torch.tensor([0.5, 0.25, 0.25]).log()
    got = answer_log_prob(logits, torch.tensor([[0, 0], [0, 1]]))
    assert got.exp().tolist() == pytest.approx([1 / 8, 1 / 9])


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


def test_subject_last_is_the_last_token_of_the_subject(embedded, facts):
    for prompt in facts.filter(relation="capital", subjects=["FR", "JP"]).prompts():
        item = encode(embedded, prompt)
        upto = embedded.tokenizer.decode(item.read[: item.subject_last + 1])
        before = embedded.tokenizer.decode(item.read[: item.subject_last])
        assert prompt.subject in upto
        assert prompt.subject not in before


def test_a_prompt_that_does_not_name_its_subject_is_scored_but_not_read_there(tiny, prompts):
    model = tiny("gpt2")
    unnamed = [replace(prompt, subject_span=None) for prompt in prompts]
    scored, alike = lv.score_answers(model, unnamed), lv.score_answers(model, prompts)
    torch.testing.assert_close(scored.log_prob, alike.log_prob)
    with pytest.raises(ValueError, match="does not name its subject literally"):
        list(batches(model, unnamed, position="subject_last"))
    with pytest.raises(ValueError, match="with the answer 'x' has an empty text"):
        replace(unnamed[0], text=" ", answer="x")


@pytest.mark.parametrize("position", ["answer", "subject_last", "all"])
@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_batches_hold_what_each_prompt_alone_would(tiny, facts, family, position):
    model = tiny(family)
    prompts = facts.filter(relation="currency", subjects=["FR"]).prompts()
    seen = []
    for batch in batches(model, prompts, position=position, max_prompts=5):
        seen += batch.index.tolist()
        assert len(batch.index) <= 5
        for row, number in enumerate(batch.index.tolist()):
            item = encode(model, prompts[number])
            assert tuple(batch.tokens[row].tolist()) == item.read
            assert tuple(batch.answers[row].tolist()) == item.answer
            assert (batch.predicts, batch.text) == (item.predicts, item.text)
            assert batch.at == item.acted_on(position, masked=family == "bert")
    assert sorted(seen) == list(range(len(prompts)))


def test_nothing_to_ask_gets_a_sentence(tiny):
    with pytest.raises(ValueError, match="there are no prompts; give at least one"):
        lv.score_answers(tiny("gpt2"), [])


def test_an_answer_without_tokens_gets_a_sentence():
    class Forgetful:
        """Knows no "x", as a vocabulary without byte fallback may."""

        def __call__(self, text, **options):
            kept = text.replace("x", "").rstrip()
            return {"input_ids": [ord(c) for c in kept], "offset_mapping": []}

    prompt = lv.Prompt.of("The capital of France is", "x", subject="France")
    with pytest.raises(ValueError, match=r"the answer 'x' of prompt .* has no tokens"):
        encode(SimpleNamespace(tokenizer=Forgetful()), prompt)


def test_bos_stands_where_the_models_own_tokenizer_puts_one(folder, tokenizer, tmp_path, facts):
    with_bos = shutil.copytree(folder("llama"), tmp_path / "with-bos")
    bpe = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    bpe.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<|endoftext|>").save_pretrained(
        with_bos
    )
    prompt = facts.filter(relation="capital", subjects="FR", languages="en").prompts()[0]
    for path, bos in ((with_bos, True), (folder("llama"), False)):
        model = lv.load_model(path)
        item = encode(model, prompt)
        tokens = list(item.read[: item.predicts + 1])
        assert tokens == AutoTokenizer.from_pretrained(path)(prompt.text)["input_ids"]
        assert tokens == model.to_tokens(prompt.text)[0].tolist()
        assert (tokens[0] == 0) == bos
        upto = model.tokenizer.decode(tokens[: item.subject_last + 1])
        assert upto.endswith(prompt.subject)
