"""Exact search against brute force in float64, and a cache that can always be thrown away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clipcli.errors import LibraryDamagedError, NotFoundError, UsageError
from clipcli.library import scoring, vectors
from clipcli.library.models import keep_own_model, own_model, register_model, stored_models
from clipcli.library.roots import add_root
from clipcli.library.search import nearest, paths_of
from clipcli.library.store import Library
from clipcli.library.vectors import cache_folder

A, B = "a" * 64, "b" * 64
DIMENSION = 8


def fill(library: Library, values: NDArray[np.float32], *, identity: str = A, precision: str = "fp32") -> int:
    """One picture per row, `/photos/N.png`, with that vector."""
    with library.write() as connection:
        root = add_root(library, connection, b"/photos")
        model = register_model(
            connection, identity=identity, precision=precision, name=identity[0], folder="/m", dimension=DIMENSION
        )
        for number, row in enumerate(values, start=1):
            connection.execute(
                "INSERT OR IGNORE INTO images (id, root_id, path, size, mtime_ns, digest, width, height, format) "
                "VALUES (?, ?, ?, 1, 1, 'd', 1, 1, 'PNG')",
                (number, root, f"{number}.png"),
            )
            connection.execute(
                "INSERT INTO embeddings (image_id, model_id, digest, vector) VALUES (?, ?, 'd', ?)",
                (number, model, row.astype("<f4").tobytes()),
            )
    return model


def unit(count: int, seed: int = 0) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.fixture
def library(library_file: Path) -> Library:
    with Library.open(library_file, write=True, create=True) as opened:
        yield opened  # type: ignore[misc]


def caches() -> list[str]:
    return sorted(path.name for path in cache_folder().iterdir())


def test_results_are_those_of_brute_force(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    values = unit(300)
    fill(library, values)
    monkeypatch.setattr(scoring, "_ROWS_AT_ONCE", 64)
    query = unit(1, seed=1)[0] * 5  # a query of any length gives cosines
    hits = nearest(library, query, identity=A, k=20)
    cosines = values.astype(np.float64) @ (query / np.linalg.norm(query)).astype(np.float64)
    expected = np.argsort(-cosines)[:20]
    assert [hit.image_id for hit in hits] == (expected + 1).tolist()
    assert [hit.rank for hit in hits] == list(range(1, 21))
    assert np.allclose([hit.score for hit in hits], cosines[expected], atol=1e-6)
    assert (hits[0].path, hits[0].model) == (f"/photos/{expected[0] + 1}.png".encode(), "a")
    assert len(nearest(library, query, identity=A, k=None)) == 300
    above = nearest(library, query, identity=A, k=None, threshold=0.5)
    assert len(above) == (cosines >= 0.5).sum()
    assert nearest(library, query, identity=A, threshold=1.0) == []


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=30),
    k=st.none() | st.integers(1, 40),
    threshold=st.none() | st.sampled_from([-1.0, 0.25, 1.0]),
)
def test_ties_are_settled_by_id(scores: list[float], k: int | None, threshold: float | None) -> None:
    rows = np.array([[score] for score in scores], dtype=np.float32)  # (N, 1)
    best, cosines = scoring.best_rows(rows, np.ones(1), None, rows[:, 0], k, threshold)
    ranked = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
    kept = [index for index in ranked if threshold is None or scores[index] >= threshold]
    assert best.tolist() == kept[:k]
    assert cosines.tolist() == [scores[index] for index in kept[:k]]


def test_a_damaged_vector_spoils_nothing(library: Library) -> None:
    values = unit(5)
    values[2] = np.nan
    fill(library, values)
    hits = nearest(library, values[0], identity=A, k=3)
    assert hits[0].image_id == 1
    assert 3 not in [hit.image_id for hit in hits]


def test_the_cache_follows_every_change(library: Library, library_file: Path) -> None:
    fill(library, unit(4))
    query = unit(1, seed=2)[0]
    assert len(nearest(library, query, identity=A)) == 4
    (first,) = caches()
    assert len(nearest(library, query, identity=A)) == 4
    assert caches() == [first]
    content = library_file.read_bytes()
    changes = [
        ("DELETE FROM images WHERE id = 2", 3),
        ("INSERT INTO embeddings SELECT 1, 1, 'd', vector, 1 FROM embeddings WHERE image_id = 1 AND 0", 3),
        ("UPDATE embeddings SET vector = (SELECT vector FROM embeddings WHERE image_id = 3) WHERE image_id = 1", 3),
    ]
    for statement, count in changes:
        before = caches()
        with library.write() as connection:
            changed = connection.execute(statement).rowcount
        hits = nearest(library, query, identity=A)
        assert len(hits) == count
        assert (caches() != before) == (changed > 0)
        assert len(caches()) == 1  # the old one is gone
    assert hits[0].score == hits[1].score or hits[1].score == hits[2].score
    assert library_file.read_bytes() == content  # all of that is still in the journal; a search adds nothing


@pytest.mark.parametrize("damage", ["cut", "foreign", "gone", "unwritable"])
def test_a_cache_that_does_not_fit_is_made_again(
    library: Library, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = unit(4)
    fill(library, values)
    nearest(library, values[0], identity=A)
    path = cache_folder() / caches()[0]
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "foreign":
        path.write_bytes(b"x" * path.stat().st_size)
    elif damage == "gone":
        path.unlink()
    else:
        path.unlink()
        blocked = cache_folder().parent / "blocked"
        blocked.touch()
        monkeypatch.setattr(vectors, "cache_folder", lambda: blocked / "vectors")
    assert nearest(library, values[1], identity=A)[0].image_id == 2


def test_vectors_are_read_only(library: Library) -> None:
    values = unit(3)
    fill(library, values)
    ids, matrix = vectors.vectors(library, identity=A)
    assert ids.tolist() == [1, 2, 3]
    assert np.array_equal(matrix, values)
    with pytest.raises(ValueError, match="read-only"):
        matrix[0] = 0


def test_a_vector_of_the_wrong_length_is_damage(library: Library) -> None:
    fill(library, unit(2))
    with library.write() as connection:
        connection.execute("UPDATE embeddings SET vector = x'00' WHERE image_id = 2")
    with pytest.raises(LibraryDamagedError, match="image 2 has 1 bytes instead of 32"):
        nearest(library, unit(1)[0], identity=A)


def test_which_model_and_precision(library: Library) -> None:
    query = unit(1)[0]
    with pytest.raises(NotFoundError, match="none at all"):
        nearest(library, query, identity=A)
    assert own_model(library) is None
    first = fill(library, unit(4))
    fill(library, unit(2), precision="int8")
    other = fill(library, unit(3), identity=B)
    assert [(model.name, model.precision, model.pictures) for model in stored_models(library)] == [
        ("a", "fp32", 4),
        ("b", "fp32", 3),
        ("a", "int8", 2),
    ]
    assert len(nearest(library, query, identity=A)) == 4  # the precision most pictures have
    assert len(nearest(library, query, identity=A, precision="int8")) == 2
    assert len(nearest(library, query, identity=B)) == 3
    with pytest.raises(NotFoundError, match=r"in fp16\); it has a \(fp32\), b \(fp32\), a \(int8\)"):
        nearest(library, query, identity=A, precision="fp16")
    with library.write():
        keep_own_model(library, first)
        keep_own_model(library, other)  # has fewer pictures
    assert own_model(library).id == first  # type: ignore[union-attr]


def test_queries_that_make_no_sense(library: Library) -> None:
    fill(library, unit(2))
    for query in (np.zeros(DIMENSION), np.ones(DIMENSION + 1), np.full(DIMENSION, np.nan)):
        with pytest.raises(UsageError):
            nearest(library, query.astype(np.float32), identity=A)
    with pytest.raises(UsageError):
        nearest(library, unit(1)[0], identity=A, k=0)


def test_paths_of_many(library: Library) -> None:
    fill(library, unit(3))
    assert paths_of(library, [3, 1, 99, *range(1000, 2000)]) == {1: b"/photos/1.png", 3: b"/photos/3.png"}
