"""A million pictures: `python -m benchmarks.million FOLDER [--count 1000000]`, warm, in one process.

How long the exact ten best take, without a filter and with a folder and a span of dates, beside one pass of the memory
over the matrix of all vectors (the product that a search without filters cannot do without); how long counting takes;
and what the process holds at most. The library is made in FOLDER the first time (5 GB, some minutes) and found there
the next. Shapes: N images, D embedding.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.material import filled_library, made_vectors
from clipcli.bundle.installed import shipped_model
from clipcli.bundle.spec import read_spec
from clipcli.library.counts import count_library
from clipcli.library.filters import Filters
from clipcli.library.models import stored_models
from clipcli.library.moments import Span
from clipcli.library.search import find
from clipcli.library.store import Library
from clipcli.library.vectors import matrix

ROUNDS = 7
DIMENSION = 512
# Ten folders of a hundred thousand, and dates over ten years that have nothing to do with them.
_FACTS = """
UPDATE images SET path = ((id - 1) / 100000) || '/' || path,
  taken_at = date('2010-01-01', '+' || ((id * 7919) % 3650) || ' days') || 'T12:00:00', taken_from = 'exif'"""


def made_library(path: Path, count: int) -> None:
    model = shipped_model()
    assert model is not None
    spec = read_spec(model)
    filled_library(path, spec, "fp32", made_vectors(count, DIMENSION))
    with Library.open(path, write=True) as library, library.write() as connection:
        connection.execute(_FACTS)


def milliseconds(work: Callable[[], object]) -> float:
    """The median of some rounds, after one that is not counted."""
    taken = []
    for _ in range(ROUNDS + 1):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return 1000 * statistics.median(taken[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=1_000_000)
    given = parser.parse_args()
    os.environ["XDG_CACHE_HOME"] = os.environ["LOCALAPPDATA"] = str(given.folder.absolute() / "cache")
    path = given.folder / f"million-{given.count}.db"
    if not path.exists():
        given.folder.mkdir(parents=True, exist_ok=True)
        made_library(path, given.count)
    query = np.random.default_rng(3).normal(size=DIMENSION)
    narrow = query.astype(np.float32)
    spans = {
        "a folder and three years": Filters(folders=(b"/photos/3",), since=Span.read("2012"), until=Span.read("2014")),
        "half of the folders and five years": Filters(
            folders=tuple(b"/photos/%d" % number for number in range(5)),
            since=Span.read("2011"),
            until=Span.read("2015"),
        ),
        "three years": Filters(since=Span.read("2012"), until=Span.read("2014")),
    }
    with Library.open(path) as library:
        (model,) = stored_models(library)
        _, rows = matrix(library, model)  # (N, D)
        once = milliseconds(lambda: rows @ narrow)
        print(f"one pass over {rows.nbytes / 1e9:.2f} GB: {once:.0f} ms, {rows.nbytes / once / 1e6:.1f} GB/s")
        cases = {"no filter": Filters(), **spans}
        for name, filters in cases.items():
            search = partial(find, library, query, identity=model.identity, k=10, filters=filters)
            answer, taken = search(), milliseconds(search)
            print(f"ten best of {answer.considered:,}, {name}: {taken:.0f} ms, {taken / once:.2f} passes")
        print(f"counting (clip library stats): {milliseconds(lambda: count_library(library)):.0f} ms")


if __name__ == "__main__":
    main()
