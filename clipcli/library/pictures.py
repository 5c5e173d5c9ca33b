"""Single pictures of the library, by id or by path: their vectors, and what is known about them.

Shapes: D embedding.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import LibraryDamagedError, NotFoundError
from clipcli.library.models import find_stored
from clipcli.library.roots import read_roots
from clipcli.library.sqlite_errors import shown
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, to_stored

__all__ = ["FACTS", "facts_of", "image_at", "images_at", "vector_at", "vector_of"]

FACTS = ("width", "height", "format", "taken_at", "taken_from", "camera", "lens", "latitude", "longitude")
_IDS_AT_ONCE = 500


def vector_of(library: Library, image_id: int, *, identity: str, precision: str | None = None) -> NDArray[np.float32]:
    """The unit vector (D,) the library has of a picture. Raises NotFoundError where it has none of that model,
    LibraryDamagedError for one that is no direction.
    """
    with library.read() as connection:
        if connection.execute("SELECT 1 FROM images WHERE id = ?", (image_id,)).fetchone() is None:
            raise NotFoundError(f"the library has no picture with the id {image_id}")
        model = find_stored(library, identity=identity, precision=precision)
        row = connection.execute(
            "SELECT vector FROM embeddings WHERE image_id = ? AND model_id = ?", (image_id, model.id)
        ).fetchone()
    if row is None or len(row[0]) != 4 * model.dimension:
        raise NotFoundError(f"the picture with the id {image_id} has no embedding by the model {model.name}")
    vector = np.frombuffer(row[0], dtype="<f4")
    if not np.isfinite(vector).all() or not vector.any():
        raise LibraryDamagedError(f"the library {shown(library.path)} is damaged (the vector of image {image_id})")
    return vector


def vector_at(
    library: Library, path: bytes, *, identity: str, precision: str | None = None
) -> NDArray[np.float32] | None:
    """The unit vector (D,) the library has of the file at a path; None where it has none, or the file has changed."""
    image_id = image_at(library, path)
    if image_id is None:
        return None
    try:
        now = os.stat(path)
    except OSError:
        return None
    with library.read() as connection:
        model = find_stored(library, identity=identity, precision=precision)
        unchanged = connection.execute(
            "SELECT 1 FROM images JOIN embeddings ON embeddings.image_id = images.id AND embeddings.model_id = ? "
            "AND embeddings.digest = images.digest "
            "WHERE images.id = ? AND NOT images.stale AND images.size = ? AND images.mtime_ns = ?",
            (model.id, image_id, now.st_size, now.st_mtime_ns),
        ).fetchone()
        return vector_of(library, image_id, identity=identity, precision=precision) if unchanged else None


def image_at(library: Library, path: bytes) -> int | None:
    """The id of the picture at a path; links in the folders above it are seen through, as when it was indexed."""
    (found,) = images_at(library, [path])
    return found


def images_at(library: Library, paths: Iterable[bytes]) -> list[int | None]:
    """As `image_at`, for many."""
    real = functools.lru_cache(maxsize=1024)(os.path.realpath)
    found: list[int | None] = []
    with library.read() as connection:
        roots = [(root.id, absolute(root.path, b"x")[:-1]) for root in read_roots(library)]
        for path in paths:
            folder, name = os.path.split(os.path.abspath(path))
            full = os.path.join(real(folder), name)
            rows = (
                connection.execute(
                    "SELECT id FROM images WHERE root_id = ? AND path = ?", (root_id, to_stored(full[len(above) :]))
                ).fetchone()
                for root_id, above in roots
                if full.startswith(above)
            )
            found.append(next((int(row[0]) for row in rows if row is not None), None))
    return found


def facts_of(library: Library, image_ids: Sequence[int]) -> dict[int, dict[str, object]]:
    """`FACTS` of each picture that is in the library, by its id; None for what is not known."""
    found: dict[int, dict[str, object]] = {}
    with library.read() as connection:
        for start in range(0, len(image_ids), _IDS_AT_ONCE):
            part = image_ids[start : start + _IDS_AT_ONCE]
            marks = ",".join("?" * len(part))
            for image_id, *facts in connection.execute(
                f"SELECT id, {', '.join(FACTS)} FROM images WHERE id IN ({marks})", part
            ):
                found[image_id] = dict(zip(FACTS, facts, strict=True))
    return found
