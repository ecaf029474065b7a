"""Refuse a model's files that are incomplete, damaged, or would load only in part.

Transformers fills what it does not find with random numbers, leaves out what it does not expect,
and unpickles code from old weight files. `check_files` looks at a folder before anything is built
from it; `check_weights` looks at what transformers made of it (and `vocabulary` at the tokenizer).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lafn_viz.core.json_records import as_object, parsed, read_text, record_list

_TOKENIZERS = ("tokenizer*", "vocab*", "*.model", "*.tiktoken", "tekken.json")
_JSON_FILES = ("config.json", "tokenizer_config.json", "generation_config.json")


class CheckpointError(ValueError):
    """Files that were read but make no model that can be used; the message says what to do."""


def check_files(folder: Path) -> int:
    """Return how many tensors a folder's weights hold.

    Raises:
        FileNotFoundError, ValueError: if the folder lacks a file that a model needs, or if one is
            damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no config.json; give a folder that save_pretrained() wrote"
        )
    for path in (folder / name for name in _JSON_FILES):
        if path.exists():
            record = as_object(str(path), parsed(str(path), read_text(path)))
            if record.get("architectures") is not None:
                record_list(str(path), record, "architectures", str)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickled = [path.name for path in folder.glob("*.bin")]
        instead = f" (only {', '.join(pickled)}, which may run code when read)" if pickled else ""
        raise FileNotFoundError(
            f"{folder} holds no *.safetensors weights{instead}; "
            "save the model again with save_pretrained()"
        )
    n_tensors = 0
    for path in weights:
        try:
            with safe_open(path, framework="pt") as tensors:
                n_tensors += len(tensors.keys())
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{path} is damaged or cut short ({error}); copy it again, or train or save it anew"
            ) from None
    # In place of missing files, transformers makes a tokenizer without words for some families.
    if not any(path for pattern in _TOKENIZERS for path in folder.glob(pattern)):
        raise FileNotFoundError(
            f"{folder} holds no tokenizer; save the model's own there: "
            "tokenizer.save_pretrained(FOLDER)"
        )
    return n_tensors


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
        if not torch.isfinite(weight).all():
            raise CheckpointError(f"{name} holds numbers that are not finite")
