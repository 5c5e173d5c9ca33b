"""What the options of `clip train` may be."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import typer

__all__ = ["Objective", "SameText", "TrainPrecision", "Tune", "valued"]


class SameText(StrEnum):
    """What rows of one batch with the same text are to each other."""

    positive = "positive"
    ignore = "ignore"
    negative = "negative"


class TrainPrecision(StrEnum):
    """Number format of the matrix products; weights are kept in float32."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class Objective(StrEnum):
    """What is learnt from a pair."""

    contrastive = "contrastive"
    sigmoid = "sigmoid"
    bag_of_words = "bag-of-words"
    caption = "caption"


class Tune(StrEnum):
    """What fine-tuning changes."""

    full = "full"
    lora = "lora"
    head = "head"
    image = "image"
    text = "text"


def valued(*names: str, metavar: str, help: str) -> Any:
    """An option that takes a value, whose default its help text says."""
    return typer.Option(*names, metavar=metavar, help=help, show_default=False)
