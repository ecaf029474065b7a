"""Where a model's weights go and in which number type, as people name both."""

from typing import Any

import torch

from lafn_viz.core.messages import quoted, told

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64)
}


def available_devices() -> list[str]:
    """Return the devices of this machine by name: the CPU, then each accelerator."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return ["cpu"]
    return ["cpu", *(f"{accelerator.type}:{i}" for i in range(torch.accelerator.device_count()))]


def as_device(device: str | torch.device) -> torch.device:
    """Return a device of this machine by its name; "cuda" is the first of its kind.

    Raises:
        ValueError: naming the devices that there are, for any other.
    """
    there = available_devices()
    try:
        given = torch.device(device)
    except (RuntimeError, TypeError):
        given = None
    # Weights on "meta" have a shape and no numbers. A CPU has no second one.
    if given is not None and str(given) in (*there, *(name.split(":")[0] for name in there)):
        return given
    name = quoted(str(device) if isinstance(device, torch.device) else device)
    choice = "there are {0}; give one of them" if there[1:] else 'there is only {0}; give "{0}"'
    raise ValueError(f"device={name}, but on this machine {choice.format(', '.join(there))}")


def as_dtype(dtype: Any) -> torch.dtype:
    """Return a number type of weights, given itself or by its name ("bfloat16").

    Raises:
        ValueError: naming the types that there are, for any other.
    """
    name = str(dtype).removeprefix("torch.")
    if isinstance(dtype, str | torch.dtype) and name in DTYPES:
        return DTYPES[name]
    given = f"dtype={name}" if isinstance(dtype, torch.dtype) else told("dtype", dtype)
    raise ValueError(f"{given}, but weights are read as {', '.join(DTYPES)}; give one of these")
