"""Where training runs: what is asked for and cannot be used is an error, never something else instead."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipcli.errors import DeviceError
from tests.training.tiny import options
from trainer import device
from trainer.device import choose_compute


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("cuda", "torch finds no CUDA device"),
        ("cuda:1", "torch finds no CUDA device"),
        ("gpu", "there is no device called 'gpu'"),
        ("mps", "training runs on cpu or cuda"),
        ("cpu:x", "there is no device called 'cpu:x'"),
    ],
)
def test_devices_that_cannot_be_used(wanted: str, message: str, no_cuda: None) -> None:
    with pytest.raises(DeviceError, match=message):
        choose_compute(options(Path("x"), device=wanted))


def test_half_precision_needs_a_gpu(no_cuda: None) -> None:
    with pytest.raises(DeviceError, match="fp16 training needs a CUDA device"):
        choose_compute(options(Path("x"), precision="fp16"))


@pytest.mark.parametrize(("has_units", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_format_is_the_fastest_there_is(
    has_units: bool, dtype: torch.dtype, no_cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_units}, raising=False)
    compute = choose_compute(options(Path("x"), precision="auto", device="auto"))
    assert (compute.device.type, compute.dtype) == ("cpu", dtype)
    assert compute.label == f"cpu, {'bf16' if has_units else 'fp32'}"
    product = torch.ones(2, 2)
    with compute.autocast():
        assert (product @ product).dtype == dtype
    assert choose_compute(options(Path("x"), precision="bf16")).dtype == torch.bfloat16


def test_threads(no_cuda: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    choose_compute(options(Path("x")))
    choose_compute(options(Path("x"), threads=3))
    assert asked == [3]


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(DeviceError, match="there is no cuda:1; torch sees 1 CUDA devices"):
        choose_compute(options(Path("x"), device="cuda:1"))
    found = choose_compute(options(Path("x"), device="auto", precision="auto"))
    assert (found.device.type, found.dtype) == ("cuda", torch.float32)
    assert device.choose_compute(options(Path("x"), device="cuda:0", precision="fp16")).dtype == torch.float16
