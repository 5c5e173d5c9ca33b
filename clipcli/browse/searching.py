"""Searches: what was asked becomes an order of pictures, kept for a while under a token, so that it can be scrolled.

Shapes: N images, D embedding.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.browse.answers import BAD, GONE, NOT_FOUND, Refusal
from clipcli.library.filters import chosen_ids
from clipcli.library.ranking import Ranking

if TYPE_CHECKING:
    from clipcli.browse.asked import Asked
    from clipcli.browse.library_access import LibraryAccess
    from clipcli.browse.uploads import Uploads
    from clipcli.browse.vectors_in_use import Snapshot, VectorsInUse
    from clipcli.library.filters import Filters
    from clipcli.library.store import Library

__all__ = ["Found", "Searches"]

_KEPT = 32
_RESULTS_KEPT = 4_000_000  # of all kept searches together: about 100 MB
_STATES_KEPT = 3  # of the vectors: each holds a file as large as all of them
_FILTERED_KEPT = 32
_MOST_FILTERED_KEPT = 2_000_000
# Each order by its pieces, one after the other: what has no date comes last, and the rest is read off the index.
_ORDERS = {
    "newest": ("WHERE taken_at IS NOT NULL ORDER BY taken_at DESC, id DESC", "WHERE taken_at IS NULL ORDER BY id DESC"),
    "oldest": ("WHERE taken_at IS NOT NULL ORDER BY taken_at, id", "WHERE taken_at IS NULL ORDER BY id"),
    "name": ("ORDER BY root_id, path",),
}

Ids = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Listed:
    """Results in an order that is known already; `scores` go with `ids`."""

    ids: Ids
    scores: Scores | None
    total: int

    def part(self, start: int, count: int) -> tuple[Ids, Scores | None]:
        part = slice(start, start + count)
        return self.ids[part], None if self.scores is None else self.scores[part]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The answer to a search. `searched` pictures had a vector, or were there at all where nothing was scored."""

    token: str
    results: Ranking | _Listed
    searched: int
    considered: int
    snapshot: Snapshot | None
    best: float | None = None
    best_sigma: float | None = None

    @property
    def total(self) -> int:
        return self.results.total

    def part(self, start: int, count: int) -> tuple[Ids, Scores | None]:
        """Ids and cosines of the results from `start` on."""
        return self.results.part(start, count)


