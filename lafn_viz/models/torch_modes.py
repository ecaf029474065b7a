"""The modes of torch that change what a computation gives, set aside while the package computes.

A user may have switched anything on around a call: inference mode, no gradients, autocast, another
default dtype or device. The result of a call is that of the plain call, whatever the modes, and the
modes are as they were afterwards. What changes no result is left alone: the number of threads,
deterministic algorithms, the detection of anomalies.
"""

import contextlib
import threading
from collections.abc import Iterator

import torch

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


class _DefaultFloat32:
    """Sets the default dtype to float32, for all threads: torch has one for the whole process.

    The first block that is entered sets it, and the last one that is left puts back what was there,
    whichever threads they are in.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._before = torch.float32

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_inside:
                self._before = torch.get_default_dtype()
                if self._before != torch.float32:
                    torch.set_default_dtype(torch.float32)
            self._n_inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside and self._before != torch.float32:
                torch.set_default_dtype(self._before)


_FLOAT32 = _DefaultFloat32()
