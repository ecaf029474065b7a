import json
import shutil

import pytest
import torch
import transformers as hf
from families import SIZES

import lafn_viz as lv
from lafn_viz.models.capabilities import capabilities


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


def rewrite(folder, **changes) -> None:
    """Change config.json; None leaves a field out."""
    path = folder / "config.json"
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in record.items() if v is not None}))


def touch(folder, *names, remove=()) -> None:
    for name in remove:
        (folder / name).unlink()
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")


WEIGHTS = ("model.safetensors",)
BOTH = ("config.json", "model.safetensors")
BASE = '{"base_model_name_or_path": "owner/base"}'
# What a folder of each kind has more or less than that of a model, and what is said of it.
OTHER_KINDS = {
    "adapter": (
        lambda f: (f / "adapter_config.json").write_text(BASE),
        "holds an adapter (adapter_config.json) and no model; merge it into owner/base first",
    ),
    "diffusers": (
        lambda f: touch(f, "model_index.json", remove=BOTH),
        "holds a pipeline of diffusers (model_index.json); give a language model",
    ),
    "sentence-transformers": (
        lambda f: (touch(f, "modules.json"), rewrite(f, architectures=["BertModel"])),
        "holds a model of sentence-transformers, which turns texts into vectors",
    ),
    "GGUF": (
        lambda f: touch(f, "a.gguf", remove=BOTH),
        "holds no config.json (only a.gguf, which load_model reads by the path of the file); give",
    ),
    "ONNX": (
        lambda f: touch(f, "onnx/model.onnx", remove=WEIGHTS),
        "holds no *.safetensors weights (only model.onnx, from which no neurons can be read); save",
    ),
    "Llama's own": (
        lambda f: touch(f, "consolidated.00.pth", remove=BOTH),
        "holds no config.json (only consolidated.00.pth, which may run code when read); give a f",
    ),
    "Keras": (
        lambda f: touch(f, "tf_model.h5", remove=WEIGHTS),
        "holds no *.safetensors weights (only tf_model.h5, which TensorFlow wrote); save the mod",
    ),
    "training": (
        lambda f: touch(f, "checkpoint-9/config.json", "checkpoint-10/config.json", remove=BOTH),
        "holds no config.json; did you mean {folder}/checkpoint-10?",
    ),
    "hub's cache": (
        lambda f: shutil.copytree(f, f / "snapshots" / "abc") and touch(f, remove=BOTH),
        "holds no config.json; did you mean {folder}/snapshots/abc?",
    ),
    "Git LFS": (
        lambda f: (f / WEIGHTS[0]).write_text("version https://git-lfs.github.com/spec/v1\n"),
        "/model.safetensors is a placeholder of Git LFS and not the file itself; fetch that: git",
    ),
    "a shard less": (
        lambda f: (f / "model.safetensors.index.json").write_text(
            '{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}'
        ),
        "lacks the weights model-2.safetensors; copy them there, too",
    ),
    "quantised": (
        lambda f: rewrite(f, quantization_config={"quant_method": "bitsandbytes", "bits": 4}),
        "its config.json: it says that the weights are quantised (bitsandbytes), so they are not",
    ),
    "classifier": (
        lambda f: rewrite(f, architectures=["GPT2ForSequenceClassification"]),
        "its config.json: GPT2ForSequenceClassification predicts no words; give a model that",
    ),
    "pictures": (
        lambda f: rewrite(f, model_type="vit", architectures=["ViTModel"]),
        "its config.json: ViTModel predicts no words; give a model that continues texts",
    ),
    "encoder and decoder": (
        lambda f: rewrite(f, model_type="t5", architectures=["T5ForConditionalGeneration"]),
        "its config.json: T5ForConditionalGeneration has an encoder and a decoder; give a model",
    ),
    "its own code": (
        lambda f: rewrite(f, model_type="mine", auto_map={"AutoConfig": "code.Config"}),
        "its config.json: it names Python code of its own; if you trust it, pass trust_remote_co",
    ),
    "not tied": (
        lambda f: rewrite(f, tie_word_embeddings=False),
        "its weights: they lack 1 tensors that config.json asks for, such as lm_head.weight",
    ),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_folder_of_another_kind_is_named(folder, tmp_path, kind):
    path = shutil.copytree(folder("gpt2"), tmp_path / "it")
    change, says = OTHER_KINDS[kind]
    change(path)
    with pytest.raises((FileNotFoundError, ValueError)) as refused:
        lv.load_model(path)
    said = str(refused.value)
    assert says.format(folder=path) in said
    assert len(said.replace(str(path), "")) < 300
    assert "\n" not in said


def test_a_family_without_a_bridge_is_named(tmp_path, mask_tokenizer):
    config = hf.AlbertConfig(**SIZES, embedding_size=16, pad_token_id=1)
    hf.AlbertForMaskedLM(config).save_pretrained(tmp_path)
    mask_tokenizer.save_pretrained(tmp_path)
    says = "TransformerLens has no bridge for AlbertForMaskedLM; models of the GPT-2, BLOOM, XGLM"
    with pytest.raises(ValueError, match=f"^{says}"):
        lv.load_model(tmp_path)


@pytest.mark.parametrize("names", [None, ["BertForPreTraining"]])
def test_bert_fills_masks_whatever_its_configuration_calls_it(folder, tmp_path, tiny, names):
    path = shutil.copytree(folder("bert"), tmp_path / "it")
    rewrite(path, architectures=names)
    assert capabilities(lv.load_model(path)).masked


def test_the_number_type_of_a_configuration_does_not_matter(folder, tmp_path, tiny, prompts):
    path = shutil.copytree(folder("gpt2"), tmp_path / "it")
    rewrite(path, torch_dtype="float16", dtype="bfloat16")
    scores = [lv.score_answers(model, prompts) for model in (lv.load_model(path), tiny("gpt2"))]
    assert torch.equal(scores[0].log_prob, scores[1].log_prob)
