"""Soft labels: a column of numbers for each picture, either probabilities of classes or a vector from elsewhere.

Shapes: N rows, K numbers a row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.datasets.rows import Row
from clipcli.errors import DataError

__all__ = ["SoftLabels", "read_soft_labels"]

MOST = 0.5  # share of the rows beyond which the others are taken for mistakes
SUM = 1e-2  # within which numbers from 0 on that add up to 1 are probabilities


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftLabels:
    """`values` (N, K) by row number, NaN where a row has none."""

    values: NDArray[np.float32]
    probabilities: bool  # else vectors, of which the direction counts

    @property
    def width(self) -> int:
        return int(self.values.shape[1])


def read_soft_labels(rows: Sequence[Row], used: Sequence[int], place: int, column: str) -> SoftLabels:
    """Of the rows `used`, what their further column number `place` holds.

    A list of numbers (Parquet, JSON lines, tar shards), or a text of numbers with blanks, commas or semicolons between
    them, in brackets or not.

    Raises:
        DataError: no row has any, one is no list of numbers, or not as long as the others.
    """
    found: dict[int, NDArray[np.float32]] = {}
    for number in used:
        given = rows[number].further[place] if len(rows[number].further) > place else None
        if given is None or (isinstance(given, str) and not given):
            continue
        try:
            values = _numbers(given)
        except (TypeError, ValueError):
            raise DataError(f"{rows[number].name}: {column!r} is no list of numbers: {str(given)[:60]}") from None
        width = len(next(iter(found.values()), values))
        if len(values) != width:
            raise DataError(f"{rows[number].name}: {column!r} has {len(values)} numbers, and others have {width}")
        found[number] = values
    if not found:
        raise DataError(f"no row has anything in a column {column!r} (--soft-labels)")
    width = len(next(iter(found.values())))
    if width < 2:
        raise DataError(f"{column!r} has one number a row: soft labels are a probability for each class, or a vector")
    made = np.full((len(rows), width), np.nan, dtype=np.float32)
    for number, values in found.items():
        made[number] = values
    held = made[list(found)]
    alike = (held >= 0).all(axis=1) & (np.abs(held.sum(axis=1) - 1) < SUM)  # (rows that have some,)
    probabilities = bool(alike.all())
    if not probabilities and alike.mean() > MOST:
        odd = rows[list(found)[int(np.argmin(alike))]].name
        raise DataError(
            f"{odd}: {column!r} is no probabilities, which nearly all others are (numbers from 0 on, 1 in all)"
        )
    return SoftLabels(values=made, probabilities=probabilities)


def _numbers(given: object) -> NDArray[np.float32]:
    """Raises TypeError or ValueError."""
    if isinstance(given, str):
        text = given.strip()
        given = json.loads(text) if text.startswith("[") else text.replace(",", " ").replace(";", " ").split()
    if not isinstance(given, list | tuple | np.ndarray) or not len(given):
        raise TypeError
    values = np.asarray(given, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError
    return values.astype(np.float32)
