"""Hook names and the weights beside them, the same for every family that has a bridge.

A TransformerLens bridge names the parts of all families alike. Where one family differs (a gate, a
down projection stored transposed), the difference is dealt with here and nowhere else.
`capabilities` proves for each model that these names mean what they say.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from lafn_viz.core.shared import Shared
from lafn_viz.models.weights import full_weight, is_copied

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

HOOK_UNEMBED = "unembed.hook_in"  # the input of the un-embedding
Hooks = list[tuple[str, Callable[..., Any]]]


def no_logits(value: Tensor, hook: Any = None) -> Tensor:
    """A hook at `HOOK_UNEMBED`: no position is left, so the model reads no matrix for its words.

    With a large vocabulary that is a tenth of a pass, even for one position.
    """
    return value[:, :0]


# torch numbers hooks without a lock: of two that are added at once, one could take the other's
# place.
ADDING_HOOKS = threading.Lock()


@contextlib.contextmanager
def hooked(
    model: "TransformerBridge", hooks: Hooks, *, in_every_thread: bool = False
) -> Iterator[None]:
    """Run hooks in this block, each as `hook(value, hook=point)`, after those that are there.

    Unlike `model.hooks`, a pass in another thread does not run them (unless `in_every_thread`),
    `model.reset_hooks()` does not remove them, and each runs once even in compatibility mode, where
    TransformerLens runs a hook once for every name of its place.
    """
    thread = threading.get_ident()

    def here(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(value: Any, hook: Any) -> Any:
            return function(value, hook) if threading.get_ident() == thread else None

        return function if in_every_thread else run

    added = []
    try:
        with ADDING_HOOKS:
            places = model.hook_dict if hooks else {}
            for name, function in hooks:
                handle = places[name].add_hook(here(function), is_permanent=True)
                added.append((places[name], handle))
        yield
    finally:
        for place, handle in added:
            handle.hook.remove()
            with contextlib.suppress(ValueError):  # of a registry that was built anew
                place.fwd_hooks.remove(handle)


def hook_post(layer: int) -> str:
    """Name of the hook on the neurons of a layer."""
    return f"blocks.{layer}.mlp.hook_post"


def hook_pre(layer: int) -> str:
    """Name of the hook on what a layer's non-linearity reads."""
    return f"blocks.{layer}.mlp.hook_pre"


def hook_gate(model: "TransformerBridge", layer: int) -> str:
    """Name of the hook whose sign says whether a neuron fires: the gate of a gated layer."""
    gate = f"blocks.{layer}.mlp.gate.hook_out"
    return gate if gate in model.hook_dict else hook_post(layer)


def hook_written(layer: int) -> str:
    """Name of the hook on what a layer's neurons write: the output of the down projection."""
    return f"blocks.{layer}.mlp.out.hook_out"


def hook_attended(model: "TransformerBridge", layer: int) -> str:
    """Name of the hook on what a layer's attention adds to the residual stream.

    This is the output of the attention's last projection. In some families (BERT, BLOOM) the output
    of the whole attention block already contains the residual stream.
    """
    projection = f"blocks.{layer}.attn.o.hook_out"
    return projection if projection in model.hook_dict else f"blocks.{layer}.attn.hook_out"


def hook_block(layer: int) -> str:
    """Name of the hook on the input of a layer."""
    return f"blocks.{layer}.hook_in"


def hook_block_out(layer: int) -> str:
    """Name of the hook on the output of a layer."""
    return f"blocks.{layer}.hook_out"


def down_weight(
    model: "TransformerBridge", layer: int
) -> Float[torch.nn.Parameter | Tensor, "neuron d_model"]:
    """Down projection of a layer: row i is the direction that neuron i writes.

    It shares memory with the model's own weight, so a change in place changes the model, unless
    that is offloaded or quantised (see `weights`).
    """
    down = model.blocks[layer].mlp.out
    weight: Tensor = down.weight if hasattr(down, "weight") else down.original_component.weight
    if is_copied(down) and (copy := full_weight(down)) is not None:
        weight = copy
    # Linear stores [out, in], GPT-2's Conv1D [in, out]; the self-test of a model proves the choice.
    linear = isinstance(getattr(down, "original_component", down), torch.nn.Linear)
    return weight.T if linear else weight


def down_bias(model: "TransformerBridge", layer: int) -> Float[Tensor, " d_model"] | None:
    """Bias of a layer's down projection; None if it has none."""
    down = model.blocks[layer].mlp.out
    bias: Tensor | None = full_weight(down, "bias") if is_copied(down) else None
    return getattr(down, "bias", None) if bias is None else bias


def attention_mask(
    queries: int, keys: int, like: Tensor, *, causal: bool
) -> Float[Tensor, "1 1 queries keys"]:
    """Additive attention mask for the last `queries` of `keys` positions, for any batch size."""
    allowed = torch.ones(keys, keys, dtype=torch.bool, device=like.device)[-queries:]
    if causal:
        allowed = allowed.tril(keys - queries)
    lowest = torch.finfo(like.dtype).min
    return torch.zeros(1, 1, queries, keys, dtype=like.dtype, device=like.device).masked_fill(
        ~allowed, lowest
    )


# A block in which compiled models run uncompiled, because compiled code does not see hooks added
# later. `generate` of transformers compiles too, on a GPU with a static cache.
UNCOMPILED = Shared(lambda: torch.compiler.set_stance("force_eager"))
