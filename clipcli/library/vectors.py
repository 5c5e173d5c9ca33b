"""All vectors of a model as one matrix in memory-mapped files of the user's cache folder.

The database is the truth. The cache is stamped with the library, the model and the state of its embeddings; one that
does not fit exactly is made again, and where none can be written the matrix is held in memory. Nothing here writes to
the library. Shapes: N images, D embedding.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import LibraryDamagedError
from clipcli.library.models import StoredModel, find_stored
from clipcli.library.sqlite_errors import shown
from clipcli.library.store import Library

__all__ = ["cache_folder", "cache_path", "cached_matrix", "caches_of", "matrix", "new_cache", "vectors"]

_MAGIC = b"clip vectors 1\n"
_HEADER_BYTES = 4096  # a page, so that what follows is aligned for any processor
_ROWS_AT_ONCE = 2048
_MAKING = ".making-"
_LEFT_FOR_S = 3600.0

Ids = NDArray[np.int64]
Rows = NDArray[np.float32]


def vectors(library: Library, *, identity: str, precision: str | None = None) -> tuple[Ids, Rows]:
    """Image ids (N,), ascending, and their unit vectors (N, D). Raises NotFoundError when the model has none here.

    The arrays are read-only and may be larger than memory: go through them in blocks.
    """
    with library.read():
        return matrix(library, find_stored(library, identity=identity, precision=precision))


def matrix(library: Library, model: StoredModel) -> tuple[Ids, Rows]:
    """As `vectors`, for a model already looked up within the same `library.read()`."""
    path = cache_path(library, model)
    mark = _mark(path)
    # Mapping two gigabytes anew, page by page, takes longer than the product does.
    if library.mapped is not None and mark is not None and library.mapped[0] == mark:
        return library.mapped[1]
    library.mapped = None
    cached = cached_matrix(path, model)
    if cached is None:
        try:
            _write(library, model, path)
        except OSError:  # no room, no permission: slower, not impossible
            return _in_memory(library, model)
        _forget_others(library, model, path)
        mark, cached = _mark(path), cached_matrix(path, model)
    if cached is None:
        return _in_memory(library, model)
    library.mapped = mark, cached
    return cached


def _mark(path: Path) -> tuple[Path, int, int, int, int] | None:
    """What changes when the file is another one or is written to."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return path, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def cache_folder() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("clip", appauthor=False) / "vectors"


def cache_path(library: Library, model: StoredModel) -> Path:
    """Where the matrix of the model's present state is or will be."""
    return cache_folder() / f"{library.uuid}-{model.id}-{model.state}.vectors"


def caches_of(library: Library, model: StoredModel | None = None) -> list[Path]:
    """The caches of the library, whatever their state; with `model`, of that one only."""
    pattern = f"{library.uuid}-{'*' if model is None else f'{model.id}-*'}.vectors"
    with contextlib.suppress(OSError):  # a folder that cannot be listed has nothing that could be used
        return sorted(cache_folder().glob(pattern))
    return []


def _header(model: StoredModel) -> bytes:
    text = f"{model.identity} {model.precision} {model.state} {model.pictures} {model.dimension}\n"
    return (_MAGIC + text.encode()).ljust(_HEADER_BYTES, b"\0")


def cached_matrix(path: Path, model: StoredModel) -> tuple[Ids, Rows] | None:
    """What the cache holds; None where its name, size or first page does not fit the model's present state."""
    count, dimension = model.pictures, model.dimension
    size = _HEADER_BYTES + count * (8 + 4 * dimension)
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size != size or file.read(_HEADER_BYTES) != _header(model):
                return None
            data = np.memmap(file, dtype=np.uint8, mode="r")
    except (OSError, ValueError):
        return None
    plain = data.view(np.ndarray)
    rows_end = _HEADER_BYTES + count * dimension * 4
    rows = plain[_HEADER_BYTES:rows_end].view("<f4").reshape(count, dimension)  # (N, D)
    return plain[rows_end:].view("<i8"), rows


def _write(library: Library, model: StoredModel, path: Path) -> None:
    with new_cache(path) as file:
        file.write(_header(model))
        ids = []
        for block_ids, block in _blocks(library.connection, model, library.path):
            ids.append(block_ids)
            file.write(block)
        file.write(np.concatenate(ids).tobytes() if ids else b"")


@contextlib.contextmanager
def new_cache(path: Path) -> Iterator[BinaryIO]:
    """To write a file of the cache folder with: under another name, synced and renamed at the end. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _sweep(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_MAKING)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _sweep(folder: Path) -> None:
    """Remove what a search that was killed has left half-made; one that is at it has written to its file just now."""
    for left in folder.glob(f"{_MAKING}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_FOR_S:
                left.unlink()


def _in_memory(library: Library, model: StoredModel) -> tuple[Ids, Rows]:
    ids, blocks = [], []
    for block_ids, block in _blocks(library.connection, model, library.path):
        ids.append(block_ids)
        blocks.append(np.frombuffer(block, dtype="<f4").reshape(-1, model.dimension))
    return np.concatenate(ids), np.concatenate(blocks)


def _blocks(connection: sqlite3.Connection, model: StoredModel, path: Path) -> Iterator[tuple[Ids, bytes]]:
    """Ids and joined vectors, in the order of ids. Raises LibraryDamagedError for a vector of another length."""
    cursor = connection.execute(
        "SELECT image_id, vector FROM embeddings WHERE model_id = ? ORDER BY image_id", (model.id,)
    )
    size = 4 * model.dimension
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        for image_id, vector in rows:
            if len(vector) != size:
                raise LibraryDamagedError(
                    f"the library {shown(path)} is damaged (the vector of image {image_id} has {len(vector)} bytes "
                    f"instead of {size})"
                )
        yield np.array([row[0] for row in rows], dtype="<i8"), b"".join([row[1] for row in rows])


def _forget_others(library: Library, model: StoredModel, kept: Path) -> None:
    """Remove what the library's earlier states left behind. On Windows one that is being searched stays a while."""
    for other in caches_of(library, model):
        if other != kept:
            with contextlib.suppress(OSError):
                other.unlink()
