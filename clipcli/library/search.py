"""The pictures nearest to a query: exact cosines against every vector, nothing approximated.

Shapes: N images, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import UsageError
from clipcli.library.models import find_stored
from clipcli.library.roots import read_roots
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored
from clipcli.library.vectors import matrix

__all__ = ["Hit", "nearest", "paths_of"]

_ROWS_AT_ONCE = 65536  # 128 MB of 512 numbers each: a larger library never has to be in memory as a whole
_IDS_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """One result. `score` is the cosine with the query, `path` absolute, `model` the name the library has for it."""

    rank: int
    score: float
    path: bytes
    image_id: int
    model: str


def nearest(
    library: Library,
    query: NDArray[np.float32],
    *,
    identity: str,
    precision: str | None = None,
    k: int | None = 10,
    threshold: float | None = None,
) -> list[Hit]:
    """The `k` pictures (None: all) with the largest cosine of at least `threshold`, best first, ties by image id.

    `query` is (D,) or (1, D), of any length but zero. Raises NotFoundError when the library has no embeddings of the
    model, UsageError when the query does not fit it.
    """
    if k is not None and k < 1:
        raise UsageError(f"at least one result has to be asked for, not {k}")
    with library.read():
        model = find_stored(library, identity=identity, precision=precision)
        direction = _direction(query, model.dimension)
        ids, rows = matrix(library, model)
        scores = np.empty(len(ids), dtype=np.float32)  # (N,)
        for start in range(0, len(ids), _ROWS_AT_ONCE):
            np.matmul(rows[start : start + _ROWS_AT_ONCE], direction, out=scores[start : start + _ROWS_AT_ONCE])
        scores[np.isnan(scores)] = -2  # a damaged vector is like nothing
        best = _best(scores, k, threshold)
        paths = paths_of(library, (int(ids[index]) for index in best))
    hits = ((float(scores[index]), int(ids[index])) for index in best)
    return [
        Hit(rank=rank, score=score, path=paths[image_id], image_id=image_id, model=model.name)
        for rank, (score, image_id) in enumerate(hits, start=1)
    ]


def paths_of(library: Library, image_ids: Iterable[int]) -> dict[int, bytes]:
    """Absolute paths by image id; an id that is not in the library is left out."""
    found: dict[int, bytes] = {}
    with library.read() as connection:
        roots = {root.id: root.path for root in read_roots(library)}
        for part in _parts(image_ids):
            marks = ",".join("?" * len(part))
            for image_id, root_id, path in connection.execute(
                f"SELECT id, root_id, path FROM images WHERE id IN ({marks})", part
            ):
                found[image_id] = absolute(roots[root_id], from_stored(path))
    return found


def _direction(query: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """(D,) of length 1, so that a product with a unit vector is a cosine."""
    flat = np.asarray(query, dtype=np.float32).reshape(-1)
    length = float(np.linalg.norm(flat))
    if len(flat) != dimension or not np.isfinite(length) or length == 0:
        raise UsageError(f"a query needs {dimension} finite numbers that are not all zero")
    return flat / np.float32(length)


def _best(scores: NDArray[np.float32], k: int | None, threshold: float | None) -> NDArray[np.intp]:
    """Indexes of the results, in order. The ids ascend with the index, so a stable sort settles ties by id."""
    candidates = np.arange(len(scores)) if threshold is None else np.flatnonzero(scores >= np.float32(threshold))
    if k is not None and k < len(candidates):
        among = scores[candidates]
        least = np.partition(among, len(among) - k)[len(among) - k]
        candidates = candidates[among >= least]
    order = np.argsort(-scores[candidates], kind="stable")
    return candidates[order][:k]


def _parts(values: Iterable[int]) -> Iterator[list[int]]:
    part: list[int] = []
    for value in values:
        part.append(value)
        if len(part) == _IDS_AT_ONCE:
            yield part
            part = []
    if part:
        yield part
