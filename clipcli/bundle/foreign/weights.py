"""Which kind of weights a path holds, by the names of its files alone: nothing is opened, and no torch is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from clipcli.errors import NotFoundError

__all__ = [
    "OPENCLIP_CONFIG",
    "TRANSFORMERS_CONFIG",
    "TRANSFORMERS_INDEXES",
    "TRANSFORMERS_WEIGHTS",
    "WeightsKind",
    "find_weights",
]

WeightsKind = Literal["checkpoint", "openclip", "transformers"]

OPENCLIP_CONFIG = "open_clip_config.json"
TRANSFORMERS_CONFIG = "config.json"
TRANSFORMERS_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
TRANSFORMERS_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def find_weights(path: Path) -> tuple[WeightsKind, Path]:
    """The kind, and what is to be read: the folder, or the one file where no configuration lies beside it.

    Raises NotFoundError where there is nothing, or a folder in which nothing is known.
    """
    if path.is_file():
        return "checkpoint", path
    if not path.is_dir():
        raise NotFoundError(f"no such file or folder: {path}")
    if (path / OPENCLIP_CONFIG).is_file():
        return "openclip", path
    alone = sorted(path.glob("*.pt"))
    if len(alone) == 1 and not any((path / name).is_file() for name in (*TRANSFORMERS_WEIGHTS, *TRANSFORMERS_INDEXES)):
        return "checkpoint", alone[0]
    if (path / TRANSFORMERS_CONFIG).is_file():
        return "transformers", path
    raise NotFoundError(
        f"{path} holds no model known here: neither ONNX graphs in a known layout nor {OPENCLIP_CONFIG} or "
        f"{TRANSFORMERS_CONFIG} (for a single weights file, name the file)"
    )
