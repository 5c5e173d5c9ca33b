"""One more epoch, or fine-tuning, at a higher resolution (Radford et al. 2021, section 2.5: "FixRes"): the same towers,
more positions.

Shapes: S side of the grid of positions, C width.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipcli.errors import UsageError
from trainer import checkpoints
from trainer.config import ArchConfig, MobileConfig, ResNetConfig
from trainer.options import TrainOptions

__all__ = ["enlarge_run", "enlarged", "enlarged_at", "fits", "last_epoch", "with_positions"]

FINER = 0.1  # of the learning rate; the paper does not say
POSITIONS = ("image_tower.positional_embedding", "image_tower.attnpool.positional_embedding")


def enlarged(config: ArchConfig, image_size: int) -> ArchConfig:
    """The same towers for larger pictures.

    Raises:
        UsageError: the size is not larger, or does not suit the towers.
    """
    if isinstance(config.image, MobileConfig):
        raise UsageError(f"{config.name} has no positions to interpolate, and keeps the size of its pictures")
    if image_size <= config.image.image_size:
        raise UsageError(
            f"{image_size} pixels are not more than the {config.image.image_size} that {config.name} has already"
        )
    image = dataclasses.replace(config.image, image_size=image_size)
    return dataclasses.replace(config, image=image, name=f"{config.name}@{image_size}px")


def with_positions(weights: Mapping[str, Tensor], config: ArchConfig) -> dict[str, Tensor]:
    """`weights` with the positions of the image tower interpolated (bicubic) to the grid of `config`."""
    made = dict(weights)
    if isinstance(config.image, MobileConfig):
        return made
    side = config.image.final_side if isinstance(config.image, ResNetConfig) else config.image.side
    for name in POSITIONS:
        if name in made:
            made[name] = _interpolated(made[name], side)
    return made


def _interpolated(positions: Tensor, side: int) -> Tensor:
    """(S S, C) or (1 + S S, C), the first for what stands for the whole picture, to another S."""
    before = int(len(positions) ** 0.5)
    whole, grid = torch.split(positions.float(), [len(positions) - before**2, before**2])
    if before == side:
        return positions
    maps = grid.T.reshape(1, -1, before, before)
    larger = F.interpolate(maps, size=(side, side), mode="bicubic", align_corners=False)  # (1, C, S, S)
    return torch.cat([whole, larger[0].flatten(1).T]).to(positions.dtype)


def enlarged_at(facts: Mapping[str, Any]) -> int:
    """The step from which on a run has larger pictures; 0 where it has not come to that."""
    return int(facts.get("enlarged_at", 0))


def fits(state: Mapping[str, Any] | None, model: nn.Module) -> bool:
    """Whether a saved state is of towers for pictures of this size."""
    sizes = {name: tensor.shape for name, tensor in model.state_dict().items() if name in POSITIONS}
    return state is not None and all(state["model"][name].shape == size for name, size in sizes.items())


def last_epoch(options: TrainOptions) -> TrainOptions:
    """One more epoch, at a smaller learning rate: what is there already is to be refined."""
    return dataclasses.replace(options, epochs=1.0, lr=FINER * options.lr)


def enlarge_run(run: Path, step: int, image_size: int) -> None:
    """From here on the run has larger pictures, and begins with the best weights so far.

    `towers.json` is replaced last, and says which side of this a run that was killed is on.
    """
    facts = checkpoints.read_facts(run)
    config = enlarged(ArchConfig.from_dict(facts["towers"]), image_size)
    weights = checkpoints.load_weights(run / checkpoints.BEST)
    checkpoints.save_best(run, with_positions(weights, config))
    facts |= {"towers": config.to_dict(), "enlarged_at": step}
    facts["preprocess"] = {**facts["preprocess"], "image_size": image_size}
    text = json.dumps(facts, indent=2).encode()
    checkpoints.write_atomically(run / checkpoints.FACTS, lambda handle: handle.write(text))
