import re
from pathlib import Path

import pytest
import torch

import lafn_viz as lv
from lafn_viz.models.loading import resolve


def test_generate_continues_the_text_as_it_stands(embedded):
    text = embedded.generate("La capitale du pays France est", max_new_tokens=1, verbose=False)
    assert text == "La capitale du pays France est Paris"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("embeded", "there is no model 'embeded'; did you mean 'embedded'?"),
        ("EMBEDDED", "there is no model 'EMBEDDED'; did you mean 'embedded'?"),
        ("./nowhere/at/all", "there is no model './nowhere/at/all'"),
        (" ", "there is no model ' '"),
        ("", "there is no model ''"),
        (__file__, f"{__file__} is a file, and a model is a folder; give the folder that"),
    ],
)
def test_a_name_that_is_no_model(name, says, no_network):
    with pytest.raises(FileNotFoundError, match=re.escape(says)):
        lv.load_model(name)


def test_home_and_variables_in_a_path_are_expanded(folder, monkeypatch):
    path = folder("gpt2")
    monkeypatch.setenv("HOME", str(path.parent))
    monkeypatch.setenv("MODELS", str(path.parent))
    for name in ("~/gpt2", "$MODELS/gpt2", Path("~/gpt2"), f"{path}/"):
        source, local = resolve(str(name))
        assert local
        assert path.samefile(source)
    with pytest.raises(
        FileNotFoundError, match=re.escape(f"'~/none', which is '{path.parent}/none'.")
    ):
        lv.load_model("~/none")


def test_a_number_type_and_a_device_by_name(folder):
    model = lv.load_model(folder("gpt2"), device="cpu", dtype="bfloat16")
    assert {weight.dtype for weight in model.original_model.parameters()} == {torch.bfloat16}
    with pytest.raises(ValueError, match=r"^device='cuda:77', but on this machine there"):
        lv.load_model(folder("gpt2"), device="cuda:77")


def test_a_hub_name_without_a_network_gets_one_sentence():
    with pytest.raises(ValueError, match="could not load a language model 'owner/none' from the"):
        lv.load_model("owner/none")


@pytest.mark.slow
def test_a_model_that_is_not_causal_gets_a_sentence(tmp_path, tokenizer):
    from transformers import T5Config, T5Model

    model = T5Model(
        T5Config(vocab_size=600, d_model=16, d_ff=32, num_layers=1, num_heads=2, d_kv=8)
    )
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="could not load a language model from the folder"):
        lv.load_model(tmp_path)


@pytest.mark.parametrize(
    "mode",
    [
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.device("meta"),
    ],
)
def test_a_model_is_the_same_in_whatever_mode_it_is_loaded(folder, tiny, prompts, mode):
    with mode():
        model = lv.load_model(folder("gpt2"))
    values = [lv.attribute(m, prompts[:1]).values for m in (model, tiny("gpt2"))]
    assert torch.equal(*values)
