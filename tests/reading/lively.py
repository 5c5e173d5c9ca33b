"""Weights that are a function of their name and shape alone, so that reference values need no weights beside them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FOLDER = Path(__file__).parent / "references"
PICTURES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """What a peer computed: a configuration in its own form, shapes by its own names, tokens, embeddings."""

    name: str
    format: str  # "openai", "open_clip" or "transformers"
    library: str
    config: Mapping[str, Any]
    shapes: Mapping[str, Sequence[int]]
    size: int  # pixels
    tokens: Tensor  # (T, L)
    images: NDArray[np.float32]  # (N, D)
    texts: NDArray[np.float32]  # (T, D)


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """No branch is silent: norms, biases and running statistics are moved away from zero and one."""
    made = {}
    for name, shape in shapes.items():
        random = np.random.RandomState(zlib.crc32(name.encode()))
        noise = random.standard_normal(tuple(shape)).astype(np.float32)
        if name.endswith("num_batches_tracked"):
            made[name] = torch.tensor(7)
            continue
        if name.endswith("running_var"):
            values = 0.5 + random.random_sample(tuple(shape)).astype(np.float32)
        elif name in ("logit_scale", "logit_bias"):
            values = np.full(tuple(shape), 3.0 if name == "logit_scale" else -9.0, dtype=np.float32)
        elif len(shape) <= 1:
            gain = any(part in name for part in ("norm", "ln_", ".bn", "downsample.1")) and name.endswith("weight")
            values = (1.0 if gain else 0.0) + 0.2 * noise
        elif "embedding" in name or "pos_embed" in name or name.endswith(("probe", "latent", "cls_token")):
            values = 0.5 * noise
        else:
            values = noise * float(np.prod(shape[1:])) ** -0.5 * 2.0
        made[name] = torch.from_numpy(np.asarray(values, dtype=np.float32))
    return made


def pixels(size: int) -> Tensor:
    """(N, 3, S, S): noise, coarse and fine, around a colour of its own."""
    random = np.random.RandomState(11)
    colour, coarse = random.standard_normal((PICTURES, 3, 1, 1)), random.standard_normal((PICTURES, 3, 4, 4))
    fine = random.standard_normal((PICTURES, 3, size, size))
    spread = np.arange(size) * 4 // size
    return torch.from_numpy((colour + coarse[:, :, spread][:, :, :, spread] + 0.5 * fine).astype(np.float32))


def save(reference: Reference) -> None:
    facts = {
        "format": reference.format,
        "library": reference.library,
        "size": reference.size,
        "config": reference.config,
        "shapes": {name: list(shape) for name, shape in reference.shapes.items()},
    }
    (FOLDER / f"{reference.name}.json").write_text(json.dumps(facts) + "\n", "utf-8")
    np.savez_compressed(
        FOLDER / f"{reference.name}.npz",
        tokens=reference.tokens.numpy(),
        images=reference.images,
        texts=reference.texts,
    )


def load(name: str) -> Reference:
    facts = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return Reference(
            name=name,
            format=facts["format"],
            library=facts["library"],
            config=facts["config"],
            shapes=facts["shapes"],
            size=facts["size"],
            tokens=torch.from_numpy(arrays["tokens"]),
            images=arrays["images"],
            texts=arrays["texts"],
        )
