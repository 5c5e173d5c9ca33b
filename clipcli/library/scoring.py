"""Cosines of a query with many vectors: float32 finds out which come into question, float64 decides among them.

Shapes: N images, D embedding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import UsageError

__all__ = [
    "LIKE_NOTHING",
    "as_direction",
    "best_rows",
    "exact_cosines",
    "mean_and_spread",
    "rounding_doubt",
    "score_rows",
]

_ROWS_AT_ONCE = 65536  # 128 MB of 512 numbers each: a larger library never has to be in memory as a whole
_EXACT_AT_ONCE = 8192
_MANY = 1 / 8
_BLOCK, _FEWEST_BLOCKS = 512, 4  # scores; blocks for each result asked for
LIKE_NOTHING = -2  # the score of a damaged vector, below any cosine


def as_direction(query: NDArray[np.floating], dimension: int) -> NDArray[np.float64]:
    """(D,) of length 1, so that a product with a unit vector is a cosine."""
    flat = np.asarray(query, dtype=np.float64).reshape(-1)
    length = float(np.linalg.norm(flat))
    if len(flat) != dimension or not np.isfinite(length) or length == 0:
        raise UsageError(f"a query needs {dimension} finite numbers that are not all zero")
    return flat / length


def score_rows(
    rows: NDArray[np.float32], direction: NDArray[np.float64], chosen: NDArray[np.intp] | None
) -> NDArray[np.float32]:
    """Cosines of the chosen rows, in blocks, so that a library larger than memory can be searched."""
    if chosen is not None and len(chosen) > len(rows) * _MANY:  # reading all is quicker than copying so many
        return score_rows(rows, direction, None)[chosen]
    narrow = direction.astype(np.float32)
    count = len(rows) if chosen is None else len(chosen)
    scores = np.empty(count, dtype=np.float32)
    for start in range(0, count, _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        np.matmul(rows[part] if chosen is None else rows[chosen[part]], narrow, out=scores[part])
    scores[~np.isfinite(scores)] = LIKE_NOTHING
    return scores


def mean_and_spread(scores: NDArray[np.float32]) -> tuple[float, float]:
    sound = scores[scores > LIKE_NOTHING].astype(np.float64)
    return (float(sound.mean()), float(sound.std())) if len(sound) else (0.0, 0.0)


def best_rows(
    rows: NDArray[np.float32],  # (N, D)
    direction: NDArray[np.float64],  # (D,)
    chosen: NDArray[np.intp] | None,
    scores: NDArray[np.float32],  # of the chosen rows
    k: int | None,
    least: float | None,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Rows of the results in order, and their cosines in float64. Ids ascend with the row, which settles ties."""
    doubt = rounding_doubt(len(direction))
    bound = _surely_reached(scores, k)
    candidates = np.flatnonzero(scores > LIKE_NOTHING if bound is None else scores >= bound - doubt)
    if least is not None:
        candidates = candidates[scores[candidates] >= least - doubt]
    if k is not None and k < len(candidates):
        among = scores[candidates]
        kth = float(np.partition(among, len(among) - k)[len(among) - k])
        candidates = candidates[among >= kth - doubt]
    places = candidates if chosen is None else chosen[candidates]
    exact = exact_cosines(rows, places, direction)
    order = np.argsort(-exact, kind="stable")
    if least is not None:
        order = order[exact[order] >= least]
    order = order[:k]
    return places[order], exact[order]


def _surely_reached(scores: NDArray[np.float32], k: int | None) -> float | None:
    """A score that at least `k` rows have: the k-th largest of the largest of each block. None where it says nothing.

    It saves going through all scores more than twice, and a partition of a million numbers.
    """
    blocks = len(scores) // _BLOCK
    if k is None or blocks < _FEWEST_BLOCKS * k:
        return None
    largest = scores[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
    bound = float(np.partition(largest, blocks - k)[blocks - k])
    return bound if bound > LIKE_NOTHING / 2 else None


def rounding_doubt(dimension: int) -> float:
    """How near to a limit a float32 cosine has to lie for float64 to decide.

    A dot product of unit vectors in float32 is off by at most D unit roundoffs (Higham 2002, 3.1), and the query was
    rounded too. This is twice that.
    """
    return 2 * (dimension + 2) * 2.0**-24


def exact_cosines(
    rows: NDArray[np.float32], places: NDArray[np.intp], direction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Those of some rows, in float64."""
    exact = np.empty(len(places))
    for start in range(0, len(places), _EXACT_AT_ONCE):
        part = slice(start, start + _EXACT_AT_ONCE)
        exact[part] = _products(rows[places[part]], direction)
    return exact


def _products(rows: NDArray[np.float32], direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row by row: equal vectors get equal scores wherever they stand, which a matrix product does not promise."""
    return np.asarray(np.einsum("nd,d->n", rows.astype(np.float64), direction, optimize=False))
