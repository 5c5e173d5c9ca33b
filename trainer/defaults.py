"""What a run does when it is told nothing: one set for fine-tuning, one for pretraining, and recipes between them.

A recipe is a TOML file of `TrainOptions` fields. The order is: these defaults, the recipe, the command line.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clipcli.errors import NotFoundError, UsageError
from trainer.options import TrainOptions

__all__ = ["FINE_TUNING", "PRETRAINING", "RECIPE_FIELDS", "compose", "read_recipe"]

# A tower that is good already must not be thrown far from where it is: a small rate, whole pictures, fixed statistics.
FINE_TUNING: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 128,
    "lr": 5e-5,  # measured: docs/experiments.md
    "weight_decay": 0.1,
    "warmup": 0.1,
    "crop_min": 0.8,
    "freeze_batch_norm": True,
}
# 32 epochs as the paper; its crop, a random square of the resized picture, is made stronger, as pictures are few.
PRETRAINING: dict[str, Any] = {
    "epochs": 32,
    "batch_size": 256,
    "lr": 1e-3,
    "weight_decay": 0.1,
    "warmup": 0.05,
    "crop_min": 0.6,
}
DEFAULT_ARCHITECTURE = "RN-nano-64"
# What says where a run happens, and not what it is, has no place in a recipe.
RECIPE_FIELDS = frozenset(TrainOptions.__dataclass_fields__) - {
    "name",
    "data",
    "validation",
    "keep",
    "start",
    "device",
    "threads",
}


def read_recipe(path: Path) -> dict[str, Any]:
    """The options in a recipe.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is not TOML, or sets what is no option of a recipe.
    """
    try:
        recipe = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"no such recipe: {path}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"the recipe {path} cannot be read: {error}") from error
    if unknown := sorted(set(recipe) - RECIPE_FIELDS):
        raise UsageError(
            f"{path}: {unknown[0]!r} is nothing a recipe sets; it may set {', '.join(sorted(RECIPE_FIELDS))}"
        )
    return recipe


def compose(
    *,
    start: Path | None,
    recipe: Mapping[str, Any],
    chosen: Mapping[str, Any],
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> TrainOptions:
    """Options of a run that starts from the bundle `start`, or from nothing. What is None in `chosen` does not count;
    in `settings` everything does.

    Raises:
        UsageError: a value makes no sense.
    """
    given = {name: value for name, value in chosen.items() if value is not None} | dict(settings)
    if start is not None:
        merged = {**FINE_TUNING, **{k: v for k, v in recipe.items() if k != "arch"}, **given, "start": str(start)}
    else:
        merged = {"arch": DEFAULT_ARCHITECTURE, **PRETRAINING, **recipe, **given}
    return TrainOptions.from_mapping(merged)
