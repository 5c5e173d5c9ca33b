"""The weights a bundle carries for further training, and the identity made from them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from clipcli.bundle.identity import use_facts
from clipcli.bundle.spec import WEIGHTS_FILE, Preprocess
from clipcli.errors import ModelError

__all__ = ["has_full_matrices", "identity", "stored", "write_weights"]


def stored(state: Mapping[str, Tensor], *, exact: bool = False) -> dict[str, Tensor]:
    """The tensors as `weights.safetensors` keeps them, sorted by name.

    Matrices and filters become fp16. What is small stays as it is: gains, biases, running statistics (a variance of
    1e-9 would become 0) and the logit scale; and so does a matrix that fp16 cannot hold. `exact` keeps every matrix
    that would lose a digit: other people's models go out again as they came in.
    """
    kept = {}
    for name in sorted(state):
        tensor = state[name].detach().cpu()
        if tensor.ndim >= 2 and tensor.is_floating_point():
            half = tensor.half()
            fits = torch.equal(half.float(), tensor.float()) if exact else bool(half.isfinite().all())
            tensor = half if fits else tensor.float()
        elif tensor.is_floating_point():
            tensor = tensor.float()
        kept[name] = tensor.contiguous().clone()
    return kept


def write_weights(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    # Not `save_file`, which makes a file that only its owner may read.
    (folder / WEIGHTS_FILE).write_bytes(safetensors.torch.save(dict(tensors), metadata={"format": "pt"}))


def has_full_matrices(path: Path) -> bool:
    """Whether a bundle's weights were kept exactly, and are to be again. Raises ModelError."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            pieces = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118 (it is no mapping)
            return any(piece.get_dtype() == "F32" and len(piece.get_shape()) >= 2 for piece in pieces)
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"the weights in {path} cannot be read: {str(error).splitlines()[0]}") from error


def identity(
    tensors: Mapping[str, Tensor],
    preprocess: Preprocess,
    tokenizer: bytes,
    context_length: int,
    *,
    cleaning: str = "none",
    pad_id: int = 0,
) -> str:
    """64 hex digits that two models share only if they give the same embeddings.

    Over the weights as `stored`, so that a model exported again from its own bundle keeps its identity, and with it the
    vectors in everybody's libraries.
    """
    digest = hashlib.sha256(b"clip bundle 1\n")
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    digest.update(use_facts(preprocess, context_length, cleaning=cleaning, pad_id=pad_id))
    digest.update(tokenizer)
    return digest.hexdigest()
