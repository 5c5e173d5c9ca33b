"""What the library knows of a file, so that one that is unchanged need not be opened."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Protocol

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
    "has_wanted_frames",
    "looked_at",
    "parts_of",
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


class KnownImage(NamedTuple):
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


def wanted_frames(frames: int) -> str:
    """SQL: of how many frames an image's vector has to be. 0, which none is, where nobody has counted them."""
    if frames == 1:
        return "1"
    return (
        f"CASE WHEN images.frames IS NOT NULL THEN min(images.frames, {frames:d}) "
        f"WHEN images.format IN ({_MOVING_FORMATS}) THEN 0 ELSE 1 END"
    )


def has_wanted_frames(connection: sqlite3.Connection, frames: int) -> str:
    """SQL, of a row of `images` and the parameter `:model`: whether its vector by that model is of as many frames as
    are wanted. Pictures of one frame, which are nearly all, take no look at the vector's row.
    """
    moving = f"images.format IN ({_MOVING_FORMATS})"
    if not has_frames(connection):
        return "1" if frames == 1 else f"NOT {moving}"
    uncounted = f"WHEN images.frames IS NULL AND {moving} THEN 0 " if frames > 1 else ""
    return (
        "CASE WHEN images.frames > 1 THEN (SELECT made.frames FROM embeddings AS made "
        f"WHERE made.image_id = images.id AND made.model_id = :model) = min(images.frames, {frames:d}) {uncounted}"
        "ELSE 1 END"
    )


def has_frames(connection: sqlite3.Connection) -> bool:
    """Whether the library is of a version that knows of frames; an older one may only be read."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version) >= FRAMES_SINCE


def digests_of(library: Library, image_ids: Iterable[int]) -> Iterator[tuple[int, str]]:
    return _of_each(library, "SELECT id, digest FROM images WHERE id IN ({})", image_ids)


def looked_at(library: Library, image_ids: Iterable[int]) -> Iterator[tuple[bytes, str]]:
    """Paths relative to their roots, and when each picture was last looked at (ISO 8601, UTC)."""
    rows = _of_each(library, "SELECT path, updated_at FROM images WHERE id IN ({})", image_ids)
    return ((from_stored(path), seen_at) for path, seen_at in rows)


def _of_each(library: Library, query: str, image_ids: Iterable[int]) -> Iterator[tuple[Any, ...]]:
    for part in parts_of(image_ids):
        with library.read() as connection:
            rows = connection.execute(query.format(",".join("?" * len(part))), part).fetchall()
        yield from rows


def parts_of(image_ids: Iterable[int]) -> Iterator[list[int]]:
    """As many as one statement takes, and few enough that a transaction over them is short."""
    remaining = iter(image_ids)
    while part := list(islice(remaining, _IDS_AT_ONCE)):
        yield part


def place_condition(column: str, folder: bytes) -> tuple[str, tuple[str | bytes, ...]]:
    """A condition on a path and its values: the folder and all below it; the empty one is the root.

    Text and bytes sort apart, so a folder's range is asked for in both.
    """
    if not folder:
        return "1", ()
    first, end = range_below(folder)
    this, text_first, text_end = to_stored(folder), to_stored(first), to_stored(end)
    return (
        f"({column} = ? OR ({column} >= ? AND {column} < ?) OR ({column} >= ? AND {column} < ?))",
        (this, text_first, text_end, first, end),
    )
