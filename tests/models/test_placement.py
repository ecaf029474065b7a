from types import SimpleNamespace

import pytest
import torch

from lafn_viz.models.placement import as_device, as_dtype


@pytest.fixture(params=[None, "cuda", "mps"])
def devices(request, monkeypatch) -> list[str]:
    """The devices of a machine that has none but the CPU, or two accelerators of a kind."""
    kind = request.param
    found = SimpleNamespace(type=kind) if kind else None
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    return ["cpu", *([f"{kind}:0", f"{kind}:1"] if kind else [])]


def test_a_device_of_this_machine_goes_by_its_name_with_or_without_a_number(devices):
    for name in {*devices, *(name.split(":")[0] for name in devices)}:
        for given in (name, torch.device(name)):
            assert as_device(given) == torch.device(name)


@pytest.mark.parametrize("name", ["cuda:7", "gpu", "auto", "meta", "xpu", "", "cpu:1"])
def test_any_other_device_is_refused_with_those_that_there_are(devices, name):
    with pytest.raises(ValueError, match=rf"^device='{name}', but on this machine") as refused:
        as_device(name)
    assert all(device in str(refused.value) for device in devices)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "float64"])
def test_a_number_type_goes_by_its_name(name):
    dtype = getattr(torch, name)
    assert as_dtype(name) is as_dtype(f"torch.{name}") is as_dtype(dtype) is dtype


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.float8_e4m3fn, "auto", "fp17"])
def test_any_other_number_type_is_refused_with_those_that_there_are(dtype):
    name = "dtype='?" + str(dtype).removeprefix("torch.")
    with pytest.raises(ValueError, match=f"^{name}'?, but weights are read as float32, bfloat16"):
        as_dtype(dtype)
