"""Training pictures: decoded once, kept small, cropped anew for every batch.

Shapes: B batch, H W pixels, S the model's image size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipcli.bundle.preprocess import resize_and_crop
from clipcli.bundle.spec import Preprocess
from clipcli.errors import ImageError
from clipcli.photos.decode import open_image
from trainer.sources import Row

__all__ = ["Crop", "PictureStore", "available_memory"]

Pixels = NDArray[np.uint8]

# Crops smaller than the whole picture come from a version this much larger than the model's image size: enlarging a
# small crop costs detail, and keeping more than this costs memory for detail that the model cannot see.
KEPT_SCALE = 1.25


def available_memory() -> int:
    """Free memory in bytes, as the system tells; 2 GiB where it does not."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Crop:
    """A square of a picture: its side as a share of the shorter side, its place along each axis in 0..1."""

    side: float
    across: float
    down: float
    mirrored: bool


class PictureStore:
    """Pictures by row number; what does not fit in `budget` bytes is decoded again each time it is asked for."""

    def __init__(self, rows: Sequence[Row], preprocess: Preprocess, *, crop_min: float, budget: int) -> None:
        self.rows = rows
        self.preprocess = preprocess
        self.kept_side = preprocess.image_size if crop_min >= 1 else round(preprocess.image_size * KEPT_SCALE)
        self.budget = budget
        self.kept: dict[int, Pixels] = {}

    def load(self, numbers: Sequence[int], advance: Callable[[int], None]) -> list[tuple[int, str]]:
        """Decode the pictures once; (row, reason) for each that cannot be. Keeps what fits in the budget."""
        bad: list[tuple[int, str]] = []
        used = 0

        def decode(number: int) -> tuple[int, Pixels | None, str]:
            try:
                return number, self._decode(number), ""
            except ImageError as error:
                return number, None, error.reason

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            for start in range(0, len(numbers), 1024):  # in pieces, so that few decoded pictures wait at a time
                piece = numbers[start : start + 1024]
                for number, pixels, reason in pool.map(decode, piece):
                    if pixels is None:
                        bad.append((number, reason))
                    elif used + pixels.nbytes <= self.budget:
                        self.kept[number] = pixels
                        used += pixels.nbytes
                advance(len(piece))
        return bad

    def crop(self, number: int, crop: Crop, out: Pixels) -> None:
        """Write the crop, resized to (S, S, 3), into `out`."""
        pixels = self.kept.get(number)
        picture = Image.fromarray(pixels if pixels is not None else self._decode(number))
        side = max(1.0, crop.side * min(picture.size))
        left = crop.across * (picture.width - side)
        top = crop.down * (picture.height - side)
        size = self.preprocess.image_size
        square = picture.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
        np.copyto(out, np.asarray(square)[:, ::-1] if crop.mirrored else np.asarray(square))

    def whole(self, number: int) -> Pixels:
        """(S, S, 3): the picture as inference sees it."""
        return np.asarray(resize_and_crop(self._open(number), self.preprocess))

    def _open(self, number: int, hint: int | None = None) -> Image.Image:
        return open_image(self.rows[number].image, hint=hint)

    def _decode(self, number: int) -> Pixels:
        """(H, W, 3), the shorter side at most `kept_side`."""
        picture = self._open(number, hint=self.kept_side)
        shorter = min(picture.size)
        if shorter > self.kept_side:
            scale = self.kept_side / shorter
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            picture = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
        return np.asarray(picture)
