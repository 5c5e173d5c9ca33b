"""Inputs that parity is measured on: photographs and texts of the caller's, or made ones where nothing else is allowed.

Shapes: N images, S image size, T texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.preprocess import normalise, resize_and_crop
from clipcli.bundle.spec import Preprocess
from clipcli.errors import DataError, ImageError
from clipcli.photos.decode import open_image
from trainer.sources import IMAGE_ENDINGS, Row, read_source

__all__ = ["Samples", "made_samples", "read_samples"]

SENTENCES = (
    "a photo of a cat.",
    "a photo of a red motorcycle.",
    "two dogs run through the snow",
    "A man in a blue shirt is standing on a ladder cleaning a window.",
    "a child holding a balloon at the beach",
    "an aerial view of a city at night",
    "a bowl of soup on a wooden table",
    "three people sit around a fire and talk",
    "a black and white picture of an old house",
    "a page of printed text",
    "the rocket stands on its launch pad",
    "a group of musicians plays in a small park while people walk past",
    "close-up of a flower with yellow petals",
    "airplane",
    "a crowded street market with fruit, vegetables and many colourful signs",
    "",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """Pictures resized and cropped but not yet normalised, texts, and which picture each text is about where known."""

    images: NDArray[np.uint8]  # (N, S, S, 3)
    texts: tuple[str, ...]  # T of them
    text_to_image: NDArray[np.int64] | None = None  # (T,)

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[3] != 3 or self.images.dtype != np.uint8:
            raise ValueError(f"images must be (N, S, S, 3) of uint8, not {self.images.shape} of {self.images.dtype}")
        if not len(self.images) or not self.texts:
            raise DataError("parity needs at least one picture and one text to be measured on")
        if self.text_to_image is not None and self.text_to_image.shape != (len(self.texts),):
            raise ValueError("text_to_image must have one entry per text")

    def pixels(self, preprocess: Preprocess, *, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Pictures start to stop as the image tower takes them, (N, 3, S, S)."""
        return np.stack([normalise(image, preprocess) for image in self.images[start:stop]])


def read_samples(
    paths: Sequence[Path],
    preprocess: Preprocess,
    *,
    limit: int | None = None,
    columns: tuple[str | None, str | None] = (None, None),
) -> Samples:
    """Up to `limit` pictures of folders, or of pairs in CSV, TSV or Parquet files, with what is said of them.

    Captions are taken where there are any, else labels in a sentence, else sentences of our own. Pictures that cannot
    be read are left out. Raises NotFoundError; DataError where none is left.
    """
    share = None if limit is None else -(-limit // len(paths))
    rows = [row for path in paths for row in _pictures(_rows(path, columns))[:share]]
    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(lambda row: _decode(row, preprocess), rows))
    images = [image for image in decoded if image is not None]
    if not images:
        raise DataError(f"{', '.join(map(str, paths))}: no picture that can be read")
    kept = [row for row, image in zip(rows, decoded, strict=True) if image is not None]
    pairs = [(text, number) for number, row in enumerate(kept) for text in row.captions]
    if pairs:
        texts, owners = zip(*pairs, strict=True)
        return Samples(images=np.stack(images), texts=texts, text_to_image=np.array(owners, dtype=np.int64))
    labels = sorted({row.label.split(",")[0] for row in kept if row.label})
    sentences = tuple(f"a photo of a {label}." for label in labels)
    return Samples(images=np.stack(images), texts=sentences or SENTENCES)


def made_samples(preprocess: Preprocess, count: int = 12, seed: int = 0) -> Samples:
    """Pictures from a generator with the spectrum of photographs (amplitude falls as 1/frequency), and fixed sentences.

    For what is given away with a model: nobody's photographs should travel in it. Field 1987, "Relations between the
    statistics of natural images and the response properties of cortical cells".
    """
    random = np.random.default_rng(seed)
    size = preprocess.image_size
    across = np.fft.fftfreq(size)
    frequency = np.hypot(across[:, None], across[None, :])  # (S, S)
    frequency[0, 0] = 1 / size
    images = []
    for _ in range(count):
        noise = np.fft.fft2(random.normal(size=(size, size, 4)), axes=(0, 1)) / frequency[:, :, None]
        planes = np.fft.ifft2(noise, axes=(0, 1)).real  # (S, S, 4)
        planes /= planes.std(axis=(0, 1))
        colour = planes[:, :, 3:] + 0.5 * planes[:, :, :3] + random.normal(0, 0.3, 3)  # mostly grey, as the world is
        left, top, width, height = (random.uniform(0.05, 0.5, 4) * size).astype(int)
        colour[top : top + height, left : left + width] += random.normal(0, 1.2, 3)  # an edge that noise does not have
        images.append(np.clip(colour * 45 + 115, 0, 255).astype(np.uint8))
    return Samples(images=np.stack(images), texts=SENTENCES)


def _rows(path: Path, columns: tuple[str | None, str | None]) -> list[Row]:
    """Pairs, or the pictures of a folder. A folder of class folders counts as pairs."""
    if not path.is_dir():
        return read_source(path, image_column=columns[0], text_column=columns[1]).rows
    files = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in IMAGE_ENDINGS and file.is_file()]
    if any(file.parent == path for file in files):
        return [Row(image=file, name=str(file)) for file in files]
    return read_source(path).rows


def _pictures(rows: Sequence[Row]) -> list[Row]:
    """One row for each picture, with all that is said of it: a table may have a line a caption."""
    found: dict[Path | bytes, Row] = {}
    for row in rows:
        before = found.get(row.image)
        found[row.image] = row if before is None else replace(before, captions=before.captions + row.captions)
    return list(found.values())


def _decode(row: Row, preprocess: Preprocess) -> NDArray[np.uint8] | None:
    try:
        image = open_image(row.image)
        return np.asarray(resize_and_crop(image, preprocess))
    except ImageError:
        return None
