"""Results that are put in order as far as somebody looks are those of a search that orders all at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipcli.errors import UsageError
from clipcli.library.ranking import Ranking


def unit(count: int, *, dimension: int = 8, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def brute_force(
    ids: NDArray[np.int64], rows: NDArray[np.float32], query: NDArray[np.float64]
) -> list[tuple[int, float]]:
    direction = query / np.linalg.norm(query)
    pairs = [
        (int(number), float(np.dot(row.astype(np.float64), direction))) for number, row in zip(ids, rows, strict=True)
    ]
    return sorted(pairs, key=lambda pair: (-round(pair[1], 12), pair[0]))


@given(
    count=st.integers(1, 300),
    seed=st.integers(0, 5),
    starts=st.lists(st.integers(0, 320), min_size=1, max_size=5),
    size=st.integers(1, 200),
    equal=st.booleans(),
)
def test_any_part_in_any_order_is_that_of_brute_force(
    count: int, seed: int, starts: list[int], size: int, equal: bool
) -> None:
    rows = unit(count, seed=seed)
    if equal:
        rows[1::2] = rows[0]  # ties go by id
    ids = np.arange(count, dtype=np.int64) * 3 + 1
    query = np.random.default_rng(seed + 100).normal(size=8)
    expected = brute_force(ids, rows, query)
    ranking = Ranking(ids, rows, query)
    assert ranking.total == count
    for start in starts:
        found, cosines = ranking.part(start, size)
        assert found.tolist() == [number for number, _ in expected[start : start + size]]
        assert np.allclose(cosines, [cosine for _, cosine in expected[start : start + size]], atol=1e-12)


@pytest.mark.parametrize("share", [0.05, 0.9])
def test_only_what_is_allowed_and_not_left_out_counts(share: float) -> None:
    rows = unit(400)
    ids = np.arange(400, dtype=np.int64) + 1
    allowed = ids[: int(400 * share)]
    ranking = Ranking(ids, rows, rows[3], allowed=allowed, leave_out=[4, 9999])
    found, _ = ranking.part(0, 400)
    assert set(found.tolist()) == set(allowed.tolist()) - {4}
    assert ranking.total == ranking.considered == len(allowed) - 1
    assert ranking.searched == 400


def test_limits_are_decided_as_exactly_as_the_order() -> None:
    rows = unit(300)
    ids = np.arange(300, dtype=np.int64)
    query = unit(1, seed=7)[0].astype(np.float64)
    pairs = brute_force(ids, rows, query)
    limit = pairs[40][1]  # a limit on a score itself: float32 alone could not say
    ranking = Ranking(ids, rows, query, threshold=limit)
    assert 40 <= ranking.total <= 41
    assert ranking.total == len(ranking.part(0, 300)[0])
    some, scores = ranking.by_id()
    assert sorted(some.tolist()) == some.tolist()
    assert set(some.tolist()) == set(ranking.part(0, 300)[0].tolist())
    assert np.allclose(scores, [dict(pairs)[number] for number in some.tolist()], atol=1e-5)


def test_sigma_is_of_all_pictures_whatever_the_filters() -> None:
    rows, ids = unit(300), np.arange(300, dtype=np.int64)
    query = rows[5].astype(np.float64)
    cosines = rows.astype(np.float64) @ query
    least = cosines.mean() + 2 * cosines.std()
    ranking = Ranking(ids, rows, query, allowed=ids[:20], min_sigma=2.0)
    assert set(ranking.part(0, 300)[0].tolist()) == {number for number in range(20) if cosines[number] >= least}
    assert ranking.best_sigma == pytest.approx((1 - cosines.mean()) / cosines.std(), rel=1e-4)
    assert Ranking(ids[:1], rows[:1], query, min_sigma=1.0).total == 0  # nothing stands out where there is one


def test_damaged_vectors_are_like_nothing_and_none_at_all_is_no_fault() -> None:
    rows, ids = unit(5), np.arange(5, dtype=np.int64)
    rows[2] = np.nan
    assert 2 not in Ranking(ids, rows, rows[0]).part(0, 5)[0]
    assert 2 not in Ranking(ids, rows, rows[0]).by_id()[0]
    nothing = Ranking(ids[:0], rows[:0], rows[0])
    assert (nothing.total, nothing.best) == (0, None)
    with pytest.raises(UsageError, match="8 finite numbers"):
        Ranking(ids, rows, np.zeros(8))