class Searches:
    """Answers, and remembers the last ones."""

    def __init__(self, access: LibraryAccess, vectors: VectorsInUse, uploads: Uploads) -> None:
        self._access = access
        self._vectors = vectors
        self._uploads = uploads
        self._lock = threading.Lock()
        self._found: OrderedDict[str, Found] = OrderedDict()
        self._known: OrderedDict[tuple[int, object], Ids] = OrderedDict()  # by the library's version and what it is

    def search(self, asked: Asked) -> Found:
        """Raises Refusal, and what the library's filters do."""
        version = self._access.version()  # before the state that is read: what is remembered is never older than it
        with self._access.reading() as library, library.read():
            found = (self._scored if asked.terms else self._listed)(library, version, asked)
        with self._lock:
            self._found[found.token] = found
            self._let_go()
        return found

    def known(self, token: str) -> Found:
        """A search that was made before. Raises Refusal where it has been forgotten."""
        with self._lock:
            if token not in self._found:
                raise Refusal(*GONE, "this search has been forgotten; search again")
            self._found.move_to_end(token)
            return self._found[token]

    def _allowed(self, library: Library, version: int, filters: Filters | None) -> Ids | None:
        """Ids, ascending, that pass the filters; None for all."""
        if filters is None:
            return None
        return self._remembered((version, filters), lambda: chosen_ids(library, filters))

    def _scored(self, library: Library, version: int, asked: Asked) -> Found:
        snapshot = self._vectors.current()
        ranking = Ranking(
            snapshot.ids,
            snapshot.rows,
            self._direction(snapshot, asked),
            allowed=self._allowed(library, version, asked.filters),
            leave_out=self._left_out(asked),
            threshold=asked.threshold,
            min_sigma=asked.min_sigma,
        )
        results: Ranking | _Listed = ranking
        if asked.order != "score":
            ids, scores = ranking.by_id()
            ordered = self._ordered(library, version, asked.order)
            ordered = ordered[np.isin(ordered, ids, assume_unique=True)]
            results = _Listed(ids=ordered, scores=scores[np.searchsorted(ids, ordered)], total=len(ordered))
        return Found(
            token=secrets.token_urlsafe(12),
            results=results,
            searched=ranking.searched,
            considered=ranking.considered,
            snapshot=snapshot,
            best=ranking.best,
            best_sigma=ranking.best_sigma,
        )

    def _listed(self, library: Library, version: int, asked: Asked) -> Found:
        ordered = self._ordered(library, version, asked.order)
        searched = len(ordered)
        allowed = self._allowed(library, version, asked.filters)
        if allowed is not None:
            ordered = ordered[np.isin(ordered, allowed, assume_unique=True)]
        if asked.without:
            ordered = ordered[~np.isin(ordered, np.array(asked.without, dtype=np.int64))]
        return Found(
            token=secrets.token_urlsafe(12),
            results=_Listed(ids=ordered, scores=None, total=len(ordered)),
            searched=searched,
            considered=len(ordered),
            snapshot=None,
        )

    def _direction(self, snapshot: Snapshot, asked: Asked) -> NDArray[np.float64]:
        """(D,): the sum of the terms, each of length 1 times its weight."""
        total = np.zeros(snapshot.rows.shape[1])
        for term in asked.terms:
            if term.text is not None:
                vector = snapshot.encoding.text(term.text)
            elif term.id is not None:
                vector = _row_of(snapshot, term.id)
            else:
                vector = self._uploads.known(term.upload or "").vector
            if len(vector) != len(total):
                raise Refusal(*GONE, "the model has changed since; drop the picture again")
            total += term.weight * vector
        if np.linalg.norm(total) < 1e-6 * sum(abs(term.weight) for term in asked.terms):
            raise Refusal(*BAD, "these mean the opposite of each other and add up to nothing")
        return total

    def _left_out(self, asked: Asked) -> set[int]:
        left_out = set(asked.without)
        if asked.leave_out_terms:
            left_out.update(term.id for term in asked.terms if term.id is not None)
            for term in asked.terms:
                if term.upload is not None:
                    left_out.update(self._uploads.known(term.upload).same_as)
        return left_out

    def _ordered(self, library: Library, version: int, order: str) -> Ids:
        """All pictures in one of the orders that need no query."""

        def asked() -> Ids:
            found: list[int] = []
            for piece in _ORDERS[order]:
                # One value instead of a row each: a hundred thousand ids in a third of the time.
                inner = f"SELECT id FROM images {piece}"
                (text,) = library.connection.execute(f"SELECT json_group_array(id) FROM ({inner})").fetchone()
                found += json.loads(text)
            return np.array(found, dtype=np.int64)

        return self._remembered((version, order), asked)

    def _remembered(self, key: tuple[int, object], ask: Callable[[], Ids]) -> Ids:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        ids = ask()
        with self._lock:
            self._known[key] = ids
            while len(self._known) > 1 and (
                len(self._known) > _FILTERED_KEPT or sum(map(len, self._known.values())) > _MOST_FILTERED_KEPT
            ):
                self._known.popitem(last=False)
        return ids

    def _let_go(self) -> None:
        """Forget the oldest, and those that hold vectors of a state long gone."""
        states: list[int] = []
        for found in reversed(self._found.values()):
            if found.snapshot is not None and id(found.snapshot) not in states:
                states.append(id(found.snapshot))
        for token, found in list(self._found.items()):
            if found.snapshot is not None and id(found.snapshot) not in states[:_STATES_KEPT]:
                del self._found[token]
        while len(self._found) > 1 and (
            len(self._found) > _KEPT or sum(each.total for each in self._found.values()) > _RESULTS_KEPT
        ):
            self._found.popitem(last=False)


def _row_of(snapshot: Snapshot, image_id: int) -> NDArray[np.float64]:
    """The unit vector of a picture. Raises Refusal where it has none, or a damaged one."""
    place = int(np.searchsorted(snapshot.ids, image_id))
    if place == len(snapshot.ids) or snapshot.ids[place] != image_id:
        raise Refusal(*NOT_FOUND, "this picture has no embedding by the model in use")
    row = snapshot.rows[place].astype(np.float64)
    length = float(np.linalg.norm(row))
    if not np.isfinite(length) or length == 0:
        raise Refusal(*NOT_FOUND, "the embedding of this picture is damaged; 'clip library check' says more")
    return np.asarray(row / length)
