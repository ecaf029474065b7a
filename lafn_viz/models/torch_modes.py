"""The modes of torch that change what a computation gives, set aside while the package computes.

A user may have switched anything on around a call: inference mode, no gradients, autocast, another
default dtype or device. The result of a call is that of the plain call, whatever the modes, and the
modes are as they were afterwards. What changes no result is left alone: the number of threads,
deterministic algorithms, the detection of anomalies.
"""

import contextlib
from collections.abc import Iterator

import torch

from lafn_viz.core.shared import Shared

_AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")


@contextlib.contextmanager
def plain_modes() -> Iterator[None]:
    """Compute in this block as if nothing had been switched on."""
    with contextlib.ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            stack.enter_context(torch.enable_grad())
        for device in _AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_FLOAT32)
        yield


@contextlib.contextmanager
def _default_float32() -> Iterator[None]:
    before = torch.get_default_dtype()
    if before != torch.float32:
        torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        if before != torch.float32:
            torch.set_default_dtype(before)


# torch has one default dtype for the whole process.
_FLOAT32 = Shared(_default_float32)
