"""Read the weights of a model wherever they are: on the disk, or packed into 8 or 4 bits.

1. **Offloaded.** With `device_map`, accelerate keeps weights on the disk and brings those of one
   module at a time while it computes. Between passes a parameter has a shape and no numbers.
2. **Quantised.** bitsandbytes packs the numbers of a linear layer and unpacks them to compute.

In both cases a weight is a copy: what is written into it changes no model.
"""

from typing import Any

import torch
from torch import Tensor, nn

_PACKED = ("Int8Params", "Params4bit")  # parameters of bitsandbytes


def full_weight(module: nn.Module, name: str = "weight") -> Tensor | None:
    """Return a parameter of a module in full numbers, or None if it has none of this name.

    A plain parameter is returned as it is.
    """
    module = getattr(module, "original_component", module)
    weight: Tensor | None = getattr(module, name, None)
    if weight is not None and is_offloaded(module):
        from accelerate.utils import align_module_device

        with align_module_device(module):
            brought: Tensor = getattr(module, name)
            return brought.detach()
    if type(weight).__name__ in _PACKED:
        from transformers.integrations.bitsandbytes import dequantize_bnb_weight

        unpacked: Tensor = dequantize_bnb_weight(weight, getattr(module, "state", None))
        return unpacked.detach()
    return weight


def is_offloaded(module: nn.Module) -> bool:
    """Whether accelerate brings a module's own parameters when it computes."""
    from accelerate.utils import has_offloaded_params

    return has_offloaded_params(getattr(module, "original_component", module))


def is_copied(module: nn.Module) -> bool:
    """Whether `full_weight` of a module is a copy, so that a change of it changes no model."""
    return is_packed(module) or is_offloaded(module)


def is_packed(module: nn.Module) -> bool:
    """Whether a module's own weights are quantised."""
    module = getattr(module, "original_component", module)
    return any(type(weight).__name__ in _PACKED for weight in module.parameters(recurse=False))


def keep_gradients(model: nn.Module) -> None:
    """Let gradients go through 4-bit layers on a CPU.

    In the first pass without gradients, bitsandbytes lays the weights out in another order for
    processors with AVX512-BF16, and no gradient goes through them from then on.
    """
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            setattr(module, "support_avx512bf16_for_cpu", False)  # noqa: B010


def device_of(model: nn.Module) -> torch.device:
    """Device on which a transformers model reads tokens."""
    device = next(model.parameters()).device
    if device.type != "meta":
        return device
    for module in model.modules():
        if is_offloaded(module):
            hook: Any = getattr(module, "original_component", module)._hf_hook
            return torch.device(hook.execution_device)
    return device


def like_of(model: nn.Module) -> Tensor:
    """An empty tensor on the device and of the type of what a model computes."""
    return torch.empty(0, device=device_of(model), dtype=next(model.parameters()).dtype)
