"""What a library knows of the files of one root, asked for file by file while its folders are walked through.

Nothing of a root is held as a whole: rows come in the order of their paths, which is nearly that of a walk, so that
the next one asked for is mostly the next one there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from clipcli.library.id_set import IdSet
from clipcli.library.known_files import KnownImage, KnownSkip, has_frames, has_wanted_frames, place_condition
from clipcli.library.mounts import is_below
from clipcli.library.stored_paths import from_stored, to_stored

__all__ = ["KnownRows"]

_NEAR = 12  # rows: what lies further ahead is asked for anew, which takes as long as passing over so many
_FEW, _MANY = 8, 512  # rows read at a time

_IMAGES = (
    "SELECT images.path, images.id, images.size, images.mtime_ns, "
    "coalesce(embeddings.digest = images.digest AND NOT images.stale AND {frames}, 0) FROM images "
    # Left to itself SQLite takes an index that makes it read the vectors' rows as well.
    "LEFT JOIN embeddings INDEXED BY idx_embeddings_model_id_image_id_digest "
    "ON embeddings.image_id = images.id AND embeddings.model_id = :model "
    "WHERE images.root_id = :root AND images.path >= :first"
)
_SKIPS = (
    "SELECT path, id, kind, reason, size, mtime_ns, megapixels, {seconds} FROM skipped "
    "WHERE root_id = :root AND path >= :first"
)


class KnownRows:
    """Below one folder of a root (empty: the root itself), for one model. Without a `connection`, and of a root that is
    not in the library yet, nothing is known.

    A picture that was asked for and is known counts as met.
    """

    def __init__(
        self,
        connection: sqlite3.Connection | None,
        root_id: int | None,
        folder: bytes,
        *,
        model_id: int | None,
        frames: int,
    ) -> None:
        self._connection = connection if root_id is not None else None
        self._root_id = root_id
        self._folder = folder
        self._met, self._met_skips = IdSet(), IdSet()
        self._images: _Rows | None = None
        self._skips: _Rows | None = None
        if self._connection is not None:
            has_right_frames = has_wanted_frames(self._connection, frames)
            seconds = "seconds" if has_frames(self._connection) else "NULL"
            values = {"root": root_id, "model": model_id}
            self._images = _Rows(self._connection, _IMAGES.format(frames=has_right_frames), "images.path", values)
            self._skips = _Rows(self._connection, _SKIPS.format(seconds=seconds), "path", {"root": root_id})

    @property
    def met(self) -> int:
        """How many pictures."""
        return len(self._met)

    def image(self, path: bytes) -> KnownImage | None:
        row = None if self._images is None else self._images.at(path)
        if row is None:
            return None
        self._met.add(row[1])
        return KnownImage._make(row[1:])

    def skip(self, path: bytes) -> KnownSkip | None:
        row = None if self._skips is None else self._skips.at(path)
        if row is None:
            return None
        self._met_skips.add(row[1])
        return KnownSkip(*row[1:])

    def any(self, place: bytes = b"", *, until: int | None = None) -> bool:
        """Whether a picture is known in a place, with an id up to `until` where there is such a limit."""
        limit = "" if until is None else f" AND id <= {until:d}"
        return next(self._select("1", "images", place, f"{limit} LIMIT 1"), None) is not None

    def looked_at(self) -> Iterator[tuple[bytes, str]]:
        """Paths, and when each picture was last looked at (ISO 8601, UTC)."""
        return ((from_stored(path), seen_at) for path, seen_at in self._select("path, updated_at", "images"))

    def unmet(self, place: bytes = b"") -> Iterator[tuple[bytes, int]]:
        """Paths and ids of the pictures in a place that were not met."""
        if len(self._met) == next(self._select("count(*)", "images"), (0,))[0]:
            return  # of a library that is up to date nothing is read again
        for path, image_id in self._select("path, id", "images", place):
            if image_id not in self._met:
                yield from_stored(path), image_id

    def unmet_skips(self) -> Iterator[tuple[bytes, int, str]]:
        """Likewise what could not be read, with the kind of each."""
        for path, skip_id, kind in self._select("path, id, kind", "skipped"):
            if skip_id not in self._met_skips:
                yield from_stored(path), skip_id, kind

    def _select(self, what: str, table: str, place: bytes = b"", more: str = "") -> Iterator[tuple[Any, ...]]:
        """Rows below the folder, and of those the ones in `place`."""
        if self._connection is None or not (is_below(place, self._folder) or is_below(self._folder, place)):
            return iter(())
        where, values = place_condition("path", place if is_below(place, self._folder) else self._folder)
        return self._connection.execute(
            f"SELECT {what} FROM {table} WHERE root_id = ? AND {where}{more}", (self._root_id, *values)
        )


class _Rows:
    """Rows of a query, by the path that is the first column: the right one in any order of asking, the quicker the more
    it is the order of the paths. `query` takes `:first`, the path to begin with.
    """

    def __init__(self, connection: sqlite3.Connection, query: str, path: str, values: dict[str, int | None]) -> None:
        # Text comes before all bytes, whatever is in either.
        self._text = _Sorted(connection, f"{query} AND {path} < x'' ORDER BY {path}", values)
        self._bytes = _Sorted(connection, f"{query} AND {path} >= x'' ORDER BY {path}", values)

    def at(self, path: bytes) -> tuple[Any, ...] | None:
        stored = to_stored(path)
        return self._text.at(stored) if isinstance(stored, str) else self._bytes.at(stored)


class _Sorted:
    """One of the two kinds of paths. `_row` is the first row from the path on that was asked for last; None at the end.

    Rows are read a few at a time, more where they are asked for one after the other, and no transaction stays open in
    between: it would keep others who write from clearing up behind themselves for as long as the walk takes.
    """

    def __init__(self, connection: sqlite3.Connection, query: str, values: dict[str, int | None]) -> None:
        self._connection = connection
        self._query = f"{query} LIMIT :count"
        self._values = values
        self._asked: Any = None
        self._row: tuple[Any, ...] | None = None
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self._last: Any = None  # the path of the last one read, where there may be more
        self._count = 0

    def at(self, path: str | bytes) -> tuple[Any, ...] | None:
        if self._asked is None or path < self._asked:
            self._begin(path)
        self._asked = path
        row, passed = self._row, 0
        while row is not None and row[0] < path:
            passed += 1
            if passed > _NEAR:
                self._begin(path)
                row = self._row
                break
            row = next(self._rows, None) or self._more()
        self._row = row
        return row if row is not None and row[0] == path else None

    def _begin(self, path: str | bytes) -> None:
        self._row = self._read(path, _FEW)

    def _more(self) -> tuple[Any, ...] | None:
        if self._last is None:
            return None
        after = self._last + ("\0" if isinstance(self._last, str) else b"\0")  # nothing comes in between
        return self._read(after, min(4 * self._count, _MANY))

    def _read(self, first: str | bytes, count: int) -> tuple[Any, ...] | None:
        rows = self._connection.execute(self._query, {**self._values, "first": first, "count": count}).fetchall()
        self._last, self._count = rows[-1][0] if len(rows) == count else None, count
        self._rows = iter(rows)
        return next(self._rows, None)
