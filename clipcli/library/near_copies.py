"""Which of many vectors are near to one another, exactly and in blocks, so that memory does not grow with their square.

Shapes: M vectors, D embedding, B block, R rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["taken_by"]

_ROWS, _COLUMNS = 1024, 8192  # a block of products is 32 MB
_PAIRS_AT_ONCE = 4096
_FREE, _OUT = -1, -2  # in place of who takes a vector: nobody so far, nobody ever
_OFF_LENGTH = 1e-3  # of the squared length; embeddings are within 1e-6

Vectors = NDArray[np.float32]


def taken_by(
    rows: Vectors,  # (N, D), of length 1
    order: NDArray[np.intp],  # (M,), which rows, the ones to keep first
    threshold: float,
    apart: Mapping[int, frozenset[int]],
    on_progress: Callable[[int], None],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For each place in `order` the place of the one it is a near copy of, -1 where it is kept; and their cosines.

    In order, each vector that nobody has taken yet is kept and takes all later ones whose cosine with it is at least
    `threshold`, except those it is held `apart` from (places by place). So every one that is taken is near to the one
    that is kept for it, not only to something in between. Decided as in float64. `on_progress` is told how many more
    are done.
    """
    count = len(order)
    taker = np.full(count, _FREE, dtype=np.intp)
    cosines = np.zeros(count)
    with np.errstate(all="ignore"):  # damaged vectors, which are near to nothing
        for start in range(0, count, _ROWS):
            part = slice(start, start + _ROWS)
            taker[part][~_sound(rows[order[part]])] = _OUT
        for start in range(0, count, _ROWS):
            end = min(start + _ROWS, count)
            block = np.flatnonzero(taker[start:end] == _FREE) + start
            own = rows[order[block]]  # (B, D)
            inside = _near(own, own, threshold)  # (B, B)
            for number, place in enumerate(block):
                if taker[place] == _FREE:
                    found = inside[number] & (taker[block] == _FREE) & (block > place)
                    _hold_apart(found, block, apart.get(int(place)))
                    taker[block[found]] = place
            _sweep(rows, order, block[taker[block] == _FREE], end, threshold, apart, taker)
            on_progress(end - start)
        taken = np.flatnonzero(taker >= 0)
        for some in np.array_split(taken, len(taken) // _PAIRS_AT_ONCE + 1):
            cosines[some] = _exact(rows[order[some]], rows[order[taker[some]]])
    taker[taker == _OUT] = _FREE
    return taker, cosines


def _sweep(
    rows: Vectors,
    order: NDArray[np.intp],
    kept: NDArray[np.intp],
    start: int,
    threshold: float,
    apart: Mapping[int, frozenset[int]],
    taker: NDArray[np.intp],
) -> None:
    """Let the kept ones of a block take what comes after the block."""
    if not len(kept):
        return
    keepers = rows[order[kept]]  # (B, D)
    for begin in range(start, len(order), _COLUMNS):
        rest = np.flatnonzero(taker[begin : begin + _COLUMNS] == _FREE) + begin
        near = _near(keepers, rows[order[rest]], threshold)  # (B, R)
        for number, place in enumerate(kept):
            _hold_apart(near[number], rest, apart.get(int(place)))
        found = near.any(axis=0)
        taker[rest[found]] = kept[near.argmax(axis=0)[found]]  # the first that is near


def _sound(some: Vectors) -> NDArray[np.bool_]:
    """Whether vectors have length 1. A longer one would seem near to much that it is not."""
    return np.asarray(np.abs(np.einsum("nd,nd->n", some, some) - 1) < _OFF_LENGTH)


def _hold_apart(found: NDArray[np.bool_], places: NDArray[np.intp], others: frozenset[int] | None) -> None:
    if others:
        found &= ~np.isin(places, list(others))


def _near(one: Vectors, other: Vectors, threshold: float) -> NDArray[np.bool_]:
    """Whether the cosine is at least the threshold: by float32, and where that cannot tell, by float64."""
    products = one @ other.T
    near = products >= threshold
    doubt = (one.shape[1] + 2) * 2.0**-24  # as in clipcli.library.search
    left, right = np.nonzero(np.abs(products - np.float32(threshold)) <= doubt)
    for start in range(0, len(left), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        near[left[part], right[part]] = _exact(one[left[part]], other[right[part]]) >= threshold
    return near


def _exact(one: Vectors, other: Vectors) -> NDArray[np.float64]:
    return np.asarray(np.einsum("nd,nd->n", one.astype(np.float64), other.astype(np.float64), optimize=False))
