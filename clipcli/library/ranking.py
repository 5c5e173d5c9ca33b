"""All results of a query, put in order only as far as somebody looks: for a page that is scrolled.

Shapes: N images, D embedding.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from clipcli.library.scoring import (
    LIKE_NOTHING,
    as_direction,
    best_rows,
    exact_cosines,
    mean_and_spread,
    rounding_doubt,
    score_rows,
)

__all__ = ["Ranking"]

_MOST_SCORED_APART = 0.25  # of the rows: to copy more of them out takes longer than to score all

Ids = NDArray[np.int64]


class Ranking:
    """Pictures by their cosine with a query, best first, ties by id: the same pictures, scores and order as `find`.

    `ids` (N,) ascend and go with the unit vectors `rows` (N, D). Only those in `allowed` (ids, ascending; None: all)
    and not in `leave_out` count. `query` is (D,), of any length but zero. Raises UsageError where it does not fit. The
    first results are decided when they are asked for, the order of all when more is; safe to use from several threads.
    """

    def __init__(
        self,
        ids: Ids,
        rows: NDArray[np.float32],
        query: NDArray[np.floating],
        *,
        allowed: Ids | None = None,
        leave_out: Collection[int] = (),
        threshold: float | None = None,
        min_sigma: float | None = None,
    ) -> None:
        self._ids, self._rows = ids, rows
        self._direction = as_direction(query, rows.shape[1])
        self._lock = threading.Lock()
        self._chosen = _chosen(ids, allowed, leave_out)
        every: NDArray[np.float32] | None = None
        if self._chosen is None or min_sigma is not None or len(self._chosen) > _MOST_SCORED_APART * len(ids):
            every = score_rows(rows, self._direction, None)
        if every is None:
            self._scores = score_rows(rows, self._direction, self._chosen)
        else:
            self._scores = every if self._chosen is None else every[self._chosen]
        self.searched = len(ids)
        self.considered = len(self._scores)
        best = float(self._scores.max()) if len(self._scores) else LIKE_NOTHING
        self.best = best if best > LIKE_NOTHING else None
        self.best_sigma: float | None = None
        limits = [] if threshold is None else [threshold]
        if min_sigma is not None and every is not None:
            mean, spread = mean_and_spread(every)
            limits.append(mean + min_sigma * spread if spread > 0 else math.inf)
            if self.best is not None:
                self.best_sigma = (self.best - mean) / spread if spread > 0 else 0.0
        self._least = max(limits, default=None)
        self.total = self._count()
        self._ordered = self._order(0)

    def part(self, start: int, count: int) -> tuple[Ids, NDArray[np.float64]]:
        """Ids and cosines of the results from `start` on, at most `count` of them."""
        end = min(start + count, self.total)
        with self._lock:
            if end > len(self._ordered[0]):
                few = end <= self.total // 8
                self._ordered = self._order(2 * end if few else None)
            places, cosines = self._ordered
        return self._ids[places[start:end]], cosines[start:end]

    def by_id(self) -> tuple[Ids, NDArray[np.float64]]:
        """All results by ascending id, for another order than that of the scores; these are as exact as float32 is."""
        places = np.flatnonzero(self._passing())
        rows = places if self._chosen is None else self._chosen[places]
        return self._ids[rows], self._scores[places].astype(np.float64)

    def _order(self, k: int | None) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        if k == 0:
            return np.empty(0, dtype=np.intp), np.empty(0)
        return best_rows(self._rows, self._direction, self._chosen, self._scores, k, self._least)

    def _count(self) -> int:
        return int(np.count_nonzero(self._passing()))

    def _passing(self) -> NDArray[np.bool_]:
        """Which of the scores are results; those near to the limit are decided by float64."""
        if self._least is None:
            return self._scores > LIKE_NOTHING
        doubt = rounding_doubt(len(self._direction))
        passing = self._scores >= self._least + doubt
        near = np.flatnonzero((self._scores >= self._least - doubt) & ~passing)
        places = near if self._chosen is None else self._chosen[near]
        passing[near] = exact_cosines(self._rows, places, self._direction) >= self._least
        return passing


def _chosen(ids: Ids, allowed: Ids | None, leave_out: Collection[int]) -> NDArray[np.intp] | None:
    """Which rows count, ascending; None for all of them."""
    if allowed is None and not leave_out:
        return None
    keep = np.ones(len(ids), dtype=np.bool_) if allowed is None else np.isin(ids, allowed, assume_unique=True)
    if leave_out:
        keep &= ~np.isin(ids, np.array(list(leave_out), dtype=np.int64))
    return np.flatnonzero(keep)
