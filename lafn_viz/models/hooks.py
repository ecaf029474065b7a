"""Names of the hooks, and the weights beside them, for every family that has a bridge."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def hook_post(layer: int) -> str:
    """Name of the hook on the neurons of a layer."""
    return f"blocks.{layer}.mlp.hook_post"


def down_weight(
    model: "TransformerBridge", layer: int
) -> Float[torch.nn.Parameter | Tensor, "neuron d_model"]:
    """What each neuron of a layer writes: the down projection's own weight, so that a change in
    place changes the model.
    """
    down = model.blocks[layer].mlp.out
    weight: Tensor = down.weight if hasattr(down, "weight") else down.original_component.weight
    # Linear keeps [out, in], GPT-2's Conv1D [in, out]; the self-test of a model proves it.
    linear = isinstance(getattr(down, "original_component", down), torch.nn.Linear)
    return weight.T if linear else weight


def hook_gate(model: "TransformerBridge", layer: int) -> str:
    """Name of the hook whose sign says whether a neuron fires: the gate of a gated layer."""
    gate = f"blocks.{layer}.mlp.gate.hook_out"
    return gate if gate in model.hook_dict else hook_post(layer)


def hook_written(layer: int) -> str:
    """Name of the hook on what a layer's neurons write: the output of the down projection."""
    return f"blocks.{layer}.mlp.out.hook_out"


def hook_attended(model: "TransformerBridge", layer: int) -> str:
    """Name of the hook on what a layer's attention adds to the residual stream.

    The output of its projection: what comes out of the whole attention holds the residual stream
    too in some families (BERT, BLOOM).
    """
    projection = f"blocks.{layer}.attn.o.hook_out"
    return projection if projection in model.hook_dict else f"blocks.{layer}.attn.hook_out"


def hook_block(layer: int) -> str:
    """Name of the hook on the input of a layer."""
    return f"blocks.{layer}.hook_in"


def hook_block_out(layer: int) -> str:
    """Name of the hook on the output of a layer."""
    return f"blocks.{layer}.hook_out"


HOOK_UNEMBED = "unembed.hook_in"  # the input of the un-embedding


def attention_mask(
    queries: int, keys: int, like: Tensor, *, causal: bool
) -> Float[Tensor, "1 1 queries keys"]:
    """Additive mask for the last `queries` of `keys` positions; it fits every batch."""
    allowed = torch.ones(keys, keys, dtype=torch.bool, device=like.device)[-queries:]
    if causal:
        allowed = allowed.tril(keys - queries)
    lowest = torch.finfo(like.dtype).min
    return torch.zeros(1, 1, queries, keys, dtype=like.dtype, device=like.device).masked_fill(
        ~allowed, lowest
    )


Hooks = list[tuple[str, Callable[..., Any]]]
