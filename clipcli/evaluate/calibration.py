"""Whether a model's probabilities are what they say: reliability, and the expected calibration error.

Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2: pictures in bins of equal width by the
probability of the answer given; the error is the mean of |share right - mean probability| over the bins, weighted by
their pictures.
Shapes: N images, K bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "Bin", "calibration_error", "reliability"]

BINS = 15  # as there


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """Answers with a probability above `low` and up to `high`. The means are NaN where there are none."""

    low: float
    high: float
    pictures: int
    probability: float  # mean of the answers'
    right: float  # share of the answers


def reliability(probabilities: NDArray[np.floating], right: NDArray[np.bool_], *, bins: int = BINS) -> list[Bin]:
    """(N,) probabilities of the answers given, and whether each is right -> K bins. Raises ValueError."""
    if probabilities.shape != right.shape or probabilities.ndim != 1 or not len(probabilities):
        raise ValueError(f"expected as many probabilities as answers, got {probabilities.shape} and {right.shape}")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities lie in 0..1")
    at = np.clip(np.ceil(probabilities * bins).astype(np.intp) - 1, 0, bins - 1)  # (N,)
    found = []
    for place in range(bins):
        own = at == place
        count = int(own.sum())
        found.append(
            Bin(
                low=place / bins,
                high=(place + 1) / bins,
                pictures=count,
                probability=float(probabilities[own].mean()) if count else float("nan"),
                right=float(right[own].mean()) if count else float("nan"),
            )
        )
    return found


def calibration_error(bins: list[Bin]) -> float:
    """The expected calibration error, from 0 to 1."""
    total = sum(one.pictures for one in bins)
    return sum(one.pictures * abs(one.right - one.probability) for one in bins if one.pictures) / total
