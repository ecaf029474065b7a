"""GGUF files of models made up for a test."""

import json
import re
from pathlib import Path

import pytest
import torch
import transformers as hf
from families import GROUPED

gguf = pytest.importorskip("gguf")

# Names of Qwen2's tensors, as llama.cpp and as transformers have them.
NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TO_GGUF = {theirs: ours for ours, theirs in NAMES.items()}


def tiny_qwen(**config) -> hf.PreTrainedModel:
    """A model with random weights."""
    torch.manual_seed(0)
    config = GROUPED | {"intermediate_size": 64} | config
    return hf.Qwen2ForCausalLM(hf.Qwen2Config(**config)).eval()


def a_gguf_file(
    file: Path, model, tokenizer, *, kind: str = "F16", architecture: str = "qwen2"
) -> Path:
    """Write a Qwen2 as llama.cpp does."""
    writer, config = gguf.GGUFWriter(str(file), architecture), model.config
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    words = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([word for word, _ in words])
    writer.add_token_types([1] * len(words))
    merges = tokenizer.backend_tokenizer.to_str()
    writer.add_token_merges([" ".join(pair) for pair in json.loads(merges)["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_bos_token_id(tokenizer.eos_token_id)
    quantised = gguf.GGMLQuantizationType[kind]
    for name, weight in model.state_dict().items():
        part, _, what = name.rpartition(".")
        layer = re.fullmatch(r"model\.layers\.(\d+)\.(.*)", part)
        place = f"blk.{layer[1]}.{TO_GGUF[layer[2]]}" if layer else TO_GGUF[part]
        values = weight.float().numpy()
        if values.ndim > 1:
            packed = gguf.quants.quantize(values, quantised)
            writer.add_tensor(f"{place}.{what}", packed, raw_dtype=quantised)
        else:
            writer.add_tensor(f"{place}.{what}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
