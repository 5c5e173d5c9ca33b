"""What is measured on, made on the spot: photographs of real sizes and costs, and filled libraries."""

from __future__ import annotations

import io
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
ROWS_AT_ONCE = 65_536


def made_photos(folder: Path, count: int, *, size: tuple[int, int] = PHOTO_SIZE, distinct: int | None = None) -> None:
    """JPEGs with structure at every scale, as photographs have: they cost what photographs cost.

    Beyond `distinct` of them the same pictures come again, as files of other content: a comment differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    made: list[bytes] = []
    for number in range(count):
        if len(made) < (distinct or count):
            made.append(_made_photo(generator, size))
        note = str(number).encode()
        comment = b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note  # COM (ITU-T T.81, B.2.4.5)
        content = made[number % len(made)]
        (folder / f"{number:05d}.jpg").write_bytes(content[:2] + comment + content[2:])


def _made_photo(generator: np.random.Generator, size: tuple[int, int]) -> bytes:
    layers = np.zeros((size[1], size[0], 3), dtype=np.float32)  # (H, W, 3)
    for side, weight in ((4, 90.0), (16, 45.0), (64, 22.0), (256, 11.0)):
        noise = generator.normal(0, weight, size=(side * 3 // 4, side, 3))
        for channel in range(3):
            layer = Image.fromarray(noise[:, :, channel].astype(np.float32))
            layers[:, :, channel] += np.asarray(layer.resize(size, Image.Resampling.BICUBIC))
    out = io.BytesIO()
    Image.fromarray(np.clip(layers + 128, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def made_vectors(count: int, dimension: int) -> NDArray[np.float32]:
    """(N, D), unit vectors in no particular order."""
    random = np.random.default_rng(1)
    vectors = np.empty((count, dimension), dtype=np.float32)
    for start in range(0, count, ROWS_AT_ONCE):  # a million in float64 would be 4 GB
        part = vectors[start : start + ROWS_AT_ONCE]
        part[:] = random.normal(size=part.shape)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def filled_library(
    path: Path, spec: ModelSpec, precision: str, vectors: NDArray[np.float32], *, folder: str = ""
) -> None:
    """A library that says it holds these vectors of that model, which lies in `folder` unless it is the default one.

    There are no picture files behind them.
    """
    root = b"/photos"
    for left in path.parent.glob(f"{path.name}*"):  # of an earlier run, perhaps of another model
        left.unlink()

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
            folder=folder,
            dimension=vectors.shape[1],
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
