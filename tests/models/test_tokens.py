import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import lafn_viz as lv
from lafn_viz.models.batching import batches
from lafn_viz.models.tokens import encode


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
