"""A map of the pictures: embeddings laid out in the plane, in clusters.

Shapes: N images, D embedding, K clusters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import MissingExtraError

if TYPE_CHECKING:
    from clipcli.browse.jobs import Tell

__all__ = ["METHODS", "Clusters", "draw_map"]

METHODS = ("pca", "umap")
_MOST_POINTS = 50_000
_STEPS = 10_000  # coordinates are whole numbers from 0 to this
_MOST_CLUSTERS = 24
_PICTURES_PER_CLUSTER = 12  # at least, on the average
_ROUNDS = 25
_CLUSTERED_IN = 32  # principal components: beyond them it is mostly noise
_EXAMPLES = 6
_UMAP_STAGES = 2

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Clusters:
    """The mean direction of each cluster (K, D), and how many pictures it has (K,)."""

    means: NDArray[np.float64]
    counts: NDArray[np.intp]


def draw_map(ids: NDArray[np.int64], rows: Vectors, method: str, tell: Tell) -> tuple[dict[str, Any], Clusters]:
    """Of pictures (N,) and their unit vectors (N, D); more than can be drawn are thinned out evenly.

    The same vectors always give the same map. Raises MissingExtraError for UMAP where it is not installed.
    """
    total = len(ids)
    if total > _MOST_POINTS:
        chosen = np.linspace(0, total - 1, _MOST_POINTS).astype(np.intp)
        ids, rows = ids[chosen], rows[chosen]
    sound = np.isfinite(rows).all(axis=1)
    ids, rows = ids[sound], rows[sound]
    if not len(ids):
        empty = {"method": method, "total": total, "ids": [], "x": [], "y": [], "cluster": [], "clusters": []}
        return empty, Clusters(means=np.empty((0, rows.shape[1])), counts=np.empty(0, dtype=np.intp))
    stages = _ROUNDS + (_UMAP_STAGES if method == "umap" else 1)
    components = _principal(rows, _CLUSTERED_IN)  # (N, up to 32)
    tell(1, stages)
    flat = _umap(rows) if method == "umap" else components[:, :2]
    tell(stages - _ROUNDS, stages)
    plane = _fitted(flat)
    wanted = max(1, min(_MOST_CLUSTERS, round(math.sqrt(len(ids) / 2)), len(ids) // _PICTURES_PER_CLUSTER))
    # Clusters are what is seen: of UMAP's plane where that is drawn, else of what the plane leaves out as well.
    near = _clusters(plane.astype(np.float32) if method == "umap" else components, wanted, tell, stages)
    clusters = [
        _described(number, np.flatnonzero(near == number), ids, rows, plane) for number in range(near.max() + 1)
    ]
    means = np.stack([mean for _, mean in clusters])
    result = {
        "method": method,
        "total": total,
        "ids": ids.tolist(),
        "x": plane[:, 0].tolist(),
        "y": plane[:, 1].tolist(),
        "cluster": near.tolist(),
        "clusters": [described for described, _ in clusters],
    }
    return result, Clusters(means=means, counts=np.bincount(near))


def _principal(rows: Vectors, count: int) -> NDArray[np.float32]:
    """(N, up to `count`): the coordinates along the directions in which the pictures differ most, largest first."""
    mean = rows.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), 8192):
        part = rows[start : start + 8192].astype(np.float64) - mean
        covariance += part.T @ part
    _, directions = np.linalg.eigh(covariance)  # ascending
    directions = directions[:, ::-1][:, :count]
    # A direction is as good as its opposite: the largest of its numbers is made positive, so that a map stays as it is.
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(directions.shape[1])])
    found = np.asarray((rows - mean.astype(np.float32)) @ directions.astype(np.float32))
    return found if found.shape[1] > 1 else np.column_stack([found, np.zeros(len(found), dtype=np.float32)])


def _umap(rows: Vectors) -> NDArray[np.float32]:
    """(N, 2) by UMAP (McInnes, Healy and Melville 2018)."""
    try:
        from umap import UMAP
    except ImportError:
        raise MissingExtraError("map", "a map by UMAP") from None
    if len(rows) < 5:
        return _principal(rows, 2)
    neighbours = min(15, len(rows) - 1)
    reducer = UMAP(n_neighbors=neighbours, min_dist=0.1, metric="cosine", random_state=0, n_jobs=1, init="pca")
    return np.asarray(reducer.fit_transform(rows), dtype=np.float32)


def _fitted(flat: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N, 2) whole numbers: the bulk fills the square, and the few far out stand at its edge."""
    low, high = np.percentile(flat, [0.2, 99.8], axis=0)
    middle, half = (low + high) / 2, float(max(np.max(high - low), 1e-9)) / 2
    scaled = (flat - middle) / half
    return np.asarray(np.clip(np.rint((scaled + 1) / 2 * _STEPS), 0, _STEPS), dtype=np.int64)


def _clusters(points: NDArray[np.float32], count: int, tell: Tell, stages: int) -> NDArray[np.intp]:
    """(N,): the cluster of each point, numbered from the largest on. k-means (Lloyd 1982), begun by k-means++."""
    random = np.random.default_rng(0)
    sample = points if len(points) <= 10_000 else points[:: len(points) // 10_000 + 1]
    centres = sample[[int(random.integers(len(sample)))]]
    distances = np.full(len(sample), np.inf)
    while len(centres) < count:
        distances = np.minimum(distances, ((sample - centres[-1]) ** 2).sum(axis=1))
        whole = float(distances.sum())
        if whole <= 0:  # fewer different points than clusters were wanted
            break
        centres = np.vstack([centres, sample[random.choice(len(sample), p=distances / whole)]])
    near = np.zeros(len(points), dtype=np.intp)
    for round_ in range(_ROUNDS):
        squares = (centres**2).sum(axis=1) - 2 * points @ centres.T  # (N, K), less what all have in common
        now = squares.argmin(axis=1)
        tell(stages - _ROUNDS + round_ + 1, stages)
        if round_ and (now == near).all():
            break
        near = now
        for number in range(len(centres)):
            members = near == number
            if members.any():
                centres[number] = points[members].mean(axis=0)
    sizes = np.bincount(near, minlength=len(centres))
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    return rank[near]


def _described(
    number: int, members: NDArray[np.intp], ids: NDArray[np.int64], rows: Vectors, plane: NDArray[np.int64]
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    mean = rows[members].mean(axis=0, dtype=np.float64)  # (D,)
    typical = members[np.argsort(-(rows[members] @ mean.astype(np.float32)), kind="stable")[:_EXAMPLES]]
    x, y = np.median(plane[members], axis=0)
    described = {
        "cluster": number,
        "x": round(float(x)),
        "y": round(float(y)),
        "count": len(members),
        "examples": ids[typical].tolist(),
    }
    return described, mean
