"""What the library knows of the files below a folder, so that unchanged ones need not be opened."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from clipcli.library.schema import FRAMES_SINCE
from clipcli.library.store import Library
from clipcli.library.stored_paths import from_stored, range_below, to_stored
from clipcli.photos.frames import MOVING
from clipcli.photos.raw import NEEDS_RAW, can_read_raw

__all__ = [
    "KnownImage",
    "KnownSkip",
    "Wish",
    "digests_of",
    "has_frames",
    "known_images",
    "known_skips",
    "looked_at",
    "place_condition",
    "wanted_frames",
]

_IDS_AT_ONCE = 500
_MOVING_FORMATS = ", ".join(f"'{name}'" for name in sorted(MOVING))

# Reasons that lie outside the file: it may be readable now although nothing about it has changed.
_PASSING = frozenset(("no-permission", "io-error", "missing", "out-of-memory"))


class Wish(Protocol):
    """What of a run's options decides whether a known file is looked at again."""

    @property
    def max_megapixels(self) -> float: ...
    @property
    def seconds_per_file(self) -> float: ...
    @property
    def frames(self) -> int: ...
    @property
    def accept_truncated(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class KnownImage:
    """`current`: it has a vector of the model in use, made from the content it was last seen with and as many frames
    as are wanted.
    """

    id: int
    size: int
    mtime_ns: int
    current: bool


@dataclass(frozen=True, slots=True)
class KnownSkip:
    """A file or folder that could not be read when last looked at."""

    id: int
    kind: str
    reason: str
    size: int
    mtime_ns: int
    megapixels: float | None
    seconds: float | None

    def is_worth_another_try(self, size: int, mtime_ns: int, wish: Wish) -> bool:
        if (size, mtime_ns) != (self.size, self.mtime_ns) or self.reason in _PASSING:
            return True
        if self.reason == "truncated":
            return wish.accept_truncated
        if self.seconds is not None:
            return self.seconds < wish.seconds_per_file
        if self.reason == NEEDS_RAW:
            return can_read_raw()
        return self.megapixels is not None and self.megapixels <= wish.max_megapixels


def known_images(
    connection: sqlite3.Connection,
    root_id: int,
    model_id: int | None,
    *,
    folder: bytes | None,
    file: bytes | None = None,
    frames: int = 1,
) -> dict[str | bytes, KnownImage]:
    """By stored path: all below `folder` (empty: of the whole root), or the one `file`."""
    of_other_frames = _of_other_frames(connection, root_id, model_id, frames)
    where, values = place_condition("images.path", folder, file)
    rows = connection.execute(
        "SELECT images.path, images.id, images.size, images.mtime_ns, "
        "coalesce(embeddings.digest = images.digest AND NOT images.stale, 0) FROM images "
        # Left to itself SQLite takes an index that makes it read the vectors' rows as well.
        "LEFT JOIN embeddings INDEXED BY idx_embeddings_model_id_image_id_digest "
        "ON embeddings.image_id = images.id AND embeddings.model_id = ? "
        f"WHERE images.root_id = ? AND {where}",
        (model_id, root_id, *values),
    )
    return {
        path: KnownImage(id, size, mtime_ns, bool(current) and id not in of_other_frames)
        for path, id, size, mtime_ns, current in _all(rows)
    }


def wanted_frames(frames: int) -> str:
    """SQL: of how many frames an image's vector has to be. 0, which none is, where nobody has counted them."""
    if frames == 1:
        return "1"
    return (
        f"CASE WHEN images.frames IS NOT NULL THEN min(images.frames, {frames:d}) "
        f"WHEN images.format IN ({_MOVING_FORMATS}) THEN 0 ELSE 1 END"
    )


def _of_other_frames(connection: sqlite3.Connection, root_id: int, model_id: int | None, frames: int) -> set[int]:
    """Moving pictures whose vector is of more or fewer frames than wanted, and those that may be moving."""
    found: set[int] = set()
    if has_frames(connection):
        found.update(
            image_id
            for (image_id,) in connection.execute(
                "SELECT images.id FROM images JOIN embeddings ON embeddings.image_id = images.id "
                "WHERE images.root_id = ? AND images.frames > 1 AND embeddings.model_id = ? "
                "AND embeddings.frames <> min(images.frames, ?)",
                (root_id, model_id, frames),
            )
        )
    if frames > 1:
        uncounted = "AND frames IS NULL" if has_frames(connection) else ""
        found.update(
            image_id
            for (image_id,) in connection.execute(
                f"SELECT id FROM images WHERE root_id = ? AND format IN ({_MOVING_FORMATS}) {uncounted}", (root_id,)
            )
        )
    return found


def has_frames(connection: sqlite3.Connection) -> bool:
    """Whether the library is of a version that knows of frames; an older one may only be read."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version) >= FRAMES_SINCE


def known_skips(
    connection: sqlite3.Connection, root_id: int, *, folder: bytes | None, file: bytes | None = None
) -> dict[str | bytes, KnownSkip]:
    """As `known_images`, for what could not be read."""
    where, values = place_condition("path", folder, file)
    seconds = "seconds" if has_frames(connection) else "NULL"
    rows = connection.execute(
        f"SELECT path, id, kind, reason, size, mtime_ns, megapixels, {seconds} FROM skipped "
        f"WHERE root_id = ? AND {where}",
        (root_id, *values),
    )
    return {path: KnownSkip(*rest) for path, *rest in _all(rows)}


def digests_of(library: Library, image_ids: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    with library.read() as connection:
        for start in range(0, len(image_ids), _IDS_AT_ONCE):
            part = image_ids[start : start + _IDS_AT_ONCE]
            found.update(
                connection.execute(f"SELECT id, digest FROM images WHERE id IN ({','.join('?' * len(part))})", part)
            )
    return found


def looked_at(library: Library, image_ids: Sequence[int]) -> list[tuple[bytes, str]]:
    """Paths relative to their roots, and when each picture was last looked at (ISO 8601, UTC)."""
    with library.read() as connection:
        rows = connection.execute(
            "SELECT path, updated_at FROM images WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(image_ids)),),
        ).fetchall()
    return [(from_stored(path), seen_at) for path, seen_at in rows]


def _all(rows: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    while part := rows.fetchmany(5000):
        yield from part


def place_condition(column: str, folder: bytes | None, file: bytes | None) -> tuple[str, tuple[str | bytes, ...]]:
    """A condition on a path and its values: the folder and all below it, or the one file.

    Text and bytes sort apart, so a folder's range is asked for in both.
    """
    if file is not None:
        return f"{column} = ?", (to_stored(file),)
    if not folder:
        return "1", ()
    first, end = range_below(folder)
    this, text_first, text_end = to_stored(folder), to_stored(first), to_stored(end)
    return (
        f"({column} = ? OR ({column} >= ? AND {column} < ?) OR ({column} >= ? AND {column} < ?))",
        (this, text_first, text_end, first, end),
    )
