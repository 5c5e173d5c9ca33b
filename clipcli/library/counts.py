"""What a library holds, counted: for a person who wants to know, and for scripts that watch over it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipcli.library.known_files import has_frames
from clipcli.library.models import StoredModel, stored_models
from clipcli.library.roots import read_roots
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Count",
    "LibraryCounts",
    "RootCounts",
    "SkippedFile",
    "count_library",
    "count_pictures",
    "count_roots",
    "skipped_files",
]

UNKNOWN_YEAR = "unknown"
MANY = 50_000  # pictures: fewer are asked in SQL as quickly as columns are opened


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """How many of something, and how many bytes their files (of a model: its vectors) have together."""

    name: str
    count: int
    bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RootCounts:
    """A folder that was indexed. `present`: it is there at this moment. `scanned_at` is None before a whole look."""

    root_id: int
    path: bytes
    anchored: bool
    pictures: int
    bytes: int
    skipped: int
    present: bool
    scanned_at: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SkippedFile:
    """A file or folder that could not be read: `path` absolute, `reason` one word, `detail` a phrase."""

    path: bytes
    kind: str
    reason: str
    detail: str
    first_seen_at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LibraryCounts:
    """`stale` pictures could not be read when last looked at and keep their old vectors; of `truncated` ones the file
    is cut short, and the vectors are of what is there.
    """

    file_bytes: int
    pictures: Count
    stale: int
    truncated: int
    tags: int
    roots: tuple[RootCounts, ...]
    models: tuple[StoredModel, ...]
    formats: tuple[Count, ...]
    years: tuple[Count, ...]
    skipped: tuple[Count, ...]


def count_library(library: Library) -> LibraryCounts:
    """Everything at one moment."""
    with library.read() as connection:
        (tags,) = connection.execute("SELECT count(*) FROM tags").fetchone()
        skipped = connection.execute(
            "SELECT reason, count(*) AS files, sum(size) FROM skipped GROUP BY reason ORDER BY files DESC, reason"
        ).fetchall()
        counted = _in_columns(library) or _in_rows(connection)
        return LibraryCounts(
            file_bytes=_file_bytes(library),
            pictures=counted.pictures,
            stale=counted.stale,
            truncated=counted.truncated,
            tags=tags,
            roots=tuple(_roots(library, counted.by_root)),
            models=tuple(stored_models(library)),
            formats=counted.formats,
            years=counted.years,
            skipped=_counts(skipped),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counted:
    """What takes going through all pictures. `by_root`: how many a root has, and their bytes."""

    pictures: Count
    stale: int
    truncated: int
    formats: tuple[Count, ...]
    years: tuple[Count, ...]
    by_root: Mapping[int, tuple[int, int]]


def _in_rows(connection: sqlite3.Connection) -> _Counted:
    pictures, bytes_, stale = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(stale), 0) FROM images"
    ).fetchone()
    truncated = 0
    if has_frames(connection):
        (truncated,) = connection.execute("SELECT count(*) FROM images WHERE truncated").fetchone()
    formats = connection.execute(
        "SELECT format, count(*) AS files, sum(size) FROM images GROUP BY format ORDER BY files DESC, format"
    ).fetchall()
    years = connection.execute(
        "SELECT coalesce(substr(taken_at, 1, 4), ?) AS year, count(*), sum(size) FROM images "
        "GROUP BY year ORDER BY year",
        (UNKNOWN_YEAR,),
    ).fetchall()
    return _Counted(
        pictures=Count(name="pictures", count=pictures, bytes=bytes_),
        stale=stale,
        truncated=truncated,
        formats=_counts(formats),
        years=_counts(years),
        by_root=_by_root(connection),
    )


def _in_columns(library: Library) -> _Counted | None:
    """The same of a large library, in a hundredth of the time. None where there are no columns."""
    (last,) = library.connection.execute("SELECT max(id) FROM images").fetchone()
    if (last or 0) < MANY:
        return None
    import numpy as np  # late, as the next: counting a small library does without

    from clipcli.library.columns import STALE, TRUNCATED, known_columns

    columns = known_columns(library)
    if columns is None:
        return None

    def of_each(places: NDArray[np.int32], names: Sequence[Any]) -> list[tuple[Any, int, int]]:
        """How many and how many bytes; sums are exact up to 2^53."""
        counts = np.bincount(places, minlength=len(names))
        sizes = np.bincount(places, weights=columns.sizes, minlength=len(names))
        return [(name, int(count), int(size)) for name, count, size in zip(names, counts, sizes, strict=True)]

    by_root: dict[int, tuple[int, int]] = {}
    for (root_id, _), count, bytes_ in of_each(columns.folder, columns.folders):
        before = by_root.get(root_id, (0, 0))
        by_root[root_id] = (before[0] + count, before[1] + bytes_)
    formats = of_each(columns.format, columns.formats)
    return _Counted(
        pictures=Count(name="pictures", count=len(columns.ids), bytes=int(columns.sizes.sum())),
        stale=int(np.count_nonzero(columns.marks & STALE)),
        truncated=int(np.count_nonzero(columns.marks & TRUNCATED)),
        formats=_counts(sorted(formats, key=lambda each: (-each[1], each[0].encode()))),
        years=_counts(sorted(of_each(columns.year, columns.years), key=lambda each: each[0].encode())),
        by_root=by_root,
    )


def count_pictures(library: Library) -> int:
    """How many pictures the library holds, with whatever embeddings."""
    return int(library.connection.execute("SELECT count(*) FROM images").fetchone()[0])


def count_roots(library: Library) -> list[RootCounts]:
    with library.read() as connection:
        return _roots(library, _by_root(connection))


def _by_root(connection: sqlite3.Connection) -> dict[int, tuple[int, int]]:
    found = connection.execute("SELECT root_id, count(*), sum(size) FROM images GROUP BY root_id")
    return {root_id: (count, bytes_) for root_id, count, bytes_ in found}


def _roots(library: Library, by_root: Mapping[int, tuple[int, int]]) -> list[RootCounts]:
    paths = {root.id: root.path for root in read_roots(library)}
    rows = library.connection.execute(
        "SELECT id, anchored, scanned_at, (SELECT count(*) FROM skipped WHERE root_id = roots.id) "
        "FROM roots ORDER BY id"
    ).fetchall()
    return [
        RootCounts(
            root_id=number,
            path=paths[number],
            anchored=bool(anchored),
            pictures=by_root.get(number, (0, 0))[0],
            bytes=by_root.get(number, (0, 0))[1],
            skipped=skipped,
            present=os.path.isdir(paths[number]),
            scanned_at=scanned_at,
        )
        for number, anchored, scanned_at, skipped in rows
    ]


def skipped_files(library: Library, *, reason: str | None = None) -> list[SkippedFile]:
    """All of them, or those with one reason, root by root in the order of their paths."""
    with library.read() as connection:
        roots = {root.id: root.path for root in read_roots(library)}
        rows = connection.execute(
            "SELECT root_id, path, kind, reason, detail, first_seen_at FROM skipped "
            "WHERE ?1 IS NULL OR reason = ?1 ORDER BY root_id, path",
            (reason,),
        ).fetchall()
    return [
        SkippedFile(
            path=absolute(roots[root_id], from_stored(path)),
            kind=kind,
            reason=why,
            detail=detail,
            first_seen_at=first_seen_at,
        )
        for root_id, path, kind, why, detail, first_seen_at in rows
    ]


def _counts(rows: list[tuple[str, int, int]]) -> tuple[Count, ...]:
    return tuple(Count(name=name, count=count, bytes=bytes_) for name, count, bytes_ in rows)


def _file_bytes(library: Library) -> int:
    """The file, and what lies in the journal beside it."""
    total = 0
    for path in (os.fspath(library.path), f"{os.fspath(library.path)}-wal"):
        try:
            total += os.stat(path).st_size
        except OSError:
            continue
    return total
