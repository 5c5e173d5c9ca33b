"""Where the training runs, and in which number format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from clipcli.errors import DeviceError
from trainer.options import TrainOptions

__all__ = ["Compute", "choose_compute", "wants_cuda"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Compute:
    """A device and the format of its matrix products; weights and optimiser stay in float32."""

    device: torch.device
    dtype: torch.dtype

    @property
    def label(self) -> str:
        """What to tell the person: `cuda (NVIDIA …), bf16`."""
        name = f" ({torch.cuda.get_device_name(self.device)})" if self.device.type == "cuda" else ""
        formats = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
        return f"{self.device}{name}, {formats[self.dtype]}"

    @property
    def autocast(self) -> Callable[[], torch.autocast]:
        """Makes a fresh context of mixed precision (Micikevicius et al. 2017), which does nothing in fp32."""
        mixed = self.dtype != torch.float32
        return lambda: torch.autocast(self.device.type, dtype=self.dtype if mixed else torch.bfloat16, enabled=mixed)


def choose_compute(options: TrainOptions) -> Compute:
    """The device asked for and the fastest format it has units for.

    Raises:
        DeviceError: the device cannot be used, or not with this format.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    wanted = options.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise DeviceError(f"there is no device called {wanted!r}; use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"training runs on cpu or cuda, not on {wanted!r}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError("torch finds no CUDA device it can use; --device cpu trains on the processor")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"there is no {wanted}; torch sees {torch.cuda.device_count()} CUDA devices")
    if options.precision == "fp16" and device.type == "cpu":
        raise DeviceError("fp16 training needs a CUDA device; the processor takes bf16 or fp32")
    formats = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if options.precision != "auto":
        return Compute(device=device, dtype=formats[options.precision])
    return Compute(device=device, dtype=torch.bfloat16 if _has_bf16(device) else torch.float32)


def wants_cuda(options: TrainOptions) -> bool:
    """Whether `choose_compute` would take a GPU, if it can be used at all."""
    return options.device != "cpu" and torch.cuda.is_available()


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Without such units bf16 is emulated, and slower than float32. Versions of torch that cannot tell count as without.
    abilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(abilities.get("amx_bf16") or abilities.get("avx512_bf16"))
