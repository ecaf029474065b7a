"""Where a model's weights go and in which number type, as people name both."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from lafn_viz.core.messages import listed, quoted, told

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


def placing_options(
    device: torch.device,
    *,
    device_map: str | Mapping[str, Any] | None,
    max_memory: Mapping[int | str, int | str] | None,
    offload_folder: str | Path | None,
    quantization_config: Any,
) -> dict[str, Any]:
    """Return what `from_pretrained` is told about where and how weights are kept.

    It is empty for a model that is read into memory and moved to `device` as a whole.

    Raises:
        ValueError: for options that exclude each other, ask for what bitsandbytes does not do, or
            need it where it is not installed.
    """
    if device_map is None and (max_memory is not None or offload_folder is not None):
        given = "max_memory" if max_memory is not None else "offload_folder"
        raise ValueError(
            f"{given} limits what a device_map gives each device, and there is none; give "
            'device_map="auto", too'
        )
    if device_map is not None and device.type != "cpu":
        raise ValueError(
            f"device_map says where the weights go, and so does device={str(device)!r}; give one"
        )
    options: dict[str, Any] = {}
    if device_map is not None:
        places = device_map.values() if isinstance(device_map, Mapping) else [device_map]
        if "meta" in {str(place) for place in places}:
            raise ValueError(
                'device_map puts weights on "meta", which keeps no numbers; give "cpu", "disk" or '
                "a device"
            )
        options["device_map"] = dict(device_map) if isinstance(device_map, Mapping) else device_map
        options["max_memory"] = None if max_memory is None else dict(max_memory)
        options["offload_folder"] = None if offload_folder is None else str(offload_folder)
    if quantization_config is not None:
        _require_bitsandbytes(quantization_config)
        options["quantization_config"] = quantization_config
        if device_map is None and device.type != "cpu":
            options["device_map"] = {"": str(device)}
    return options


def _require_bitsandbytes(config: Any) -> None:
    kind = type(config).__name__
    if kind != "BitsAndBytesConfig":
        raise ValueError(
            f"quantization_config is {kind}, but what a neuron writes is read only from weights "
            "that bitsandbytes packed; give transformers.BitsAndBytesConfig(load_in_8bit=True) or "
            "(load_in_4bit=True)"
        )
    if find_spec("bitsandbytes") is None:
        raise ValueError(
            "quantization_config asks for bitsandbytes, which is not installed; install it with: "
            "pip install 'lafn_viz[quantised]'"
        )


def require_one_place(device_map: Mapping[str, Any] | None) -> None:
    """Refuse a model whose layers compute on several devices, with ValueError.

    Args:
        device_map: as transformers has settled it.
    """
    places = {str(place) for place in (device_map or {}).values()}
    devices = sorted(places - {"cpu", "disk"})
    if len(devices) > 1 or (devices and len(places) > 1):
        raise ValueError(
            f"its layers are spread over {listed(sorted(places))}, and the values of all layers "
            "are read on one device; give a device_map of one GPU alone, or of cpu and disk, or "
            "make the weights smaller (dtype, quantization_config)"
        )
