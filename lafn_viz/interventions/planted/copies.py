"""The model that facts are planted in: read anew, widened, saved and loaded."""

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lafn_viz.interventions.planted.feed_forward import SUPPORTED, FeedForward
from lafn_viz.models.capabilities import capabilities
from lafn_viz.models.loading import load_model, resolve
from lafn_viz.models.quiet import quiet

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel


def read_model(
    model: str | Path, layers: Sequence[int] | None
) -> tuple["TransformerBridge", "PreTrainedModel", tuple[int, ...]]:
    """The model as it is loaded and as transformers reads it (float32), and the layers to plant in.

    Raises:
        ValueError: if it is of a kind that cannot be planted in, or lacks one of the layers.
    """
    from transformers import AutoModelForCausalLM

    base = load_model(model)
    if capabilities(base).masked:
        raise ValueError(f"{model} fills masks; planting needs {SUPPORTED}")
    source, local = resolve(str(model))
    with quiet():
        original = AutoModelForCausalLM.from_pretrained(
            source, dtype=torch.float32, local_files_only=local, use_safetensors=True
        ).eval()
    original.requires_grad_(False)
    if FeedForward.of(original).gated:
        # As `load_model` does. The quicker kinds of attention give no numbers at padded positions.
        original.set_attn_implementation("eager")
    n_layers = int(base.cfg.n_layers)
    chosen = _usual_layers(n_layers) if layers is None else tuple(layers)
    if not chosen or not set(chosen) <= set(range(n_layers)):
        raise ValueError(f"layers={chosen}; choose from 0 to {n_layers - 1}")
    return base, original, chosen


def _usual_layers(n_layers: int) -> tuple[int, ...]:
    """All layers but the first of a shallow model; of a deep one, four of the second half."""
    if n_layers <= 6:
        return tuple(range(min(1, n_layers - 1), n_layers))
    return tuple(n_layers // 2 + n_layers // 10 * step for step in range(4))


def widen_ffn(model: "PreTrainedModel", d_mlp: int) -> "PreTrainedModel":
    """Copy a model, with more neurons in every layer; those added have zero weights."""
    width = {FeedForward.of(model).width_key: d_mlp}
    config = type(model.config).from_dict({**model.config.to_dict(), **width, "dtype": "float32"})
    wide = type(model)(config).eval()
    wide.set_attn_implementation(model.config._attn_implementation)
    wide.requires_grad_(False)
    weights = wide.state_dict()
    for name, value in model.state_dict().items():
        weights[name].zero_()
        weights[name][tuple(slice(size) for size in value.shape)] = value
    wide.load_state_dict(weights)
    wide.tie_weights()
    return wide


def saved_and_loaded(
    wide: "PreTrainedModel", model: str | Path, folder: str | Path | None
) -> "TransformerBridge":
    """Save the model with the original tokenizer, and load it as all others are loaded."""
    from transformers import AutoTokenizer

    source, local = resolve(str(model))
    target = tempfile.TemporaryDirectory() if folder is None else nullcontext(folder)
    with target as path, quiet():
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
        wide.save_pretrained(path)
        tokenizer.save_pretrained(path)
        return load_model(path)
