"""Duplicates against brute force, decisions that outlive moves, and deletion that looks before it deletes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipcli.errors import NotFoundError, UsageError
from clipcli.library import near_copies
from clipcli.library.duplicates import Copy, Group, decide, find_duplicates, undecide
from clipcli.library.filters import Filters
from clipcli.library.models import stored_models
from clipcli.library.near_copies import taken_by
from clipcli.library.removal import Deleted, delete_copies
from clipcli.library.store import Library
from tests.library.test_search import fill, library, unit

__all__ = ["library"]  # a fixture


def clustered(count: int, clusters: int, seed: int) -> NDArray[np.float32]:
    """(N, 8): vectors around a few directions, some the same to the last digit."""
    chance = np.random.default_rng(seed)
    values = unit(clusters, seed)[chance.integers(0, clusters, count)].astype(np.float64)
    values += chance.choice([0.0, 1e-7, 0.05, 0.2], size=(count, 1)) * chance.normal(size=values.shape)
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def brute_force(rows: Any, order: Any, threshold: float, apart: dict[int, frozenset[int]]) -> list[int]:
    """The rule as it is written down, a pair at a time in float64."""
    taker = [-1] * len(order)
    for one in range(len(order)):
        if taker[one] >= 0:
            continue
        for other in range(one + 1, len(order)):
            cosine = float(np.sum(rows[order[one]].astype(np.float64) * rows[order[other]].astype(np.float64)))
            if taker[other] < 0 and other not in apart.get(one, ()) and cosine >= threshold:
                taker[other] = one
    return taker


@given(
    count=st.integers(0, 60),
    clusters=st.integers(1, 8),
    seed=st.integers(0, 1000),
    threshold=st.sampled_from([0.3, 0.9, 0.97, 0.999999]),
    pairs=st.sets(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=20),
    block=st.sampled_from([1, 3, 16, 100]),
)
def test_near_ones_are_those_of_brute_force(
    count: int, clusters: int, seed: int, threshold: float, pairs: set[tuple[int, int]], block: int
) -> None:
    rows = clustered(count, clusters, seed) if count else np.zeros((0, 8), dtype=np.float32)
    order = np.random.default_rng(seed).permutation(count)
    apart: dict[int, frozenset[int]] = {}
    for one, other in pairs:
        for a, b in ((one, other), (other, one)):
            apart[a] = apart.get(a, frozenset()) | {b}
    done: list[int] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(near_copies, "_ROWS", block)
        patched.setattr(near_copies, "_COLUMNS", 2 * block)
        patched.setattr(near_copies, "_PAIRS_AT_ONCE", 5)
        taker, cosines = taken_by(rows, order, threshold, apart, done.append)
    assert taker.tolist() == brute_force(rows, order, threshold, apart)
    assert sum(done) == count
    for place in np.flatnonzero(taker >= 0):
        exact = float(rows[order[place]].astype(np.float64) @ rows[order[taker[place]]].astype(np.float64))
        assert cosines[place] == pytest.approx(exact, abs=1e-12)


def test_a_damaged_vector_is_near_to_nothing() -> None:
    rows = np.ones((6, 4), dtype=np.float32) / 2
    rows[1:5] *= np.array([np.nan, np.inf, 0, 1.01], dtype=np.float32)[:, None]
    taker, _ = taken_by(rows, np.arange(6), 0.9, {}, lambda done: None)
    assert taker.tolist() == [-1, -1, -1, -1, -1, 0]


def pictures(library: Library, **columns: dict[int, object]) -> None:
    """`pictures(library, digest={1: "a", 2: "a"})` sets columns of pictures by id."""
    with library.write() as connection:
        for column, values in columns.items():
            connection.executemany(
                f"UPDATE images SET {column} = ? WHERE id = ?", [(value, number) for number, value in values.items()]
            )
        connection.execute("UPDATE embeddings SET digest = (SELECT digest FROM images WHERE images.id = image_id)")


def shape(groups: list[Group]) -> list[tuple[int, list[int]]]:
    return [(group.kept.image_id, [copy.image_id for copy in group.copies]) for group in groups]


@pytest.fixture
def six(library: Library) -> Library:
    """1 and 2 look the same, 3 a little less so; 4 and 5 are exact copies and look like 1; 6 is like nothing."""
    e = np.eye(8, dtype=np.float32)

    def leaning(angle: float) -> NDArray[np.float32]:
        return (np.cos(angle) * e[0] + np.sin(angle) * e[1]).astype(np.float32)

    fill(library, np.stack([leaning(0), leaning(0.1), leaning(0.2), leaning(0.05), leaning(0.05), e[5]]))
    pictures(library, digest={1: "a", 2: "b", 3: "c", 4: "d", 5: "d", 6: "f"}, size={1: 90, 2: 80, 3: 70, 4: 60, 5: 60})
    return library


def near(library: Library, threshold: float, **options: Any) -> list[tuple[int, list[int]]]:
    return shape(find_duplicates(library, model=stored_models(library)[0], threshold=threshold, **options))


def test_exact_and_near(six: Library) -> None:
    assert shape(find_duplicates(six)) == [(4, [5])]
    assert near(six, 0.99) == [(1, [4, 5, 2])]  # the exact copies of a near one come with it
    assert near(six, 0.97) == [(1, [4, 5, 2, 3])]
    assert near(six, 0.9999) == [(4, [5])]
    (group,) = find_duplicates(six, model=stored_models(six)[0], threshold=0.99)
    assert [copy.cosine for copy in group.copies] == pytest.approx([np.cos(0.05), np.cos(0.05), np.cos(0.1)], abs=1e-6)
    assert not any(group.is_exact(copy) for copy in group.copies)


def test_every_copy_is_near_to_the_one_kept_not_to_one_between(six: Library) -> None:
    pictures(six, size={3: 100})  # 3 is kept now; 1 is near 2, but not near 3
    assert near(six, 0.99) == [(1, [4, 5]), (3, [2])]


def test_which_one_is_kept(library: Library) -> None:
    fill(library, unit(6))
    same = dict.fromkeys(range(1, 7), "d")
    pictures(library, digest=same, path={number: "long.png" + "g" * number for number in range(1, 7)})

    def kept() -> int:
        (group,) = find_duplicates(library)
        return group.kept.image_id

    assert kept() == 1  # the shortest path
    pictures(library, mtime_ns={1: 5, 2: 4, 3: 5, 4: 5, 5: 5, 6: 5})
    assert kept() == 2  # the oldest file, however long its path
    pictures(library, taken_at={5: "2001", 4: "2000"})
    assert kept() == 4  # the earliest date; none is later than any
    pictures(library, size={3: 2})
    assert kept() == 3
    pictures(library, width={6: 2})
    assert kept() == 6


def test_a_film_and_a_still_are_no_copies_of_each_other(six: Library) -> None:
    pictures(six, frames={1: 8, 2: 1, 3: 8, 4: 2, 5: 2}, width={1: 90, 3: 40})
    assert near(six, 0.99) == [(1, [4, 5])]  # 2 is a still
    pictures(six, frames={4: 1, 5: 1})
    assert near(six, 0.97) == [(1, [3]), (2, [4, 5])]
    told: list[tuple[int, int]] = []
    near(six, 0.97, on_progress=lambda done, total: told.append((done, total)))
    assert (sum(done for done, _ in told), {total for _, total in told}) == (5, {5})


def test_stale_pictures_and_old_vectors_count_nowhere(six: Library) -> None:
    pictures(six, stale={5: 1})
    assert find_duplicates(six) == []
    with six.write() as connection:
        connection.execute("UPDATE embeddings SET digest = 'old' WHERE image_id = 2")
    assert near(six, 0.99) == [(1, [4])]


def test_filters(six: Library) -> None:
    assert near(six, 0.99, filters=Filters(where="id <> 1")) == [(2, [4, 5, 3])]
    assert near(six, 0.99, filters=Filters(where="id IN (4, 6)")) == []


def test_decisions_are_remembered_by_content(six: Library) -> None:
    assert decide(six, [1, 2, 1]) == 1
    assert near(six, 0.99) == [(1, [4, 5]), (2, [3])]
    pictures(six, path={2: "0-moved.png"})
    assert near(six, 0.99) == [(2, [3]), (1, [4, 5])]
    assert decide(six, [4, 5]) == 1  # two copies, both wanted
    assert find_duplicates(six) == []
    assert near(six, 0.99) == [(2, [3]), (1, [4, 5])]  # but they still look like 1
    assert decide(six, [1, 4]) == 1
    assert near(six, 0.99) == [(2, [4, 5, 3])]
    assert undecide(six, [1, 2]) == 1
    assert undecide(six, [1, 2]) == 0
    assert undecide(six, [5, 4, 1]) == 2
    assert near(six, 0.99) == [(1, [4, 5, 2])]


def test_decisions_that_make_no_sense(six: Library) -> None:
    with pytest.raises(UsageError):
        decide(six, [1, 1])
    with pytest.raises(NotFoundError, match="the id 99"):
        decide(six, [1, 99])
    with pytest.raises(UsageError):
        near(six, 1.0)
    with pytest.raises(ValueError, match="near copies need"):
        find_duplicates(six, threshold=0.9)


@pytest.fixture
def files(tmp_path: Path, library: Library) -> dict[str, Copy]:
    """Four files the library knows: a and b with one content, c with another, and a link to a."""
    found = {}
    with library.write() as connection:
        connection.execute("INSERT INTO roots (id, path) VALUES (1, ?)", (str(tmp_path),))
        for number, name in enumerate(("a", "b", "c", "link"), start=1):
            path = tmp_path / name
            path.symlink_to("a") if name == "link" else path.write_text("c" if name == "c" else "same")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            connection.execute(
                "INSERT INTO images (id, root_id, path, size, mtime_ns, digest, width, height, format) "
                "VALUES (?, 1, ?, 4, 1, ?, 1, 1, 'PNG')",
                (number, name, digest),
            )
            found[name] = Copy(
                image_id=number, path=os.fsencode(path), digest=digest, size=4, mtime_ns=1, width=1, height=1
            )
    return found


def known(library: Library) -> set[int]:
    return {row[0] for row in library.connection.execute("SELECT id FROM images")}


def test_copies_are_deleted_and_forgotten(files: dict[str, Copy], library: Library) -> None:
    done = delete_copies(library, [Group(kept=files["a"], copies=(files["b"], files["c"]))])
    assert done == Deleted(files=2, size=8)
    assert known(library) == {1, 4}
    assert [os.path.exists(files[name].path) for name in "abc"] == [True, False, False]


def test_a_file_behind_a_link_that_another_group_keeps_stays(files: dict[str, Copy], library: Library) -> None:
    groups = [Group(kept=files["c"], copies=(files["a"],)), Group(kept=files["link"], copies=(files["b"],))]
    done: list[None] = []
    deleted = delete_copies(library, groups, on_progress=lambda: done.append(None))
    assert deleted == Deleted(files=1, size=4, refused=[(files["a"].path, "is the same file as one to keep")])
    assert os.path.exists(files["link"].path)
    assert len(done) == 2


@pytest.mark.parametrize(
    ("kept", "copy", "harm", "reason"),
    [
        ("a", "b", "change b", "has changed since it was indexed"),
        ("a", "b", "change a", "the one to keep has changed since it was indexed"),
        ("a", "b", "remove a", "the one to keep cannot be read: No such file or directory"),
        ("a", "b", "remove b", "cannot be read: No such file or directory"),
        ("link", "a", "", "is the same file as one to keep"),
        ("a", "link", "", "is the same file as one to keep"),
    ],
)
def test_a_doubtful_file_stays(
    kept: str, copy: str, harm: str, reason: str, files: dict[str, Copy], library: Library, tmp_path: Path
) -> None:
    if harm:
        verb, name = harm.split()
        (tmp_path / name).write_text("else") if verb == "change" else (tmp_path / name).unlink()
    before = {path.name for path in tmp_path.iterdir()}
    done = delete_copies(library, [Group(kept=files[kept], copies=(files[copy],))])
    assert done == Deleted(refused=[(files[copy].path, reason)])
    assert {path.name for path in tmp_path.iterdir()} == before
    assert known(library) == {1, 2, 3, 4}
