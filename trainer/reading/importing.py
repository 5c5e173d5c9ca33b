"""`clip models import`: a model of another project, found out by content, as towers and all that belongs to them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from clipcli.bundle.foreign.weights import find_weights
from clipcli.errors import ModelError
from trainer.checkpoints import fill
from trainer.pictures import available_memory
from trainer.reading import openclip, transformers_folder
from trainer.reading.found import Choices, Found
from trainer.towers import Clip

__all__ = ["build", "provenance_of", "read_model"]

_SPARE = 1.2  # times the weights in float32: what building towers of them takes besides


def read_model(path: Path, choices: Choices) -> Found:
    """What lies at `path`.

    Raises:
        NotFoundError: there is nothing, or a folder that holds no model known here.
        UsageError: something is open that `choices` can tell.
        ModelError: it is damaged, hostile, or of a kind that is not known here.
    """
    kind, source = find_weights(path)
    if kind == "checkpoint":
        return openclip.read_checkpoint(source, choices)
    if kind == "openclip":
        return openclip.read_folder(source, choices)
    return transformers_folder.read_folder(source, choices)


def build(found: Found) -> Clip:
    """The towers with their weights, in float32, in evaluation mode. Raises ModelError where they do not fit."""
    needed = sum(tensor.numel() for tensor in found.state.values()) * 4
    if needed * _SPARE > available_memory():
        raise ModelError(
            f"these towers need {needed * _SPARE / 1e9:.1f} GB of memory, {available_memory() / 1e9:.1f} GB are free"
        )
    with torch.device("meta"):
        model = Clip(found.config)
    counters = {
        name: torch.zeros((), dtype=torch.long) for name in model.state_dict() if name.endswith("num_batches_tracked")
    }
    weights = {
        name: (tensor.float() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in found.state.items()
    }
    fill(model, counters | weights, found.weights, assign=True)
    if any(not bool(tensor.isfinite().all()) for tensor in model.state_dict().values()):
        raise ModelError(f"{found.weights} holds weights that are not finite")
    return model.eval().requires_grad_(False)


def provenance_of(found: Found) -> dict[str, Any]:
    """For `model.json`: what was read, by name and digest, never where it lay on this machine."""
    with found.weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"imported_from": found.kind, "file": found.weights.name, "sha256": digest, **found.facts}
