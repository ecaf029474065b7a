"""Refuse a model's files that are incomplete, damaged, or would load only in part.

Transformers fills what it does not find with random numbers, leaves out what it does not expect,
and unpickles code from old weight files. `check_files` looks at a folder before anything is built
from it, `check_config` at the configuration, and `check_weights` at what transformers made of them
(and `vocabulary` at the tokenizer).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lafn_viz.core.json_records import as_object, parsed, read_text, record_list
from lafn_viz.core.messages import in_one_line, listed, quoted

_TOKENIZERS = ("tokenizer*", "vocab*", "*.model", "*.tiktoken", "tekken.json")
_LARGEST = 2**31 - 1  # number of a token
_JSON_FILES = ("config.json", "tokenizer_config.json", "generation_config.json")
# Weights in other formats, and what is to be said of them.
_OTHER_WEIGHTS = {
    "*.bin": "which may run code when read",
    "*.pt": "which may run code when read",
    "*.pth": "which may run code when read",
    "*.ckpt": "which may run code when read",
    "*.gguf": "which load_model reads by the path of the file",
    "*.onnx": "from which no neurons can be read",
    "onnx/*.onnx": "from which no neurons can be read",
    "*.h5": "which TensorFlow wrote",
    "*.msgpack": "which Flax wrote",
}
_HEADS = ("CausalLM", "MaskedLM", "PreTraining", "ConditionalGeneration", "DiffusionLM")


class CheckpointError(ValueError):
    """Files that were read but make no model that can be used; the message says what to do."""


def check_files(folder: Path) -> int:
    """Return how many tensors a folder's weights hold.

    Raises:
        FileNotFoundError, ValueError: if the folder lacks a file that a model needs, or if one is
            damaged.
    """
    from safetensors import SafetensorError, safe_open

    _refuse_other_kinds(folder)
    if not (folder / "config.json").is_file():
        inside = [*folder.glob("*/config.json"), *folder.glob("snapshots/*/config.json")]
        # Of checkpoints, the last one: checkpoint-100 after checkpoint-20.
        inside.sort(key=lambda path: (len(path.parent.name), path))
        hint = f"did you mean {inside[-1].parent}?" if inside else ""
        hint = hint or "give a folder that save_pretrained() wrote"
        raise FileNotFoundError(f"{folder} holds no config.json{_instead(folder)}; {hint}")
    for path in (folder / name for name in _JSON_FILES):
        if path.exists():
            record = as_object(str(path), parsed(str(path), read_text(path)))
            if record.get("architectures") is not None:
                names = record_list(str(path), record, "architectures", str)
                _refuse_sentence_encoder(folder, names)
            _refuse_large_ids(path, record)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise FileNotFoundError(
            f"{folder} holds no *.safetensors weights{_instead(folder)}; "
            "save the model again with save_pretrained()"
        )
    _refuse_missing_shards(folder)
    n_tensors = 0
    for path in weights:
        try:
            with safe_open(path, framework="pt") as tensors:
                n_tensors += len(tensors.keys())
        except (SafetensorError, OSError) as error:
            with path.open("rb") as file:
                if file.read(30).startswith(b"version https://git-lfs"):
                    raise ValueError(
                        f"{path} is a placeholder of Git LFS and not the file itself; fetch that: "
                        "git lfs pull"
                    ) from None
            raise ValueError(
                f"{path} is damaged or cut short ({in_one_line(error)}); copy it again, or "
                "train or save it anew"
            ) from None
    # In place of missing files, transformers makes a tokenizer without words for some families.
    if not any(path for pattern in _TOKENIZERS for path in folder.glob(pattern)):
        raise FileNotFoundError(
            f"{folder} holds no tokenizer; save the model's own there: "
            "tokenizer.save_pretrained(FOLDER)"
        )
    return n_tensors


def _refuse_other_kinds(folder: Path) -> None:
    """Raise FileNotFoundError for a folder of another program that holds no model of its own."""
    path = folder / "adapter_config.json"
    if path.is_file():
        base = as_object(str(path), parsed(str(path), read_text(path))).get(
            "base_model_name_or_path"
        )
        raise FileNotFoundError(
            f"{folder} holds an adapter (adapter_config.json) and no model; merge it into "
            f"{base or 'its base model'} first (merge_and_unload() of PEFT), save the result and "
            "its tokenizer with save_pretrained(), and give that folder"
        )
    if (folder / "model_index.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds a pipeline of diffusers (model_index.json); give a language model"
        )


def _refuse_large_ids(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse numbers of tokens that no tensor holds; transformers reads them, and fails later."""
    for name, value in record.items():
        ids = value if isinstance(value, list) else [value]
        if name.endswith("_token_id") and any(
            isinstance(x, int) and abs(x) > _LARGEST for x in ids
        ):
            raise ValueError(
                f"{path}, field {name!r}: {quoted(str(value))} is no number of a token; copy the "
                "file again"
            )


