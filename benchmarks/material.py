"""What is measured on, made on the spot: photographs of real sizes and costs, and filled libraries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clipcli.bundle.spec import ModelSpec
from clipcli.library.models import register_model
from clipcli.library.roots import add_root
from clipcli.library.store import Library

__all__ = ["filled_library", "made_photos", "made_vectors"]

PHOTO_SIZE = (1600, 1200)


def made_photos(folder: Path, count: int) -> None:
    """JPEGs of 1600 x 1200 with structure at every scale, as photographs have: they cost what photographs cost."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        layers = np.zeros((PHOTO_SIZE[1], PHOTO_SIZE[0], 3), dtype=np.float32)  # (H, W, 3)
        for side, weight in ((4, 90.0), (16, 45.0), (64, 22.0), (256, 11.0)):
            noise = generator.normal(0, weight, size=(side * 3 // 4, side, 3))
            for channel in range(3):
                layer = Image.fromarray(noise[:, :, channel].astype(np.float32))
                layers[:, :, channel] += np.asarray(layer.resize(PHOTO_SIZE, Image.Resampling.BICUBIC))
        picture = Image.fromarray(np.clip(layers + 128, 0, 255).astype(np.uint8))
        picture.save(folder / f"{number:05d}.jpg", quality=90)


def made_vectors(count: int, dimension: int) -> NDArray[np.float32]:
    """(N, D), unit vectors in no particular order."""
    vectors = np.random.default_rng(1).normal(size=(count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def filled_library(path: Path, spec: ModelSpec, precision: str, vectors: NDArray[np.float32]) -> None:
    """A library that says it holds these vectors of that model. There are no picture files behind them."""
    root = b"/photos"

    def images() -> Iterator[tuple[object, ...]]:
        for number in range(len(vectors)):
            yield (number + 1, f"{number // 1000:03d}/{number:06d}.jpg", f"{number:064x}")

    with Library.open(path, write=True, create=True) as library, library.write() as connection:
        root_id = add_root(library, connection, root)
        model_id = register_model(
            connection,
            identity=spec.identity,
            precision=precision,
            name=spec.name,
            folder="",
            dimension=spec.embedding_dim,
        )
        connection.executemany(
            "INSERT INTO images (id, root_id, path, size, mtime_ns, digest, width, height, format) "
            f"VALUES (?, {root_id}, ?, 1, 1, ?, 1600, 1200, 'JPEG')",
            images(),
        )
        connection.executemany(
            f"INSERT INTO embeddings (image_id, model_id, digest, vector) VALUES (?, {model_id}, ?, ?)",
            ((number + 1, f"{number:064x}", vector.tobytes()) for number, vector in enumerate(vectors)),
        )
        library.set_setting("own_model", str(model_id))
