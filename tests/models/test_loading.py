import json
import re
import shutil

import pytest
import torch

import lafn_viz as lv
from lafn_viz.core.paths import data_folder
from lafn_viz.models import loading as models


@pytest.mark.parametrize("name", models.EMBEDDED)
def test_embedded_models_load_and_answer_without_a_network(name, no_network, facts):
    model = lv.load_model(name)
    prompts = facts.filter(relation="capital", subjects=["JP", "PE"]).prompts(splits=["trained"])
    assert lv.score_answers(model, prompts).known.float().mean() > 0.9
    assert not any(p.requires_grad for p in model.original_model.parameters())


def test_generate_continues_the_text_as_it_stands(embedded):
    text = embedded.generate("La capitale du pays France est", max_new_tokens=1, verbose=False)
    assert text == "La capitale du pays France est Paris"


def test_model_cards_tell_what_the_models_do(embedded, facts):
    for name in models.EMBEDDED:
        folder = data_folder() / "models" / name
        report = json.loads((folder / "training.json").read_text("utf-8"))
        final = report["history"][-1]
        model = lv.load_model(name)
        some = facts.sample(24, seed=3)
        for split, count in (
            ("trained", 0.03), ("held-out paraphrase", 0.06), ("held-out pair", 0.15),
        ):  # fmt: skip
            # The card counts an answer only if the model stops after it; this does not ask that.
            measured = lv.score_answers(model, some.prompts(splits=[split])).known.float().mean()
            assert measured.item() == pytest.approx(final[split], abs=count), (name, split)
        card = (folder / "README.md").read_text("utf-8")
        assert f"{final['held-out pair']:.1%}" in card
        assert sum(f.stat().st_size for f in folder.iterdir()) < 20e6


def test_families_without_a_growing_batch_are_found_by_trying(tiny):
    grows = {
        name: models.capabilities(tiny(name)).supports_growing_batch
        for name in ("gpt2", "llama", "bloom", "opt")
    }
    assert grows == {"gpt2": True, "llama": True, "bloom": False, "opt": False}
    assert models.capabilities(tiny("opt")).d_mlp == 48  # its configuration says otherwise


def test_weights_hash_tells_models_apart(tiny, folder):
    again = lv.load_model(folder("gpt2"))
    assert models.capabilities(again).weights == models.capabilities(tiny("gpt2")).weights
    assert models.capabilities(again).weights != models.capabilities(tiny("llama")).weights


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_pre_activations_in_place_of_neurons_are_refused(folder, family, monkeypatch):
    pre = "blocks.{}.mlp.in.hook_out"
    monkeypatch.setattr("lafn_viz.models.capabilities.hook_post", pre.format)
    with pytest.raises(ValueError, match=r"self-test failed in layer 0.*not the layer's neurons"):
        lv.load_model(folder(family))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("embeded", "there is no model 'embeded'; did you mean 'embedded'?"),
        ("./nowhere/at/all", "there is no model './nowhere/at/all'"),
        (" ", "there is no model ' '"),
    ],
)
def test_a_name_that_is_no_model(name, says, no_network):
    with pytest.raises(FileNotFoundError, match=re.escape(says)):
        lv.load_model(name)


def test_a_hub_name_without_a_network_gets_one_sentence():
    with pytest.raises(ValueError, match="could not load a language model 'owner/none' from the"):
        lv.load_model("owner/none")


def test_a_folder_without_weights_or_with_pickled_ones(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        lv.load_model(tmp_path)
    shutil.copy(folder("gpt2") / "config.json", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds no \*\.safetensors weights; save"):
        lv.load_model(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"only pytorch_model\.bin, which may run code"):
        lv.load_model(tmp_path)


def test_a_weights_file_cut_short(folder, tmp_path):
    broken = shutil.copytree(folder("gpt2"), tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or cut short"):
        lv.load_model(broken)


def test_a_model_that_is_not_causal_gets_a_sentence(tmp_path, tokenizer):
    from transformers import T5Config, T5Model

    model = T5Model(
        T5Config(vocab_size=600, d_model=16, d_ff=32, num_layers=1, num_heads=2, d_kv=8)
    )
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="could not load a language model from the folder"):
        lv.load_model(tmp_path)
