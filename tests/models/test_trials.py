from dataclasses import replace

import pytest
import torch
import transformers as hf
from families import FAMILIES, FURTHER, GROUPED, SIZES

import lafn_viz as lv
from lafn_viz.models.capabilities import context_length
from lafn_viz.models.tokens import encode


@pytest.fixture
def refused(tmp_path, tokenizer):
    """Why a model is not loaded."""

    def why(model: hf.PreTrainedModel, **options) -> str:
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        with pytest.raises(ValueError) as error:  # noqa: PT011
            lv.load_model(tmp_path, **options)
        return str(error.value)

    return why


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "bloom"])
def test_a_prompt_of_the_whole_context_is_read_and_one_of_a_token_more_refused(tiny, family):
    model = tiny(family)
    limit = context_length(model)
    assert limit == (126 if "roberta" in family else 128)
    asked = lv.Prompt.of("France ?", "Paris", subject="France")
    room = limit - len(encode(model, asked).read)
    whole, more = (replace(asked, text=asked.text + "?" * (room + extra)) for extra in (0, 1))
    assert len(encode(model, whole).read) == limit
    assert lv.score_answers(model, [whole]).log_prob.isfinite().all()
    with pytest.raises(ValueError, match=f"has {limit + 1} tokens with its answer, but this model"):
        lv.score_answers(model, [more])


@pytest.mark.slow
@pytest.mark.parametrize("family", FURTHER)
def test_other_families_that_load_score_as_transformers_does(tmp_path, tokenizer, family):
    torch.manual_seed(0)
    FURTHER[family]().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = lv.load_model(tmp_path)
    prompt = lv.Prompt.of("The capital of France is", "Paris", subject="France")
    item = encode(model, prompt)
    alone = hf.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    with torch.no_grad():
        log_probs = alone(torch.tensor([item.read])).logits[0].float().log_softmax(-1)
    expected = sum(log_probs[item.predicts + k, token] for k, token in enumerate(item.answer))
    assert lv.score_answers(model, [prompt]).log_prob.item() == pytest.approx(expected.item(), 1e-4)
    assert lv.attribute(model, [prompt], method="gradient").values.isfinite().all()
    assert context_length(model) == {"mpt": 24, "falcon": 2048}.get(family, 128)


def test_a_causal_model_that_reads_both_sides_is_refused(refused):
    says = refused(hf.BertLMHeadModel(hf.BertConfig(**SIZES)))
    assert "BertLMHeadModel does not read the beginning of a text and then its rest as" in says


def test_a_causal_model_whose_mask_replaces_its_own_is_refused(refused):
    config = hf.OpenAIGPTConfig(vocab_size=600, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    model = hf.OpenAIGPTLMHeadModel(config)
    for weight in model.parameters():
        weight.data *= 4
    says = refused(model)
    assert "does not read a text that is padded at its end as one without padding (its log" in says


def test_a_model_that_fails_in_one_dtype_is_told_to_be_loaded_in_another(refused):
    # In float64, Llama's rows of a padded text have no numbers.
    says = refused(hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)), dtype="float64")
    assert (
        '(its logits are not finite), so its numbers would be wrong; load it with dtype="f' in says
    )


def test_layers_without_attention_are_refused(refused):
    config = hf.Qwen3_5TextConfig(
        **GROUPED, head_dim=8, linear_num_key_heads=2, linear_num_value_heads=4,
        linear_key_head_dim=8, linear_value_head_dim=8,
        layer_types=["linear_attention", "full_attention", "full_attention"],
    )  # fmt: skip
    says = refused(hf.Qwen3_5ForCausalLM(config))
    assert says.startswith("layer 0 of Qwen3_5ForCausalLM has no attention that can be hooked")


def test_a_family_that_cannot_be_read_in_a_number_type_gets_a_sentence(refused):
    config = hf.CodeGenConfig(vocab_size=600, n_positions=64, n_embd=32, n_layer=2, n_head=4,
                              rotary_dim=4)  # fmt: skip
    says = refused(hf.CodeGenForCausalLM(config), dtype="bfloat16")
    assert "self-test failed: CodeGenForCausalLM cannot be read in torch.bfloat16 (Runtim" in says


def test_numbers_that_overflow_are_refused_with_a_wider_type(refused):
    model = FAMILIES["gpt2"]()
    model.transformer.wte.weight.data *= 1e4
    model.transformer.ln_f.weight.data *= 1e4
    says = refused(model, dtype=torch.float16)
    assert 'gives numbers that are not finite in torch.float16; load it with dtype="fl' in says


def test_a_model_that_overflows_at_the_start_of_a_text_alone_is_refused(refused, tokenizer):
    model = FAMILIES["gpt2"]()
    (token, *_) = tokenizer("Paris").input_ids
    with torch.no_grad():
        model.transformer.wte.weight[token] = 6e4
        model.transformer.wpe.weight[0, :] = 6e4  # 0 is the position of a text's first token
        model.transformer.wpe.weight[0, 0] = 0
    says = refused(model, dtype=torch.float16)
    assert 'gives numbers that are not finite in torch.float16; load it with dtype="fl' in says
