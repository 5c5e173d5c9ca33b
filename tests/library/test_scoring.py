"""The best of many scores, without going through all of them again; and vectors that stay mapped while they fit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from clipcli.library.scoring import LIKE_NOTHING, as_direction, best_rows, score_rows
from clipcli.library.search import nearest
from clipcli.library.store import Library
from clipcli.library.vectors import cache_folder, vectors
from tests.library.test_search import A, fill, unit

COUNT = 30_000  # more than 512 scores to a block, four blocks to a result


@pytest.mark.parametrize("k", [1, 3, 14, 15, 200, None])
@pytest.mark.parametrize("damaged", [0, 1, COUNT - 40])
def test_the_best_of_many_are_those_of_sorting(k: int | None, damaged: int) -> None:
    rows = unit(COUNT, seed=3)
    rows[100:140] = rows[7]  # equals, which the row decides between
    rows[COUNT - damaged :] = np.nan
    direction = as_direction(unit(1, seed=4)[0], rows.shape[1])
    scores = score_rows(rows, direction, None)
    places, cosines = best_rows(rows, direction, None, scores, k, None)
    exact = np.einsum("nd,d->n", rows.astype(np.float64), direction, optimize=False)
    sound = np.flatnonzero(scores > LIKE_NOTHING)
    expected = sound[np.argsort(-exact[sound], kind="stable")][:k]
    assert places.tolist() == expected.tolist()
    assert cosines.tolist() == exact[expected].tolist()


def test_all_equal() -> None:
    rows = np.repeat(unit(1), COUNT, axis=0)
    direction = as_direction(rows[0], rows.shape[1])
    places, _ = best_rows(rows, direction, None, score_rows(rows, direction, None), 5, None)
    assert places.tolist() == [0, 1, 2, 3, 4]


def test_a_file_stays_mapped_as_long_as_it_is_the_same(library_file: Path) -> None:
    with Library.open(library_file, write=True, create=True) as library:
        fill(library, unit(5))
        _, first = vectors(library, identity=A)
        assert vectors(library, identity=A)[1] is first
        (file,) = cache_folder().iterdir()
        os.utime(file)
        assert vectors(library, identity=A)[1] is not first
        best = nearest(library, unit(5)[2], identity=A, k=1)
        file.unlink()
        assert nearest(library, unit(5)[2], identity=A, k=1) == best
        assert len(list(cache_folder().iterdir())) == 1  # made again
        file.write_bytes(file.read_bytes()[:-1])
        assert nearest(library, unit(5)[2], identity=A, k=1) == best
        fill(library, unit(7)[5:], identity="b" * 64)
        assert len(vectors(library, identity=A)[0]) == 5
    assert library.mapped is None
