"""Combined queries with filters against brute force in float64: the same pictures in the same order.

    python -m benchmarks.exact_results --count 100000 --dimension 512

The vectors come in clusters of near copies, so that neighbours in the order differ by less than float32 can tell. Brute
force is plain Python over the facts and a float64 sum over the vectors. Ends with 1 when anything differs.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import made_vectors
from clipcli.commands.query import query_vector, read_query
from clipcli.library.filters import Around, Filters, MinSize, distance_km
from clipcli.library.models import register_model
from clipcli.library.moments import Span
from clipcli.library.pictures import vector_of
from clipcli.library.roots import add_root
from clipcli.library.search import find
from clipcli.library.store import Library

if TYPE_CHECKING:
    from clipcli.bundle.encoder import Model

IDENTITY = "e" * 64
CAMERAS = ("Canon EOS 5D", "NIKON D90", "Pixel 7", None)
TOP = 100
NO_MODEL = cast("Model", None)  # the queries name pictures of the library only

Row = dict[str, Any]
Case = tuple[Filters, Callable[[Row], bool]]

CASES: tuple[Case, ...] = (
    (Filters(), bool),
    (
        Filters(since=Span.read("2015-03"), until=Span.read("2019"), cameras=("canon", "pixel")),
        lambda row: "2015-03" <= row["taken_at"] < "2020" and row["camera"] in (CAMERAS[0], CAMERAS[2]),
    ),
    (
        Filters(around=Around(latitude=48.0, longitude=179.5, km=2500), min_size=MinSize.read("1000x800")),
        lambda row: (
            distance_km(row["latitude"], row["longitude"], 48.0, 179.5) <= 2500
            and row["width"] >= 1000
            and row["height"] >= 800
        ),
    ),
    (
        Filters(folders=(b"/photos/a",), where="width > height AND tags LIKE '%dog%'"),
        lambda row: row["path"].startswith("a/") and row["width"] > row["height"] and row["dog"],
    ),
)


def made_rows(count: int) -> list[Row]:
    chance = random.Random(3)
    return [
        {
            "path": f"{chance.choice('abc')}/{number}.jpg",
            "taken_at": f"{chance.randrange(2010, 2024)}-{chance.randrange(1, 13):02d}-15T12:00:00",
            "camera": chance.choice(CAMERAS),
            "latitude": chance.uniform(-90, 90),
            "longitude": chance.uniform(-180, 180),
            "width": chance.randrange(100, 4000),
            "height": chance.randrange(100, 4000),
            "dog": chance.random() < 0.5,
        }
        for number in range(count)
    ]


def near_copies(count: int, dimension: int) -> NDArray[np.float32]:
    """(N, D): each vector about forty times, moved by what the last digits of float32 can hold."""
    centres = made_vectors(max(1, count // 40), dimension)
    noise = np.random.default_rng(2).normal(scale=1e-7, size=(count, dimension))
    vectors = centres[np.arange(count) % len(centres)].astype(np.float64) + noise
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def fill(path: Path, rows: list[Row], vectors: NDArray[np.float32]) -> None:
    with Library.open(path, write=True, create=True) as library, library.write() as connection:
        root = add_root(library, connection, b"/photos")
        model = register_model(
            connection, identity=IDENTITY, precision="fp32", name="made", folder="", dimension=vectors.shape[1]
        )
        connection.executemany(
            "INSERT INTO images (id, root_id, path, size, mtime_ns, digest, width, height, format, taken_at, "
            f"taken_from, camera, latitude, longitude) VALUES (:id, {root}, :path, 1, 1, '', :width, :height, 'JPEG', "
            ":taken_at, 'exif', :camera, :latitude, :longitude)",
            (row | {"id": number} for number, row in enumerate(rows, start=1)),
        )
        connection.executemany(
            "INSERT INTO tags (image_id, label) VALUES (?, 'dog')",
            ((number,) for number, row in enumerate(rows, start=1) if row["dog"]),
        )
        connection.executemany(
            f"INSERT INTO embeddings (image_id, model_id, digest, vector) VALUES (?, {model}, '', ?)",
            ((number, vector.tobytes()) for number, vector in enumerate(vectors, start=1)),
        )


def expected(
    rows: list[Row], vectors: NDArray[np.float32], query: NDArray[np.float64], keep: Callable[[Row], bool]
) -> list[int]:
    scores = np.concatenate(
        [
            (part.astype(np.float64) * query).sum(axis=1)
            for part in np.array_split(vectors, max(1, len(vectors) // 2000))
        ]
    )
    kept = np.array([number for number, row in enumerate(rows) if keep(row)], dtype=np.intp)
    return [int(number) + 1 for number in kept[np.lexsort((kept, -scores[kept]))][:TOP]]


def compared(folder: Path, count: int, dimension: int, queries: int) -> Iterator[tuple[bool, bool, float, int]]:
    """For every query and filter: whether results are the same, whether float32 alone would do, seconds, considered."""
    rows, vectors = made_rows(count), near_copies(count, dimension)
    fill(folder / "library.db", rows, vectors)
    chance = random.Random(5)
    with Library.open(folder / "library.db") as library:
        for _ in range(queries):
            one, two, three = chance.sample(range(1, count + 1), 3)
            query = read_query([], [], [f"id:{one}", f"{chance.uniform(0.2, 3):.3f}:id:{two}"], [f"0.5:id:{three}"])
            direction = query_vector(
                NO_MODEL, query, {each: vector_of(library, each, identity=IDENTITY) for each in query.ids}
            )
            for filters, keep in CASES:
                right = expected(rows, vectors, direction, keep)
                started = time.perf_counter()
                answer = find(library, direction, identity=IDENTITY, k=TOP, filters=filters)
                seconds = time.perf_counter() - started
                narrow = vectors @ direction.astype(np.float32)
                order = np.argsort(-narrow[np.array(right) - 1], kind="stable")
                alone = order.tolist() == list(range(len(right)))
                yield [hit.image_id for hit in answer.hits] == right, alone, seconds, answer.considered


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--queries", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = list(compared(Path(folder), given.count, given.dimension, given.queries))
    same = sum(result[0] for result in results)
    print(f"{same} of {len(results)} top {TOP} of {given.count:,} vectors are those of float64 brute force, in order")
    print(f"float32 alone would have ordered {sum(result[1] for result in results)} of them so")
    for number in range(len(CASES)):
        part = results[number :: len(CASES)]
        print(
            f"filter {number}: {part[0][3]:,} considered, median {np.median([each[2] for each in part]) * 1000:.0f} ms"
        )
    return 0 if same == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
