"""Orders of a pass: nothing is lost, groups stay together, shards are gone through one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.ordering import buffered, packed
from trainer.row_plan import RowPlan

keys = st.lists(st.one_of(st.none(), st.integers(0, 8)), min_size=1, max_size=60)


@given(keys, st.integers(2, 12), st.integers(0, 11), st.integers(0, 3))
def test_packing_loses_nothing_and_follows_from_the_seed(
    groups: list[Hashable], size: int, first: int, seed: int
) -> None:
    def made() -> list[int]:
        order = np.random.default_rng(seed).permutation(len(groups))
        found: list[int] = packed(
            order, groups, first=first % size, size=size, most=max(2, size // 2), random=np.random.default_rng(seed)
        ).tolist()
        return found

    assert sorted(made()) == list(range(len(groups)))
    assert made() == made()


@given(st.integers(1, 12), st.integers(0, 40), st.integers(2, 12), st.integers(0, 3))
def test_pairs_that_fit_are_never_parted(couples: int, singles: int, half: int, seed: int) -> None:
    """Twos and ones into parts of even size: there is always something that fits."""
    groups: list[Hashable] = [number // 2 for number in range(2 * couples)] + [None] * singles
    size = 2 * half
    order = np.random.default_rng(seed).permutation(len(groups))
    found = packed(
        order, groups, first=0, size=size, most=max(2, size // 2), random=np.random.default_rng(seed)
    ).tolist()
    parts = [found[start : start + size] for start in range(0, len(found), size)]
    where = {number: place for place, part in enumerate(parts) for number in part}
    parted = sum(where[2 * couple] != where[2 * couple + 1] for couple in range(couples))
    assert parted <= 1  # the last part may have an odd room


def test_a_large_group_is_dealt_out_and_never_fills_a_batch() -> None:
    groups: list[Hashable] = ["dog"] * 40 + [None] * 40
    plan = RowPlan([range(80)], (), 16, 3, together=groups)
    for step in range(5):
        dogs = sum(number < 40 for number in plan(step).tolist())
        assert dogs == 8


def neighbours(plan: RowPlan, groups: list[Hashable], steps: int) -> float:
    """The mean number of others of a row's own group in its batch."""
    found = []
    for step in range(steps):
        counts = Counter(groups[number] for number in plan(step).tolist())
        found += [count - 1 for count in counts.values() for _ in range(count)]
    return float(np.mean(found))


def test_groups_of_several_sources_stand_together_in_batches_of_all() -> None:
    """Passes end within a step, again and again; groups of four stay together all the same."""
    groups: list[Hashable] = [*(number // 4 for number in range(52)), *(100 + number // 4 for number in range(28))]
    sources = [range(52), range(52, 80)]
    with_groups = RowPlan(sources, (3, 1), 16, 0, together=groups)
    assert neighbours(with_groups, groups, 40) >= 3  # all 3 others
    assert neighbours(RowPlan(sources, (3, 1), 16, 0), groups, 40) < 1
    again = RowPlan(sources, (3, 1), 16, 0, together=groups)
    for step in (33, 2, 17):  # whatever came before
        assert again(step).tolist() == with_groups(step).tolist()
    seen = [number for step in range(13) for number in with_groups(step).tolist() if number < 52]
    for lap in range(3):
        assert sorted(seen[52 * lap : 52 * (lap + 1)]) == list(range(52))


@given(st.integers(1, 6), st.integers(1, 20), st.integers(1, 30), st.integers(0, 3))
def test_a_buffer_loses_nothing(shards: int, each: int, buffer: int, seed: int) -> None:
    shelves = [number // each for number in range(shards * each)]
    found = buffered(np.arange(shards * each), shelves, buffer, np.random.default_rng(seed)).tolist()
    assert sorted(found) == list(range(shards * each))


def test_shards_are_read_one_after_the_other() -> None:
    shelves = [number // 100 for number in range(1000)]
    plan = RowPlan([range(1000)], (), 50, 0, shelves=shelves, buffer=20)
    opened = [len({shelves[number] for number in plan(step).tolist()}) for step in range(20)]
    assert np.mean(opened) < 3  # a row may wait in the buffer for long; without one it is 10
    passes = [[number for step in range(20) for number in plan(step + 20 * lap).tolist()] for lap in range(2)]
    assert sorted(passes[0]) == sorted(passes[1]) == list(range(1000))
    assert passes[0] != passes[1]
    order = [list(dict.fromkeys(shelves[number] for number in one)) for one in passes]
    assert order[0] != order[1]
    assert passes[0] != sorted(passes[0], key=lambda number: order[0].index(shelves[number]))
