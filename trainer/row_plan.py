"""Which rows make up step t: a function of the seed and t alone, so a resumed run repeats nothing.

Shapes: B pictures.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import DataError
from trainer.ordering import buffered, packed

__all__ = ["RowPlan"]


class RowPlan:
    """Row numbers for each step. Each source is gone through in an order of its own, shuffled anew every pass."""

    def __init__(
        self,
        groups: Sequence[Sequence[int]],
        weights: Sequence[float],
        batch_size: int,
        seed: int,
        *,
        together: Sequence[Hashable] = (),
        shelves: Sequence[Hashable] = (),
        buffer: int = 0,
    ) -> None:
        """By row number, `together` says which rows belong into one batch, and `shelves` what they are read from: with
        a `buffer`, one shelf after the other."""
        self.together, self.shelves, self.buffer = together, shelves, buffer
        self.groups = [np.asarray(group, dtype=np.int64) for group in groups]
        self.seed = seed
        shares = np.asarray(weights if weights else [len(group) for group in groups], dtype=np.float64)
        exact = batch_size * shares / shares.sum()
        counts = np.floor(exact).astype(int)
        for at in np.argsort(counts - exact, kind="stable")[: batch_size - counts.sum()]:  # largest remainders
            counts[at] += 1
        self.counts = [int(count) for count in counts]
        self.rows = sum(len(group) for group in groups)
        self.batch_size = batch_size
        self._order = lru_cache(maxsize=2 * len(groups))(self._shuffled)

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which as many pictures were seen as there are rows."""
        return math.ceil(self.rows / self.batch_size)

    def __call__(self, step: int, without: frozenset[int] = frozenset()) -> NDArray[np.int64]:
        """(B,) row numbers of step `step`, which counts from 0; for those in `without` others of the same source.

        Raises:
            DataError: no others are left.
        """
        parts: list[np.int64] = []
        for at, (group, count) in enumerate(zip(self.groups, self.counts, strict=True)):
            places = np.arange(step * count, (step + 1) * count)
            parts.extend(self._order(at, int(place // len(group)))[place % len(group)] for place in places)
        numbers = np.asarray(parts, dtype=np.int64)
        if without:
            for place, number in enumerate(numbers.tolist()):
                if number in without:
                    numbers[place] = self._stand_in(step, place, without)
        return numbers

    def _stand_in(self, step: int, place: int, without: frozenset[int]) -> int:
        random = np.random.default_rng((self.seed, 6, step, place))
        group = self.groups[int(np.searchsorted(np.cumsum(self.counts), place, side="right"))]
        for _ in range(50):
            if (number := int(random.choice(group))) not in without:
                return number
        if left := sorted(set(group.tolist()) - without):
            return int(random.choice(left))
        raise DataError("no picture of a source can be read any more")

    def _shuffled(self, group: int, lap: int) -> NDArray[np.int64]:
        random = np.random.default_rng((self.seed, 1, group, lap))
        numbers, count = self.groups[group], self.counts[group]
        numbers = buffered(numbers, self.shelves, self.buffer, random) if self.buffer else random.permutation(numbers)
        if self.together and count:  # a pass begins within a step, where the one before left off
            first = -lap * len(numbers) % count
            most = max(2, min(count, self.batch_size // 2))  # no batch is of one group alone
            numbers = packed(numbers, self.together, first=first, size=count, most=most, random=random)
        return numbers
