import shutil
from dataclasses import replace

import pytest
import torch
from tokenizer_kinds import save_model, tokenizer_of
from tokenizers import Tokenizer, processors
from transformers import (
    AutoTokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    XGLMConfig,
    XGLMForCausalLM,
    XGLMTokenizer,
)

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


def test_xglm_has_bos_but_puts_another_token_in_front(tmp_path):
    pieces = [("<s>", 0), ("<pad>", 0), ("</s>", 0), ("<unk>", 0)]
    tokenizer = XGLMTokenizer(vocab=pieces + [(c, -2.0) for c in "▁TheCapitlofJnsky"])
    config = XGLMConfig(
        vocab_size=len(tokenizer), d_model=32, ffn_dim=64, num_layers=2, attention_heads=4
    )
    XGLMForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = lv.load_model(tmp_path)
    item = encode(model, lv.Prompt.of("The capital of Japan is", "Tokyo", subject="Japan"))
    assert model.tokenizer.convert_ids_to_tokens(list(item.read[:3])) == ["</s>", "▁", "T"]
    assert model.tokenizer.bos_token == "<s>"


def test_an_answer_begins_as_inside_a_text(tmp_path):
    """Where a token reaches from the prompt into the answer, as 是东 does."""
    pieces = ["<unk>", "<s>", "</s>", "▁", "首", "都", "是", "东", "京", "是东"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = LlamaTokenizer(vocab=vocabulary, merges=[("是", "东")], add_bos_token=True)
    model = lv.load_model(save_model(tmp_path, tokenizer))
    item = encode(model, lv.Prompt.of("首都是", "东京", subject="首都", language="zh"))
    assert [pieces[token] for token in item.answer] == ["东", "京"]
    assert [pieces[token] for token in item.read[:-1]] == ["<s>", "▁", "首", "都", "是"]


def test_a_masked_model_reads_its_masks_where_the_answer_stands(tmp_path):
    tokenizer = tokenizer_of("WordPiece")
    tokenizer.mask_token = "<mask>"
    model = lv.load_model(save_model(tmp_path, tokenizer, "bert"))
    for text, answer in (("The capital of Japan is", "not São"), ("Япония", "Токио")):
        item = encode(model, lv.Prompt.of(text, answer, subject=text.split()[-1]))
        masks = " <mask>" * len(item.answer)
        assert list(item.read) == tokenizer(text + masks)["input_ids"]
        assert list(item.answer) == tokenizer(answer, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    ("text", "answer", "said"),
    [
        ("The <mask> of Japan is", "Tokyo", "the prompt 'The <mask> of Japan is' holds '<mask>'"),
        ("The capital of Japan is </s>", "Tokyo", "holds '</s>'"),
        ("Of Japan <unk> is", "Tokyo", "holds '<unk>'"),
        ("The capital of Japan is", "Tokyo</s>", "the answer 'Tokyo</s>' holds '</s>'"),
        ("The capital of Japan is", "<sop>", "the answer '<sop>' holds '<sop>'"),
    ],
)
def test_special_tokens_are_no_text(tmp_path, text, answer, said):
    tokenizer = tokenizer_of("byte-level")
    tokenizer.add_special_tokens(
        {"mask_token": "<mask>", "additional_special_tokens": ["[gMASK]", "<sop>"]}
    )
    model = lv.load_model(save_model(tmp_path, tokenizer))
    with pytest.raises(ValueError, match=said):
        encode(model, lv.Prompt.of(text, answer, subject="Japan"))


def test_a_conversation_is_read_as_its_template_writes_it(tmp_path):
    tokenizer = tokenizer_of("SentencePiece")
    tokenizer.chat_template = "<s>{% for m in messages %}{{ m['content'] }}</s>{% endfor %}"
    model = lv.load_model(save_model(tmp_path, tokenizer))
    turns = [{"role": "user", "content": x} for x in ("The capital of Japan is", "Of Japan is")]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    item = encode(model, lv.Prompt.of(text, "Tokyo", subject="Japan"))
    ids = tokenizer.apply_chat_template(turns)["input_ids"]
    assert list(item.read[: item.predicts + 1]) == ids
    assert ids.count(tokenizer.bos_token_id) == 1
