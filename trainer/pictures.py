"""Training pictures: decoded once, kept small, cropped anew for every batch.

Shapes: B batch, H W pixels, S the model's image size.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipcli.bundle.preprocess import resize_and_crop
from clipcli.bundle.spec import Preprocess
from clipcli.datasets.rows import Row, Stored, content_of
from clipcli.errors import ImageError
from clipcli.photos.decode import file_error, open_image

__all__ = ["Crop", "PictureStore", "available_memory", "whole_crop"]

Pixels = NDArray[np.uint8]

# Crops smaller than the whole picture come from a version this much larger than the model's image size: enlarging a
# small crop costs detail, and keeping more than this costs memory for detail that the model cannot see.
KEPT_SCALE = 1.25


def available_memory() -> int:
    """Memory in bytes that can be had without swapping, as the system tells; 2 GiB where it does not."""
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):  # what is free and what caches would give back
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
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


def whole_crop() -> Crop:
    """The square in the middle."""
    return Crop(side=1.0, across=0.5, down=0.5, mirrored=False)


class PictureStore:
    """Pictures by row number; what does not fit in `budget` bytes is decoded again each time it is asked for.

    Rows of one picture share what is kept of it. `digests` tells equal files apart from different ones, by row.
    """

    def __init__(
        self, rows: Sequence[Row], preprocess: Preprocess, *, crop_min: float, budget: int, side: int = 0
    ) -> None:
        """`side` is the pixels of whoever else looks at the pictures."""
        self.rows = rows
        self.preprocess = preprocess
        seen = max(preprocess.image_size, side)
        self.kept_side = seen if crop_min >= 1 else round(seen * KEPT_SCALE)
        self.budget = budget
        self.kept: dict[int, Pixels] = {}
        self.asked = 0  # rows looked at when the run began
        self.unreadable: frozenset[int] = frozenset()  # those of them whose picture could not be read
        self.digests: dict[int, bytes] = {}

    def load(self, numbers: Sequence[int], advance: Callable[[int], None]) -> list[tuple[int, str]]:
        """Decode each picture once; (row, reason) for each row whose picture cannot be. Keeps what fits the budget."""
        owners: dict[Path | bytes | Stored, list[int]] = {}
        for number in numbers:
            owners.setdefault(self.rows[number].image, []).append(number)
        of_pictures = list(owners.values())
        bad: list[tuple[int, str]] = []
        used = 0

        def decode(of_picture: list[int]) -> tuple[Pixels | None, bytes, str]:
            try:
                return self._decode(of_picture[0]), self._digest(of_picture[0]), ""
            except ImageError as error:
                return None, b"", error.reason

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            for start in range(0, len(of_pictures), 1024):  # in pieces, so that few decoded pictures wait at a time
                piece = of_pictures[start : start + 1024]
                for of_picture, (pixels, digest, reason) in zip(piece, pool.map(decode, piece), strict=True):
                    if pixels is None:
                        bad.extend((number, reason) for number in of_picture)
                        continue
                    self.digests.update(dict.fromkeys(of_picture, digest))
                    if used + pixels.nbytes <= self.budget:
                        self.kept.update(dict.fromkeys(of_picture, pixels))
                        used += pixels.nbytes
                advance(sum(map(len, piece)))
        self.asked, self.unreadable = len(numbers), frozenset(number for number, _ in bad)
        return sorted(bad)

    def crop(self, number: int, crop: Crop, out: Pixels) -> None:
        """Write the crop into `out` (S, S, 3), resized to it. Raises ImageError where the picture has broken since."""
        pixels = self.kept.get(number)
        picture = Image.fromarray(pixels if pixels is not None else self._decode(number))
        side = max(1.0, crop.side * min(picture.size))
        left = crop.across * (picture.width - side)
        top = crop.down * (picture.height - side)
        size = len(out)
        square = picture.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
        np.copyto(out, np.asarray(square)[:, ::-1] if crop.mirrored else np.asarray(square))

    def whole(self, number: int) -> Pixels:
        """(S, S, 3): the picture as inference sees it. Raises ImageError."""
        picture = open_image(content_of(self.rows[number].image), hint=self.preprocess.image_size)
        return np.asarray(resize_and_crop(picture, self.preprocess))

    def wholes(self, numbers: Sequence[int], advance: Callable[[int], None]) -> Iterator[Pixels | ImageError]:
        """`whole` of many, in order; an error stands in the place of a picture that cannot be read."""

        def decode(number: int) -> Pixels | ImageError:
            try:
                return self.whole(number)
            except ImageError as error:
                return error

        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            for start in range(0, len(numbers), 1024):
                piece = numbers[start : start + 1024]
                yield from pool.map(decode, piece)
                advance(len(piece))

    def contents(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """The digest of each row's picture, but of those that cannot be read."""
        found: dict[int, bytes] = {}
        for number in numbers:
            try:
                found[number] = self.digests[number] if number in self.digests else self._digest(number)
            except ImageError:
                continue
        return found

    def _digest(self, number: int) -> bytes:
        image = content_of(self.rows[number].image)
        if isinstance(image, bytes):
            return hashlib.sha256(image).digest()
        try:
            with image.open("rb") as file:  # decoded a moment ago, so it comes out of memory
                return hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise file_error(error) from error

    def _decode(self, number: int) -> Pixels:
        """(H, W, 3), the shorter side at most `kept_side`."""
        picture = open_image(content_of(self.rows[number].image), hint=self.kept_side)
        shorter = min(picture.size)
        if shorter > self.kept_side:
            scale = self.kept_side / shorter
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            picture = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
        return np.asarray(picture)
