"""What a run does when it is told nothing: one set for fine-tuning, one for pretraining, and recipes between them.

A recipe is a TOML file of `TrainOptions` fields. The order is: these defaults, the recipe, the command line.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from clipcli.errors import NotFoundError, UsageError
from trainer.options import TrainOptions

__all__ = ["BY_PAIRS", "FINE_TUNING", "PRETRAINING", "RECIPE_FIELDS", "compose", "read_recipe", "settle"]

# A tower that is good already must not be thrown far from where it is: a small rate, whole pictures, fixed statistics.
FINE_TUNING: dict[str, Any] = {
    "weight_decay": 0.1,
    "warmup": 0.1,
    "crop_min": 0.8,
    "freeze_batch_norm": True,
    "validation_least": 50,
}
# Of fine-tuning, by the number of pairs to train on, each up to its first number: measured at 300 and 3,000
# (docs/experiments.md), and carried on from there. `RATE` multiplies the rate by what `--tune` changes; where the image
# tower changes as well, more is forgotten, and the weights go back further.
BY_PAIRS: tuple[tuple[float, dict[str, Any]], ...] = (
    (1_000, {"tune": "text", "epochs": 12.0, "batch_size": 64, "lr": 2e-4, "anchor": 0.6}),
    (10_000, {"tune": "text", "epochs": 5.0, "batch_size": 128, "lr": 2e-4, "anchor": 0.7}),
    (math.inf, {"tune": "text", "epochs": 3.0, "batch_size": 256, "lr": 2e-4, "anchor": 0.7}),
)
RATE = {"full": 1.0, "lora": 5.0, "head": 5.0, "image": 1.0, "text": 2.5}
ANCHOR_OF_IMAGES = 0.85
# 32 epochs as the paper; its crop, a random square of the resized picture, is made stronger, as pictures are few.
PRETRAINING: dict[str, Any] = {
    "epochs": 32,
    "batch_size": 256,
    "lr": 1e-3,
    "weight_decay": 0.1,
    "warmup": 0.05,
    "crop_min": 0.6,
    "validation_least": 50,
}
DEFAULT_ARCHITECTURE = "RN-nano-64"
# What says where a run happens, and not what it is, has no place in a recipe.
RECIPE_FIELDS = frozenset(TrainOptions.__dataclass_fields__) - {
    "name",
    "data",
    "validation",
    "keep",
    "by_pairs",
    "start",
    "distill",
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
        merged["by_pairs"] = tuple(name for name in BY_PAIRS[0][1] if name not in merged)
    else:
        merged = {"arch": DEFAULT_ARCHITECTURE, **PRETRAINING, **recipe, **given}
    return TrainOptions.from_mapping(merged)


def settle(options: TrainOptions, pairs: int) -> TrainOptions:
    """`options` for so many pairs to train on: what was left open (`by_pairs`) gets its value."""
    values = dict(next(values for most, values in BY_PAIRS if pairs < most))
    tune = values["tune"] if "tune" in options.by_pairs else options.tune
    values["lr"] *= RATE[tune]
    if tune != "text":
        values["anchor"] = ANCHOR_OF_IMAGES
    return dataclasses.replace(options, by_pairs=(), **{name: values[name] for name in options.by_pairs})
