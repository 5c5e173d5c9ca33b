"""Which classes are taken for which: the confusion matrix and its worst pairs.

Shapes: N images, C classes, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipcli.evaluate.ranks import check_targets, score_blocks

__all__ = ["Confusion", "answers", "confusion_matrix", "worst_confusions"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """Pictures of class `wanted` that were taken for class `given`; `pictures` are their places, the surest first."""

    wanted: int
    given: int
    pictures: tuple[int, ...]


def answers(
    image_vectors: NDArray[np.floating],  # (N, D)
    class_prototypes: NDArray[np.floating],  # (C, D)
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:  # (N,), (N,)
    """The nearest class of each picture and its cosine; of equally near ones the first."""
    given = np.empty(len(image_vectors), dtype=np.intp)
    cosines = np.empty(len(image_vectors), dtype=np.float32)
    for rows, scores in score_blocks(image_vectors, class_prototypes):
        given[rows] = scores.argmax(axis=1)
        cosines[rows] = scores.max(axis=1)
    return given, cosines


def confusion_matrix(wanted: NDArray[np.integer], given: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """(C, C): how many pictures of the row's class were taken for the column's."""
    check_targets(wanted, len(given), classes)
    check_targets(given, len(wanted), classes)
    counts: NDArray[np.int64] = np.bincount(wanted * classes + given, minlength=classes * classes).astype(np.int64)
    return counts.reshape(classes, classes)


def worst_confusions(
    wanted: NDArray[np.integer],  # (N,)
    given: NDArray[np.integer],  # (N,)
    cosines: NDArray[np.floating],  # (N,) of the answer given
    most: int,
) -> list[Confusion]:
    """The `most` pairs of classes confused most often, the commonest first."""
    pairs: dict[tuple[int, int], list[int]] = {}
    for place in np.flatnonzero(wanted != given).tolist():
        pairs.setdefault((int(wanted[place]), int(given[place])), []).append(place)
    order = sorted(pairs, key=lambda pair: (-len(pairs[pair]), pair))[:most]
    return [
        Confusion(wanted=a, given=b, pictures=tuple(sorted(pairs[a, b], key=lambda place: -float(cosines[place]))))
        for a, b in order
    ]