def _refuse_sentence_encoder(folder: Path, architectures: Sequence[str]) -> None:
    if (folder / "modules.json").is_file() and not any("For" in name for name in architectures):
        raise FileNotFoundError(
            f"{folder} holds a model of sentence-transformers, which turns texts into vectors and "
            "predicts no words; give a language model"
        )


def _instead(folder: Path) -> str:
    """What a folder holds in place of what is missing, in parentheses."""
    for pattern, remark in _OTHER_WEIGHTS.items():
        if names := sorted(path.name for path in folder.glob(pattern)):
            return f" (only {listed(names)}, {remark})"
    return ""


def _refuse_missing_shards(folder: Path) -> None:
    path = folder / "model.safetensors.index.json"
    if path.is_file():
        record = as_object(str(path), parsed(str(path), read_text(path)))
        names = as_object(f"{path}, field 'weight_map'", record.get("weight_map")).values()
        missing = sorted({str(name) for name in names if not (folder / str(name)).is_file()})
        if missing:
            raise FileNotFoundError(
                f"{folder} lacks the weights {listed(missing)}; copy them there, too"
            )


def check_config(config: Any) -> None:
    """Refuse the configuration of what is no language model, with CheckpointError."""
    names = config.architectures or [type(config).__name__]
    if (quantised := getattr(config, "quantization_config", None)) is not None:
        record = quantised if isinstance(quantised, dict) else quantised.to_dict()
        raise CheckpointError(
            f"it says that the weights are quantised ({record.get('quant_method', 'unknown')}), so "
            "they are not those of the neurons; give the model in full numbers, or a copy that "
            "model.dequantize() and save_pretrained() made"
        )
    if config.is_encoder_decoder:
        raise CheckpointError(
            f"{names[0]} has an encoder and a decoder; give a model that continues texts (GPT-2, "
            "Llama, Qwen) or fills masks (BERT)"
        )
    heads = [name.partition("For")[2] for name in names]
    is_of_words = not all(heads) or any(head.startswith(_HEADS) for head in heads)
    if not is_of_words or not (is_causal(config) or is_masked(config)):
        raise CheckpointError(
            f"{names[0]} predicts no words; give a model that continues texts (GPT-2, Llama, Qwen) "
            "or fills masks (BERT)"
        )


def is_causal(config: Any) -> bool:
    """Whether there is a causal language model of a configuration's kind."""
    from transformers import AutoModelForCausalLM

    remote = getattr(config, "auto_map", None) or {}
    return "AutoModelForCausalLM" in remote or type(config) in AutoModelForCausalLM._model_mapping


def is_masked(config: Any) -> bool:
    """Whether a configuration is that of a masked model, by its head or, without one, its kind."""
    from transformers import AutoModelForMaskedLM

    names = config.architectures or []
    if any(name.endswith("ForMaskedLM") for name in names):
        return True
    if any("For" in name and not name.endswith("ForPreTraining") for name in names):
        return False
    headless = not any("LMHead" in name for name in names)
    kind_is = type(config) in AutoModelForMaskedLM._model_mapping
    return headless and kind_is and not getattr(config, "is_decoder", False)


def check_weights(model: Any, loading_info: Mapping[str, Any]) -> None:
    """Refuse a model that has random, left-out or non-finite weights, with CheckpointError."""
    if missing := sorted(loading_info["missing_keys"]):
        raise CheckpointError(
            f"they lack {len(missing)} tensors that config.json asks for, such as {missing[0]}"
        )
    # Tensors that the model has no use for are fine (a pooler); layers that it does not build are
    # not.
    names = set(model.state_dict())
    for name in sorted(loading_info["unexpected_keys"]):
        if re.sub(r"\.\d+\.", ".0.", name, count=1) in names:
            raise CheckpointError(f"they hold {name}, a layer more than config.json says")
    for name, weight in model.named_parameters():
        if weight.is_meta or not weight.is_floating_point():  # offloaded, or packed
            continue
        # The sum, which is quicker, is finite unless a number is not, or it runs over.
        if not weight.sum(dtype=torch.float32).isfinite() and not weight.isfinite().all():
            raise CheckpointError(f"{name} holds numbers that are not finite")
