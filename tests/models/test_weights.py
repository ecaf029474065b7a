"""Offloaded and quantised models give what the plain ones give."""

from importlib.util import find_spec

import pytest
import torch
import transformers as hf
from families import GROUPED

import lafn_viz as lv
from lafn_viz.models.capabilities import capabilities, weights_of
from lafn_viz.models.hooks import down_bias, down_weight
from lafn_viz.models.weights import device_of, full_weight, is_copied

# With tied un-embedding and biases; with a gate; with a gate and norms behind the neurons.
KINDS = ("gpt2", "llama", "gemma3")
packed = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@pytest.fixture(scope="module")
def offloaded(folder):
    """A tiny model whose weights lie on the disk."""
    loaded = {}

    def of(family: str):
        if family not in loaded:
            loaded[family] = lv.load_model(folder(family), device_map={"": "disk"})
        return loaded[family]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("family", KINDS)
def test_an_offloaded_model_gives_the_numbers_of_the_plain_one(family, tiny, offloaded, prompts):
    plain, other = tiny(family), offloaded(family)
    assert any(weight.is_meta for weight in other.original_model.parameters())
    assert device_of(other.original_model) == torch.device("cpu")
    found, right = capabilities(other), capabilities(plain)
    assert found.shape == right.shape
    assert found.supports_growing_batch == right.supports_growing_batch
    assert found.unembedding is not None
    assert torch.equal(found.unembedding.weight, right.unembedding.weight)
    assert weights_of(other) == weights_of(plain)
    for layer in range(found.n_layers):
        assert torch.equal(down_weight(other, layer), down_weight(plain, layer))
        biases = down_bias(other, layer), down_bias(plain, layer)
        assert biases == (None, None) or torch.equal(*biases)
    some = prompts[:3]
    scores = [lv.attribute(m, some, n_steps=4, tolerance=9) for m in (other, plain)]
    torch.testing.assert_close(scores[0].values, scores[1].values, rtol=1e-4, atol=1e-7)
    answers = [lv.score_answers(m, some) for m in (other, plain)]
    torch.testing.assert_close(answers[0].log_prob, answers[1].log_prob, rtol=1e-4, atol=1e-5)
    text = [
        m.original_model.generate(
            torch.tensor([[5, 7, 9]]), max_new_tokens=4, do_sample=False, pad_token_id=0
        )
        for m in (other, plain)
    ]
    assert torch.equal(*text)


@pytest.mark.parametrize("family", KINDS)
def test_what_is_known_of_an_offloaded_model_is_found_out_once(family, offloaded, monkeypatch):
    from lafn_viz.models import capabilities as module

    model = offloaded(family)
    before = capabilities(model)
    model(torch.tensor([[1, 2, 3]]))
    monkeypatch.setattr(module, "_found_out", None)
    assert capabilities(model) is before


@pytest.mark.slow
def test_an_offloaded_model_is_edited_as_the_plain_one(tiny, offloaded):
    models = offloaded("llama"), tiny("llama")
    case = lv.counterfactual_cases(n=1)[0]
    options = {"languages": ["en", "fr"], "n_neurons": 5, "locate": "activation"}
    edits = [lv.edit_case(model, case, **options) for model in models]
    assert edits[0].neurons == edits[1].neurons
    text = case.prompts("edit", languages=["en"])[:1]
    edited = []
    for model, edit in zip(models, edits, strict=True):
        with lv.edited(model, edit):
            edited.append(lv.score_answers(model, text).log_prob)
    torch.testing.assert_close(*edited, rtol=1e-3, atol=1e-3)
    change = lv.baselines.WeightEdit({1: torch.zeros(48, 32)})
    with (
        pytest.raises(ValueError, match=r"layer 1 are offloaded or quantised, so this edit"),
        change.applied(models[0]),
    ):
        pass


def test_part_of_a_model_may_lie_on_the_disk(folder, tiny):
    places = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu"}
    places |= {"lm_head": "cpu", "model.layers.0": "cpu"}
    places |= {"model.layers.1": "disk", "model.layers.2": "disk"}
    model = lv.load_model(folder("llama"), device_map=places)
    assert [is_copied(model.blocks[layer].mlp.out) for layer in range(3)] == [False, True, True]
    tokens = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(model(tokens), tiny("llama")(tokens))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_memory": {"cpu": "1GB"}}, "max_memory limits what a device_map gives"),
        ({"offload_folder": "x"}, "offload_folder limits what a device_map gives"),
        ({"device_map": {"": "meta"}}, 'puts weights on "meta", which keeps no numbers'),
        ({"device_map": "everywhere"}, "could not load a language model from the folder"),
        ({"quantization_config": hf.GPTQConfig(bits=4)}, "quantization_config is GPTQConfig, but"),
    ],
)
def test_what_cannot_be_placed_gets_a_sentence(options, says, folder):
    with pytest.raises(ValueError, match=says) as caught:
        lv.load_model(folder("gpt2"), **options)
    assert "\n" not in str(caught.value)


def test_layers_on_several_devices_are_refused():
    from lafn_viz.models.placement import require_one_place

    for places in ({"a": 0, "b": 1}, {"a": 0, "b": "cpu"}, {"a": "cuda:0", "b": "disk"}):
        with pytest.raises(ValueError, match="its layers are spread over"):
            require_one_place(places)
    for places in (None, {"": 0}, {"a": "cpu", "b": "disk"}):
        require_one_place(places)


def test_bitsandbytes_that_is_not_installed_is_named(folder, monkeypatch):
    from lafn_viz.models import placement

    monkeypatch.setattr(placement, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'lafn_viz\[quantised\]'"):
        lv.load_model(folder("llama"), quantization_config=hf.BitsAndBytesConfig(load_in_8bit=True))


@pytest.mark.slow
@packed
@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantised_model_is_attributed_by_the_weights_that_it_computes_with(
    bits, tokenizer, tmp_path, prompts
):
    torch.manual_seed(0)
    sizes = GROUPED | {"hidden_size": 64, "intermediate_size": 128}  # whole blocks of 4 bits
    plain = hf.LlamaForCausalLM(hf.LlamaConfig(**sizes))
    for name, weight in plain.named_parameters():
        if "norm" not in name:
            weight.data *= 4
    plain.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    config = hf.BitsAndBytesConfig(load_in_8bit=bits == 8, load_in_4bit=bits == 4)
    model = lv.load_model(tmp_path, quantization_config=config)
    out = model.blocks[1].mlp.out
    assert is_copied(out)
    weight, right = full_weight(out), plain.model.layers[1].mlp.down_proj.weight
    assert weight.shape == right.shape
    assert (weight.float() - right).abs().max() < (0.01 if bits == 8 else 0.2) * right.abs().max()
    models = model, lv.load_model(tmp_path)
    for method in ("gradient_x_activation", "direct_effect"):
        scores = [lv.attribute(m, prompts[:2], method=method).values.flatten() for m in models]
        assert torch.corrcoef(torch.stack(scores))[0, 1] > (0.99 if bits == 8 else 0.7)
