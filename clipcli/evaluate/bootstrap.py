"""How sure a figure is: bootstrap intervals over pictures, and those of paired differences between models.

Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (the percentile interval). Pictures are drawn
with replacement, the same ones for every model, so that what is hard for all of them cancels out of a difference. A
picture is drawn with all its captions: captions of one picture are not independent of each other.
Shapes: N pictures, R resamples, G groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RESAMPLES", "Estimate", "Outcome", "estimates", "value_of"]

RESAMPLES = 2000
SHARE = 0.95
_AT_ONCE = 4_000_000  # entries of the matrix of counts

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of each picture: the figure is the mean over groups of sum(right) / sum(asked).

    Without `groups` all are one. With the classes for groups it is the mean of the classes' shares.
    """

    right: Floats  # (N,)
    asked: Floats  # (N,) of how many; 0 where the picture takes no part
    groups: NDArray[np.intp] | None = None  # (N,)

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (self.right, self.asked, self.groups) if array is not None}
        if len(shapes) != 1 or self.right.ndim != 1 or not len(self.right):
            raise ValueError(f"expected arrays of one length, got {shapes}")
        if not (self.asked > 0).any() or (self.asked < 0).any():
            raise ValueError("nothing was asked")


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A figure with its 95 % interval, and how far it is above that of the first model, with that interval."""

    value: float
    low: float
    high: float
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None


def value_of(outcome: Outcome) -> float:
    """The figure on the pictures as they are."""
    return float(_figures(np.ones((1, len(outcome.right))), outcome)[0])


def estimates(outcomes: Sequence[Outcome], *, resamples: int = RESAMPLES, seed: int = 0) -> list[Estimate]:
    """One figure of several models on the same pictures, the first of which the others are compared with.

    Raises ValueError where the pictures are not the same number.
    """
    total = len(outcomes[0].right)
    if any(len(outcome.right) != total for outcome in outcomes):
        raise ValueError("models are compared on the same pictures")
    drawn = [np.concatenate(parts) for parts in zip(*_resampled(outcomes, total, resamples, seed), strict=True)]  # (R,)
    values = [value_of(outcome) for outcome in outcomes]
    found = []
    for place, (value, figures) in enumerate(zip(values, drawn, strict=True)):
        low, high = _interval(figures)
        if not place:
            found.append(Estimate(value=value, low=low, high=high))
            continue
        worse, better = _interval(figures - drawn[0])
        difference = value - values[0]
        found.append(
            Estimate(
                value=value, low=low, high=high, difference=difference, difference_low=worse, difference_high=better
            )
        )
    return found


def _resampled(outcomes: Sequence[Outcome], total: int, resamples: int, seed: int) -> Iterator[list[Floats]]:
    """For block after block of resamples the figure of each model."""
    random = np.random.default_rng(seed)
    rows = max(1, _AT_ONCE // total)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        picked = random.integers(0, total, (count, total))
        places = picked + total * np.arange(count)[:, None]
        weights = np.bincount(places.ravel(), minlength=count * total).reshape(count, total).astype(np.float64)
        yield [_figures(weights, outcome) for outcome in outcomes]


def _figures(weights: Floats, outcome: Outcome) -> Floats:
    """(R, N) how often each picture was drawn -> (R,). A group that was not drawn does not count."""
    if outcome.groups is None:
        right, asked = weights @ outcome.right, weights @ outcome.asked
        shares: Floats = np.divide(right, asked, out=np.full(len(weights), np.nan), where=asked > 0)
        return shares
    order = np.argsort(outcome.groups, kind="stable")
    starts = np.flatnonzero(np.diff(outcome.groups[order], prepend=-1))
    right, asked = (
        np.add.reduceat(weights[:, order] * part[order], starts, axis=1) for part in (outcome.right, outcome.asked)
    )  # (R, G)
    each = np.divide(right, asked, out=np.zeros_like(right), where=asked > 0)
    drawn = (asked > 0).sum(axis=1)
    means: Floats = np.divide(each.sum(axis=1), drawn, out=np.full(len(weights), np.nan), where=drawn > 0)
    return means


def _interval(figures: Floats) -> tuple[float, float]:
    low, high = np.nanquantile(figures, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)
