"""Tiny random models of the families that are tested, with d_mlp different from d_model."""

from collections.abc import Callable

import pytest
import transformers as hf
from tokenizers import processors
from transformer_lens.model_bridge import TransformerBridge

from lafn_viz.models.capabilities import capabilities

VOCABULARY = 600
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
GROUPED = SIZES | {"num_key_value_heads": 2}
# Masked models have their pad token second, as RoBERTa does: it reads positions off it.
BOTH_SIDES = SIZES | {"pad_token_id": 1}
FAMILIES: dict[str, Callable[[], hf.PreTrainedModel]] = {
    "gpt2": lambda: hf.GPT2LMHeadModel(
        hf.GPT2Config(
            vocab_size=VOCABULARY, n_positions=128, n_embd=32, n_layer=3, n_head=4, n_inner=48
        )
    ),
    "bloom": lambda: hf.BloomForCausalLM(
        hf.BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=3, n_head=4)
    ),
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED)),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**GROUPED, head_dim=8)),
    "gemma2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**GROUPED, head_dim=8)),
    "gemma3": lambda: hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**GROUPED, head_dim=8)),
    "xglm": lambda: hf.XGLMForCausalLM(
        hf.XGLMConfig(
            vocab_size=VOCABULARY,
            d_model=32,
            ffn_dim=48,
            num_layers=3,
            attention_heads=4,
            max_position_embeddings=128,
        )
    ),
    "gpt_neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SIZES)),
    "olmo2": lambda: hf.Olmo2ForCausalLM(hf.Olmo2Config(**GROUPED)),
    "opt": lambda: hf.OPTForCausalLM(
        hf.OPTConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            word_embed_proj_dim=32,
            ffn_dim=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=128,
        )
    ),
    "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(**BOTH_SIDES)),
    "roberta": lambda: hf.RobertaForMaskedLM(hf.RobertaConfig(**BOTH_SIDES)),
    "xlm-roberta": lambda: hf.XLMRobertaForMaskedLM(hf.XLMRobertaConfig(**BOTH_SIDES)),
}
MASKED = ("bert", "roberta", "xlm-roberta")

# Families that are tried by loading and scoring alone; d_mlp is 4 d_model in most.
OLD_NAMES = {"vocab_size": VOCABULARY, "n_positions": 128, "n_embd": 32, "n_layer": 2, "n_head": 4}
FURTHER: dict[str, Callable[[], hf.PreTrainedModel]] = {
    "gptj": lambda: hf.GPTJForCausalLM(hf.GPTJConfig(**OLD_NAMES, rotary_dim=4)),
    "codegen": lambda: hf.CodeGenForCausalLM(hf.CodeGenConfig(**OLD_NAMES, rotary_dim=4)),
    "gpt_bigcode": lambda: hf.GPTBigCodeForCausalLM(hf.GPTBigCodeConfig(**OLD_NAMES)),
    "gpt_neo": lambda: hf.GPTNeoForCausalLM(
        hf.GPTNeoConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
            max_position_embeddings=128,
        )
    ),
    "falcon": lambda: hf.FalconForCausalLM(
        hf.FalconConfig(
            vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4
        )
    ),
    "mpt": lambda: hf.MptForCausalLM(
        hf.MptConfig(
            vocab_size=VOCABULARY,
            d_model=32,
            n_heads=4,
            n_layers=2,
            expansion_ratio=2,
            max_seq_len=24,
        )
    ),
    "phi": lambda: hf.PhiForCausalLM(hf.PhiConfig(**SIZES)),
    "stablelm": lambda: hf.StableLmForCausalLM(hf.StableLmConfig(**GROUPED)),
    "cohere": lambda: hf.CohereForCausalLM(hf.CohereConfig(**GROUPED)),
}


def put_special_token_in_front(model: TransformerBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a model's tokenizer put an end of text before every text, until the test ends."""
    first = capabilities(model).ablation_token
    monkeypatch.setattr(
        model.tokenizer.backend_tokenizer,
        "post_processor",
        processors.TemplateProcessing(
            single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", first)]
        ),
    )
    assert capabilities(model).special_prefix == (first,)
