"""Layers that normalise what their neurons write, before it is added to the residual stream.

Gemma 2, Gemma 3 and OLMo 2 add N(W w), where N is a root-mean-square norm:

    N(u) = g * u / sqrt(rms(u)^2 + floor^2)

As long as rms(W w) is far above the floor, half of every activation adds the same as all of it:
the layer is **invariant** to the scale of its neurons. Where the contribution fades out is set by
the floor, which is the square root of the norm's epsilon and no property of the text.

`post_norm_floors` finds such layers by trying, whatever the model is called. In one pass, it reads
a probe several times side by side. Every layer sees the same input in all copies, and its neurons
are scaled by another factor in each. A layer is invariant if a half and a quarter of its neurons
add what they add in full. BERT normalises the sum of the residual stream and what the neurons
write; there a quarter adds less, so it is not invariant.
"""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.models.hooks import (
    HOOK_UNEMBED,
    Hooks,
    hook_block,
    hook_block_out,
    hook_post,
    hook_written,
    hooked,
    no_logits,
)
from lafn_viz.models.trials import probe_tokens

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# By what the neurons are scaled. The first copy is the model as it is, and the second has no
# neurons; the small ones show where the norm lets go.
SCALES = (1.0, 0.0, 0.5, 0.25, 1e-2, 1e-3, 1e-4, 1e-5)
FIRST_SMALL = 4
# How much of what a layer adds may change with the scale: without a norm, three quarters do.
LARGEST_CHANGE, LARGEST_CHANGE_IN_HALF_PRECISION = 0.1, 0.3
SMALLEST_PART = 1e-3  # of a layer's output: what adds less is lost in rounding


def post_norm_floors(model: "TransformerBridge", n_layers: int) -> tuple[float | None, ...]:
    """Return the floor of each layer's norm, or None for a layer that is not invariant.

    The floor is in the unit of rms(W w), the root mean square over d_model of what all neurons of
    the layer write at one position.
    """
    tokens = probe_tokens(model.original_model)[:1]
    k = len(SCALES)
    outputs: dict[int, Tensor] = {}
    written: dict[int, Tensor] = {}
    hooks: Hooks = []
    for layer in range(n_layers):
        hooks += [
            (hook_block(layer), _same_input),
            (hook_post(layer), _scaled),
            (hook_written(layer), _keep(written, layer)),
            (hook_block_out(layer), _keep(outputs, layer)),
        ]
    if HOOK_UNEMBED in model.hook_dict:
        hooks.append((HOOK_UNEMBED, no_logits))
    with torch.no_grad(), hooked(model, hooks):
        model(tokens.repeat(k, 1))
    return tuple(_floor(outputs.get(layer), written.get(layer)) for layer in range(n_layers))


def _same_input(value: Tensor, hook: Any) -> Tensor:
    """A hook that gives all copies the input of the first."""
    copies = value.unflatten(0, (len(SCALES), -1))
    return copies[:1].expand_as(copies).flatten(0, 1)


def _scaled(value: Tensor, hook: Any) -> Tensor:
    """A hook that scales the neurons of each copy."""
    scales = torch.tensor(SCALES, dtype=value.dtype, device=value.device)
    copies = value.unflatten(0, (len(SCALES), -1))
    return (copies * scales.view(-1, *[1] * (copies.ndim - 1))).flatten(0, 1)


def _keep(values: dict[int, Tensor], layer: int) -> Any:
    def hook(value: Tensor, hook: Any) -> None:
        values[layer] = value

    return hook


def _floor(at_output: Tensor | None, at_written: Tensor | None) -> float | None:
    """The floor of one layer from what its hooks see, or None if it is not invariant."""
    if at_output is None or at_written is None:  # such as OpenAI's first GPT
        return None
    outputs, written = (_copies(value) for value in (at_output, at_written))
    added = outputs - outputs[SCALES.index(0.0)]
    # Where no neuron fires (ReLU) nothing is added, and nothing can be said.
    seen = added[0].norm(dim=-1) > SMALLEST_PART * outputs[0].norm(dim=-1)
    if not seen.any():
        return None
    added, whole = added[:, seen], added[0, seen].norm(dim=-1)
    changes = [
        ((added[SCALES.index(scale)] - added[0]).norm(dim=-1) / whole).median()
        for scale in (0.5, 0.25)
    ]
    if max(changes) > (
        LARGEST_CHANGE if at_output.dtype == torch.float32 else LARGEST_CHANGE_IN_HALF_PRECISION
    ):
        return None
    # share^2 = c^2 (r^2 + floor^2) / (c^2 r^2 + floor^2) for the scale c and r = rms(W w), solved
    # for the floor where the share is nearest to a half and so known best.
    shares = torch.stack([(part.norm(dim=-1) / whole).median() for part in added]).clamp(max=1)
    small = range(FIRST_SMALL, len(SCALES))
    nearest = min(small, key=lambda number: abs(float(shares[number]) - 0.5))
    scale, share = SCALES[nearest], float(shares[nearest])
    size = float(written[0, seen].square().mean(-1).sqrt().median())
    lost, left = max(1 - share**2, 1e-6), max(share**2 - scale**2, 1e-12)
    return scale * size * (lost / left) ** 0.5


def _copies(value: Tensor) -> Float[Tensor, "scale pos d_model"]:
    """What a hook sees of each copy."""
    return value.float().reshape(len(SCALES), -1, value.shape[-1])
