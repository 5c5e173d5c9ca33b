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

from clipcli.bundle.made_inputs import SENTENCES, made_images
from clipcli.bundle.preprocess import normalise, resize_and_crop
from clipcli.bundle.spec import Preprocess
from clipcli.datasets.rows import IMAGE_ENDINGS, Row, Stored, content_of
from clipcli.datasets.sources import read_source
from clipcli.errors import DataError, ImageError
from clipcli.photos.decode import open_image

__all__ = ["Samples", "made_samples", "read_samples"]


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
    """Made pictures and fixed sentences, where no photographs are given or may travel along (`made_inputs.py`)."""
    images = made_images(preprocess.image_size, count, seed)
    return Samples(images=images, texts=SENTENCES)


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
    found: dict[Path | bytes | Stored, Row] = {}
    for row in rows:
        before = found.get(row.image)
        found[row.image] = row if before is None else replace(before, captions=before.captions + row.captions)
    return list(found.values())


def _decode(row: Row, preprocess: Preprocess) -> NDArray[np.uint8] | None:
    try:
        image = open_image(content_of(row.image))
        return np.asarray(resize_and_crop(image, preprocess))
    except ImageError:
        return None
