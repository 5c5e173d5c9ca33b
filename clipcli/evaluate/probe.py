"""The linear probe: L2-regularised logistic regression on frozen features (Radford et al. 2021, section 3.2 and A.3).

scikit-learn fits it (L-BFGS, at most 1,000 iterations). The strength is swept over 97 values from 1e-6 to 1e6, eight a
decade, in the paper's way: seven values far apart first, then steps half as wide around the best one.
Shapes: N images, D embedding, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import MissingExtraError

__all__ = [
    "HIGHEST",
    "LOWEST",
    "Parts",
    "best_strength",
    "few_of_each",
    "fitted_answers",
    "split",
    "split_without_test",
]

STEPS_A_DECADE = 8
MOST_STEPS = 6 * STEPS_A_DECADE  # from 1e-6 to 1e6
FIRST_STEP = 2 * STEPS_A_DECADE
MOST_ITERATIONS = 1000

Features = NDArray[np.floating]
Labels = NDArray[np.integer]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """Places of pictures: to fit with, to choose the strength by, to measure with."""

    train: NDArray[np.intp]
    validation: NDArray[np.intp]
    test: NDArray[np.intp]


def split(labels: Labels, *, seed: int) -> Parts:
    """A fifth of each class to measure with and a fifth to choose by, at least one picture each; the rest to fit with.

    A class of fewer than three pictures takes no part.
    """
    random = np.random.default_rng(seed)
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for label in np.unique(labels):
        places = random.permutation(np.flatnonzero(labels == label)).tolist()
        if len(places) < 3:
            continue
        held = max(1, round(len(places) / 5))
        parts[2].extend(places[:held])
        parts[1].extend(places[held : 2 * held])
        parts[0].extend(places[2 * held :])
    train, validation, test = (np.asarray(sorted(part), dtype=np.intp) for part in parts)
    return Parts(train=train, validation=validation, test=test)


def split_without_test(labels: Labels, *, seed: int) -> Parts:
    """A fifth of each class to choose by, at least one picture; the rest to fit with. The test pictures are others.

    Of a class of one picture that one is fitted with.
    """
    random = np.random.default_rng(seed)
    train: list[int] = []
    validation: list[int] = []
    for label in np.unique(labels):
        places = random.permutation(np.flatnonzero(labels == label)).tolist()
        held = 0 if len(places) < 2 else max(1, round(len(places) / 5))
        validation += places[:held]
        train += places[held:]
    parts = (np.asarray(sorted(part), dtype=np.intp) for part in (train, validation, []))
    return Parts(**dict(zip(("train", "validation", "test"), parts, strict=True)))


def few_of_each(labels: Labels, places: NDArray[np.intp], count: int, *, seed: int) -> NDArray[np.intp]:
    """`count` of each class among `places`, or all of a class that has fewer."""
    random = np.random.default_rng(seed)
    kept: list[int] = []
    for label in np.unique(labels[places]):
        own = places[labels[places] == label]
        kept += random.permutation(own)[:count].tolist()
    return np.asarray(sorted(kept), dtype=np.intp)


def fitted_answers(
    features: Features,  # (N, D)
    labels: Labels,  # (N,)
    asked: Features,  # (M, D)
    *,
    strength: float,
) -> NDArray[np.intp]:  # (M,)
    """The class of each picture asked about, by a probe fitted to the others.

    `strength` is scikit-learn's C, the inverse of the weight of the penalty. Raises MissingExtraError.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ModuleNotFoundError:
        raise MissingExtraError("eval", "the linear probe") from None
    with warnings.catch_warnings():
        # After 1,000 iterations it is taken as it is, as in the paper; and one picture a class is no regression.
        warnings.simplefilter("ignore", UserWarning)
        probe = LogisticRegression(C=strength, max_iter=MOST_ITERATIONS).fit(features, labels)
    return np.asarray(probe.predict(asked), dtype=np.intp)


def best_strength(score: Callable[[float], float]) -> float:
    """The strength with the best score, of equally good ones the smallest C among those tried (most regularised)."""
    scores: dict[int, float] = {}

    def try_all(steps: list[int]) -> int:
        for step in steps:
            if step not in scores and abs(step) <= MOST_STEPS:
                scores[step] = score(strength_of(step))
        return min(scores, key=lambda step: (-scores[step], step))

    best = try_all(list(range(-MOST_STEPS, MOST_STEPS + 1, FIRST_STEP)))
    width = FIRST_STEP // 2
    while width:
        best = try_all([best - width, best + width])
        width //= 2
    return strength_of(best)


def strength_of(step: int) -> float:
    return float(10.0 ** (step / STEPS_A_DECADE))


LOWEST, HIGHEST = strength_of(-MOST_STEPS), strength_of(MOST_STEPS)  # where the sweep ends
