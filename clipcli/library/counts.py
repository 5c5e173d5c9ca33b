"""What a library holds, counted: for a person who wants to know, and for scripts that watch over it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from clipcli.library.known_files import has_frames
from clipcli.library.models import StoredModel, stored_models
from clipcli.library.roots import read_roots
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored

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
        pictures, bytes_, stale = connection.execute(
            "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(stale), 0) FROM images"
        ).fetchone()
        truncated = 0
        if has_frames(connection):
            (truncated,) = connection.execute("SELECT count(*) FROM images WHERE truncated").fetchone()
        (tags,) = connection.execute("SELECT count(*) FROM tags").fetchone()
        formats = connection.execute(
            "SELECT format, count(*) AS files, sum(size) FROM images GROUP BY format ORDER BY files DESC, format"
        ).fetchall()
        years = connection.execute(
            "SELECT coalesce(substr(taken_at, 1, 4), ?) AS year, count(*), sum(size) FROM images "
            "GROUP BY year ORDER BY year",
            (UNKNOWN_YEAR,),
        ).fetchall()
        skipped = connection.execute(
            "SELECT reason, count(*) AS files, sum(size) FROM skipped GROUP BY reason ORDER BY files DESC, reason"
        ).fetchall()
        return LibraryCounts(
            file_bytes=_file_bytes(library),
            pictures=Count(name="pictures", count=pictures, bytes=bytes_),
            stale=stale,
            truncated=truncated,
            tags=tags,
            roots=tuple(count_roots(library)),
            models=tuple(stored_models(library)),
            formats=_counts(formats),
            years=_counts(years),
            skipped=_counts(skipped),
        )


def count_pictures(library: Library) -> int:
    """How many pictures the library holds, with whatever embeddings."""
    return int(library.connection.execute("SELECT count(*) FROM images").fetchone()[0])


def count_roots(library: Library) -> list[RootCounts]:
    with library.read() as connection:
        paths = {root.id: root.path for root in read_roots(library)}
        rows = connection.execute(
            "SELECT id, anchored, scanned_at, "
            "(SELECT count(*) FROM images WHERE root_id = roots.id), "
            "(SELECT coalesce(sum(size), 0) FROM images WHERE root_id = roots.id), "
            "(SELECT count(*) FROM skipped WHERE root_id = roots.id) FROM roots ORDER BY id"
        ).fetchall()
    return [
        RootCounts(
            root_id=number,
            path=paths[number],
            anchored=bool(anchored),
            pictures=pictures,
            bytes=bytes_,
            skipped=skipped,
            present=os.path.isdir(paths[number]),
            scanned_at=scanned_at,
        )
        for number, anchored, scanned_at, pictures, bytes_, skipped in rows
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
