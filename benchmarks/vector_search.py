"""Exact search over 10,000 to 1,000,000 vectors of 512 numbers, warm, in one process each: how long, and how exact.

What is searched is a library as `clip embed` leaves it, with made-up vectors and this library's own cache of them. A
million take 8 GB of disk while they are made and 5 GB afterwards; it is deleted when it has been measured.
Shapes: N images, D embedding, Q queries.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from benchmarks.cases import Row, Table, surroundings
from benchmarks.material import filled_library, made_vectors
from benchmarks.stages import Measured, Stage, in_turns
from clipcli.bundle.installed import shipped_model
from clipcli.bundle.spec import read_spec

__all__ = ["Searched", "compared_searches", "prepare", "recall", "ten_best"]

DIMENSION, TOP = 512, 10
QUERIES = {10_000: 40, 100_000: 20}  # so many a turn; 8 of larger libraries
FEWEST_QUERIES = 8
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, kw_only=True, slots=True)
class Searched:
    """Where what is searched lies."""

    folder: Path
    size: int

    @property
    def library(self) -> Path:
        return self.folder / "library.db"

    @property
    def halves(self) -> Path:
        return self.folder / "halves.npy"

    @property
    def queries(self) -> Path:
        return self.folder / "queries.npy"

    @property
    def answers(self) -> Path:
        """Written last: where it is, all is."""
        return self.folder / "answers.npy"


def prepare(folder: Path, size: int) -> Searched:
    """The library, its vectors in half precision, the queries, and their ten best by float64; found where it is."""
    searched = Searched(folder=folder.absolute() / f"vectors-{size}", size=size)
    if searched.answers.exists():
        return searched
    shutil.rmtree(searched.folder, ignore_errors=True)
    searched.folder.mkdir(parents=True)
    model = shipped_model()
    assert model is not None
    rows = made_vectors(size, DIMENSION)  # (N, D)
    filled_library(searched.library, read_spec(model), "fp32", rows)
    halves = open_memmap(searched.halves, mode="w+", dtype=np.float16, shape=rows.shape)
    halves[:] = rows
    halves.flush()
    queries = np.random.default_rng(4).normal(size=(QUERIES.get(size, FEWEST_QUERIES), DIMENSION)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    np.save(searched.queries, queries)
    np.save(searched.answers, ten_best(rows, queries))
    return searched


def ten_best(rows: NDArray[np.float32], queries: NDArray[np.float32]) -> NDArray[np.intp]:
    """(Q, 10): the rows nearest to each query by float64 arithmetic, nearest first."""
    scores = np.empty((len(queries), len(rows)))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        scores[:, part] = queries.astype(np.float64) @ rows[part].astype(np.float64).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP]


def recall(found: Sequence[Sequence[int]], right: NDArray[np.intp]) -> float:
    """How many of the right ones were found, as a share."""
    hits = sum(len(set(one) & set(map(int, other))) for one, other in zip(found, right, strict=True))
    return hits / right.size


def compared_searches(
    folder: Path, peers: Path, *, rounds: int, sizes: Sequence[int]
) -> tuple[list[Table], list[str], list[str]]:
    """A table a size, the versions of the peers, and who is left out. `peers` is the interpreter that has them."""
    tables, versions, left_out = [], [], []
    for size in sizes:
        searched = prepare(folder, size)
        measured, without = in_turns(_candidates(searched, peers), rounds=rounds)
        tables.append(as_table(measured, np.load(searched.answers), size))
        versions += [facts["peer"] for facts in (one.facts for one in measured.values()) if facts["peer"]]
        left_out += without
        shutil.rmtree(searched.folder)
    return tables, list(dict.fromkeys(versions)), list(dict.fromkeys(left_out))


def _candidates(searched: Searched, peers: Path) -> dict[str, Stage]:
    library, queries = str(searched.library), str(searched.queries)
    environment = surroundings(searched.folder)
    kinds = {
        "faiss IndexFlatIP": (peers, "faiss_flat", "library", library),
        "usearch, exact, f32": (peers, "usearch_singles", "library", library),
        "usearch, exact, f16": (peers, "usearch_halves", "halves", str(searched.halves)),
        "NumPy, product and partition": (Path(sys.executable), "numpy_product", "library", library),
        "clip, search of a library": (Path(sys.executable), "clip_nearest", "library", library),
    }
    return {
        name: Stage(
            python=python,
            made_by=f"stage_vectors:{function}",
            given={key: path, "queries": queries, "k": TOP},
            environment=environment,
        )
        for name, (python, function, key, path) in kinds.items()
    }


def as_table(measured: dict[str, Measured], right: NDArray[np.intp], size: int) -> Table:
    """Times are of one query."""
    first = next(iter(measured.values())).times.median_s
    rows = []
    for name, one in measured.items():
        seconds = one.times.median_s / len(right)
        rows.append(
            Row(
                name=name,
                median=f"{seconds * 1000:.2f} ms",
                value=seconds,
                spread=one.times.spread,
                ratio=one.times.median_s / first,
                rate=f"recall {recall(one.facts['found'], right):.4f}, {one.cores:.1f} cores",
            )
        )
    return Table(
        title=f"Ten nearest of {size:,} vectors",
        note=f"Warm, each in a process of its own that is not started anew, {len(right)} queries a turn one after the "
        f"other, {DIMENSION} numbers a vector. Recall is the share of the ten nearest by float64 that were found. clip "
        "also orders by float64 and looks the paths up; the others give numbers of rows.",
        rows=tuple(rows),
        family="vectors",
        size=size,
    )
