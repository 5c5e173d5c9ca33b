"""Which classes are taken for which."""

from __future__ import annotations

import numpy as np

from clipcli.evaluate.confusions import answers, confusion_matrix, worst_confusions
from clipcli.render.confusion_figure import MOST_CLASSES, shown_classes


def test_answers_are_the_nearest_classes() -> None:
    given, cosines = answers(np.asarray([[1.0, 0.0], [0.6, 0.8]]), np.asarray([[1.0, 0.0], [0.0, 1.0]]))
    assert given.tolist() == [0, 1]
    assert np.allclose(cosines, [1.0, 0.8])


def test_the_matrix_has_true_classes_in_rows() -> None:
    counts = confusion_matrix(np.asarray([0, 0, 1, 2]), np.asarray([0, 1, 1, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_the_worst_pair_comes_first_and_in_it_the_surest_picture() -> None:
    wanted, given = np.asarray([0, 1, 1, 2, 1]), np.asarray([1, 0, 0, 2, 2])
    first, second = worst_confusions(wanted, given, np.asarray([0.9, 0.1, 0.5, 1.0, 0.2]), 2)
    assert (first.wanted, first.given, first.pictures) == (1, 0, (2, 1))
    assert (second.wanted, second.given, second.pictures) == (0, 1, (0,))


def test_of_many_classes_those_with_mistakes_are_shown() -> None:
    counts = np.diag(np.full(100, 5))
    counts[90, 7] = 3
    shown = shown_classes(counts)
    assert len(shown) == MOST_CLASSES - 1
    assert {7, 90} <= set(shown)
