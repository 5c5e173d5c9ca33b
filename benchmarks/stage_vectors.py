"""Exact search over ready vectors, warm, one query after the other: this library's, NumPy's, usearch's and faiss's.

Each function prepares one candidate (see `stage_worker`). All of them read the vectors from the library's own cache,
memory-mapped, but faiss, which keeps a copy, and usearch with halves, which has its own file.
Shapes: N images, D embedding, Q queries.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcli.library.models import stored_models
from clipcli.library.search import nearest
from clipcli.library.store import Library
from clipcli.library.vectors import vectors

__all__ = ["clip_nearest", "faiss_flat", "numpy_product", "usearch_halves", "usearch_singles"]

Prepared = tuple[Callable[[], None], dict[str, Any]]
Search = Callable[[NDArray[np.float32]], list[int]]


def clip_nearest(library: str, queries: str, k: int) -> Prepared:
    """All of what a search does once the words are a vector: exact order, paths, scores."""
    opened = Library.open(Path(library))
    (model,) = stored_models(opened)
    return _asked(
        lambda query: [hit.image_id - 1 for hit in nearest(opened, query, identity=model.identity, k=k)], queries
    )


def numpy_product(library: str, queries: str, k: int) -> Prepared:
    """The least that an exact search can be: one product in single precision and its k largest."""
    rows = _rows(library)

    def search(query: NDArray[np.float32]) -> list[int]:
        scores = rows @ query
        best = np.argpartition(scores, len(scores) - k)[-k:]
        return [int(number) for number in best[np.argsort(-scores[best])]]

    return _asked(search, queries)


def usearch_singles(library: str, queries: str, k: int) -> Prepared:
    return _usearch(_rows(library), queries, k)


def usearch_halves(halves: str, queries: str, k: int) -> Prepared:
    rows = np.load(halves, mmap_mode="r")
    return _usearch(rows, queries, k)


def _usearch(rows: NDArray[Any], queries: str, k: int) -> Prepared:
    from usearch.index import MetricKind
    from usearch.index import search as exact

    def search(query: NDArray[np.float32]) -> list[int]:
        found = exact(rows, query.astype(rows.dtype), k, MetricKind.IP, exact=True)
        return [int(key) for key in found.keys]

    return _asked(search, queries, peer=f"usearch {version('usearch')}")


def faiss_flat(library: str, queries: str, k: int) -> Prepared:
    import faiss

    rows = _rows(library)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)

    def search(query: NDArray[np.float32]) -> list[int]:
        _, found = index.search(query[None], k)
        return [int(number) for number in found[0]]

    return _asked(search, queries, peer=f"faiss-cpu {version('faiss-cpu')}")


def _rows(library: str) -> NDArray[np.float32]:
    """(N, D). The row is the image's id less one."""
    with Library.open(Path(library)) as opened:
        (model,) = stored_models(opened)
        return vectors(opened, identity=model.identity)[1]


def _asked(search: Search, queries: str, peer: str | None = None) -> Prepared:
    """A turn is all queries, each by itself. What they find is told once."""
    asked = np.load(queries)  # (Q, D)

    def turn() -> None:
        for query in asked:
            search(query)

    return turn, {"found": [search(query) for query in asked], "peer": peer}
