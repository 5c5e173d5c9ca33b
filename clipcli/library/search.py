"""The pictures nearest to a query: exact cosines against every vector, nothing approximated.

Shapes: N images, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import UsageError
from clipcli.library.models import find_stored
from clipcli.library.roots import read_roots
from clipcli.library.scoring import LIKE_NOTHING, as_direction, best_rows, mean_and_spread, score_rows
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored
from clipcli.library.vectors import matrix

if TYPE_CHECKING:
    from clipcli.library.filters import Filters

__all__ = ["Answer", "Hit", "find", "nearest", "paths_of"]

_IDS_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """One result. `score` is the cosine with the query, `path` absolute, `model` the name the library has for it."""

    rank: int
    score: float
    path: bytes
    image_id: int
    model: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The results, and what they were chosen from.

    `searched` is how many pictures have a vector of the model, `considered` how many of those passed the filters,
    `best` the largest of their cosines. `mean` and `spread` (the standard deviation) are of the cosines of all that
    were searched, where they were asked for.
    """

    hits: list[Hit]
    searched: int
    considered: int
    best: float | None
    mean: float | None = None
    spread: float | None = None

    @property
    def best_sigma(self) -> float | None:
        """How many standard deviations the best picture is above the mean; 0 where all score the same."""
        if self.best is None or self.mean is None or self.spread is None:
            return None
        return (self.best - self.mean) / self.spread if self.spread > 0 else 0.0


def nearest(
    library: Library,
    query: NDArray[np.floating],
    *,
    identity: str,
    precision: str | None = None,
    k: int | None = 10,
    threshold: float | None = None,
    filters: Filters | None = None,
) -> list[Hit]:
    """The hits of `find`."""
    return find(library, query, identity=identity, precision=precision, k=k, threshold=threshold, filters=filters).hits


def find(
    library: Library,
    query: NDArray[np.floating],
    *,
    identity: str,
    precision: str | None = None,
    k: int | None = 10,
    threshold: float | None = None,
    min_sigma: float | None = None,
    filters: Filters | None = None,
    leave_out: Collection[int] = (),
) -> Answer:
    """The `k` pictures (None: all) with the largest cosine of at least `threshold`, best first, ties by image id.

    Only pictures that pass the filters and are not in `leave_out` (image ids) count. With `min_sigma`, only those whose
    cosine is that many standard deviations above the mean of the whole library's for this query. Scores and order are
    those of float64 arithmetic on the stored vectors; float32 only finds out which pictures come into question.

    `query` is (D,) or (1, D), of any length but zero. Raises NotFoundError when the library has no embeddings of the
    model, UsageError when the query does not fit it, and what `chosen_ids` raises.
    """
    if k is not None and k < 1:
        raise UsageError(f"at least one result has to be asked for, not {k}")
    with library.read():
        model = find_stored(library, identity=identity, precision=precision)
        direction = as_direction(query, model.dimension)
        ids, rows = matrix(library, model)
        chosen = _chosen(library, ids, filters, leave_out)
        mean = spread = least = None
        if min_sigma is None:
            scores = score_rows(rows, direction, chosen)
        else:
            every = score_rows(rows, direction, None)
            mean, spread = mean_and_spread(every)
            least = mean + min_sigma * spread if spread > 0 else math.inf  # nothing stands out where all are the same
            scores = every if chosen is None else every[chosen]
        limits = [limit for limit in (threshold, least) if limit is not None]
        places, cosines = best_rows(rows, direction, chosen, scores, k, max(limits, default=None))
        found = [int(number) for number in ids[places]]
        paths = paths_of(library, found)
    return Answer(
        hits=[
            Hit(rank=rank, score=float(score), path=paths[image_id], image_id=image_id, model=model.name)
            for rank, (score, image_id) in enumerate(zip(cosines, found, strict=True), start=1)
        ],
        searched=len(ids),
        considered=len(scores),
        best=float(scores.max()) if len(scores) and scores.max() > LIKE_NOTHING else None,
        mean=mean,
        spread=spread,
    )


def paths_of(library: Library, image_ids: Iterable[int]) -> dict[int, bytes]:
    """Absolute paths by image id; an id that is not in the library is left out."""
    found: dict[int, bytes] = {}
    with library.read() as connection:
        roots = {root.id: root.path for root in read_roots(library)}
        for part in _parts(image_ids):
            marks = ",".join("?" * len(part))
            for image_id, root_id, path in connection.execute(
                f"SELECT id, root_id, path FROM images WHERE id IN ({marks})", part
            ):
                found[image_id] = absolute(roots[root_id], from_stored(path))
    return found


def _chosen(
    library: Library, ids: NDArray[np.int64], filters: Filters | None, leave_out: Collection[int]
) -> NDArray[np.intp] | None:
    """Which rows count, ascending; None for all of them."""
    if not filters and not leave_out:
        return None
    keep = np.ones(len(ids), dtype=np.bool_)
    if filters:
        from clipcli.library.filters import chosen_ids  # late: most searches have none

        keep = np.isin(ids, chosen_ids(library, filters), assume_unique=True)
    if leave_out:
        keep &= ~np.isin(ids, np.array(list(leave_out), dtype=np.int64))
    return np.flatnonzero(keep)


def _parts(values: Iterable[int]) -> Iterator[list[int]]:
    part: list[int] = []
    for value in values:
        part.append(value)
        if len(part) == _IDS_AT_ONCE:
            yield part
            part = []
    if part:
        yield part
