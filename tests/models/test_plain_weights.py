"""A model and a tokenizer are told from others, with and without a bridge."""

import pytest
import torch
import transformers as hf

import lafn_viz as lv
from lafn_viz.models.plain_weights import (
    plain_weights,
    plain_weights_of,
    save_plain,
    tokens_digest,
)


@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
def test_weights_are_told_from_others(tiny, folder, family):
    plain = hf.AutoModelForCausalLM.from_pretrained(folder(family))
    assert plain_weights(plain) == plain_weights_of(tiny(family))
    before, weight = plain_weights(plain), next(reversed(list(plain.parameters())))
    with torch.no_grad():
        weight.view(-1)[-1] += 1
    assert plain_weights(plain) != before


@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
def test_a_model_is_saved_and_stays_as_it_was(folder, tmp_path, family):
    model = lv.load_model(folder(family))  # its own, since it is changed
    wanting = list(model.original_model.parameters())[::2]
    for weight in wanting:
        weight.requires_grad_()
    before = {id(p): p.requires_grad for p in model.original_model.parameters()}
    save_plain(model, tmp_path)
    assert {id(p): p.requires_grad for p in model.original_model.parameters()} == before
    saved = hf.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert plain_weights(saved) == plain_weights_of(model)


def test_tokens_are_told_from_others(tokenizer, mask_tokenizer):
    texts = ["The capital of Japan", "日本"]
    assert tokens_digest(tokenizer, texts) != tokens_digest(mask_tokenizer, texts)
    assert tokens_digest(tokenizer, texts) != tokens_digest(tokenizer, texts[:1])
