"""Pictures made worse on purpose, always in the same way: what a model that is robust does not mind.

Each change is applied to the square the model is about to see (S x S pixels), so that it is as strong for a small
picture as for a large one, and for one model as for another with the same image size.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["CHANGES"]


def _blur(picture: Picture) -> Picture:
    return picture.filter(ImageFilter.GaussianBlur(picture.width / 64))


def _noise(picture: Picture) -> Picture:
    levels = np.asarray(picture, dtype=np.float32)  # (S, S, 3)
    noise = np.random.default_rng(0).normal(0.0, 25.0, levels.shape)
    return Image.fromarray(np.clip(levels + noise, 0, 255).astype(np.uint8))


def _jpeg(picture: Picture) -> Picture:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=10)
    with Image.open(buffer) as again:
        return again.convert("RGB")


def _rotation(picture: Picture) -> Picture:
    return picture.rotate(15, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))


def _scale(picture: Picture) -> Picture:
    small = picture.resize((max(1, picture.width // 4), max(1, picture.height // 4)), Image.Resampling.BICUBIC)
    return small.resize(picture.size, Image.Resampling.BICUBIC)


def _greyscale(picture: Picture) -> Picture:
    return picture.convert("L").convert("RGB")


# Gaussian of S/64; normal noise of 25 levels; quality 10; 15 degrees; a quarter of the width and back; no colour.
CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "rotation": _rotation,
    "scale": _scale,
    "greyscale": _greyscale,
}
