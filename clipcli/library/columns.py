"""What filters and counts ask about pictures, as columns in a memory-mapped file of the user's cache folder.

SQLite goes through a million rows in a second; these columns take some milliseconds. The database is the truth: the
file bears the state of its pictures in its name, and for another state another one is made. Texts are numbers here,
places in a list of the different ones. What a column cannot hold (a width that is no number) is left to SQL, and so are
small libraries and those of an older version. Shapes: N pictures.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcli.library.counts import MANY, UNKNOWN_YEAR
from clipcli.library.schema import STATE_OF_PICTURES_SINCE
from clipcli.library.store import Library
from clipcli.library.stored_paths import from_stored
from clipcli.library.vectors import cache_folder, new_cache

__all__ = ["NO_DAY", "ODD_DAY", "Columns", "columns_file", "columns_files", "known_columns", "made_columns"]

NO_DAY, ODD_DAY = 0, -1  # no date at all; one that does not begin like 2021-07-04
STALE, TRUNCATED = 1, 2

_MAGIC = b"clip columns 1\n"
_HEADER_BYTES = 4096
_ROWS_AT_ONCE = 20_000
_LARGEST = 2**31 - 1
# In the order in which they lie in the file: the widest first, so that each begins where its numbers may.
_KINDS: dict[str, str] = {
    "ids": "<i8", "sizes": "<i8", "folder": "<i4", "day": "<i4", "width": "<i4", "height": "<i4", "format": "<i4",
    "camera": "<i4", "year": "<i4", "marks": "|u1",
}  # fmt: skip
_ROW_BYTES = sum(np.dtype(kind).itemsize for kind in _KINDS.values())

Numbers = NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Facts of all pictures, ids ascending; read-only."""

    ids: NDArray[np.int64]  # (N,), as all of these
    sizes: NDArray[np.int64]  # bytes of the files
    folder: NDArray[np.int32]  # of `folders`
    day: NDArray[np.int32]  # 20210704 of what begins with 2021-07-04, NO_DAY, or ODD_DAY
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    format: NDArray[np.int32]  # of `formats`
    camera: NDArray[np.int32]  # of `cameras`
    year: NDArray[np.int32]  # of `years`
    marks: NDArray[np.uint8]  # STALE, TRUNCATED
    folders: list[tuple[int, bytes]]  # root and path below it
    formats: list[str]
    cameras: list[str | None]
    years: list[str]


class _OddError(Exception):
    """A value that columns cannot hold; SQL can."""


def known_columns(library: Library) -> Columns | None:
    """The columns of the present state, made where they are not there; None where SQL has to be asked.

    To be called within `library.read()`, so that they are of the same state as whatever else is asked.
    """
    path = columns_file(library)
    if path is None:
        return None
    cached = _mapped(path)
    if cached is not None:
        return cached
    (last,) = library.connection.execute("SELECT max(id) FROM images").fetchone()
    if (last or 0) < MANY:
        return None
    content = made_columns(library)
    if content is None:
        return None
    try:
        with new_cache(path) as file:
            file.write(content)
    except OSError:  # no room, no permission: slower, not impossible
        return None
    for other in columns_files(library):
        if other != path:
            with contextlib.suppress(OSError):
                other.unlink()
    return _mapped(path)


def columns_file(library: Library) -> Path | None:
    """Where the columns of the present state are or will be; None where the library does not know its state."""
    (version,) = library.connection.execute("PRAGMA user_version").fetchone()
    if version < STATE_OF_PICTURES_SINCE:
        return None
    row = library.connection.execute("SELECT state FROM pictures_state").fetchone()
    return None if row is None else cache_folder() / f"{library.uuid}-pictures-{row[0]}.columns"


def columns_files(library: Library) -> list[Path]:
    """Those of the library, whatever their state."""
    with contextlib.suppress(OSError):
        return sorted(cache_folder().glob(f"{library.uuid}-pictures-*.columns"))
    return []


def made_columns(library: Library) -> bytes | None:
    """The content of the file; None where a value does not fit into a column."""
    lists: dict[str, dict[Any, int]] = {name: {} for name in ("folder", "format", "camera", "year")}
    try:
        parts = [_part(rows, lists) for rows in _rows(library.connection)]
    except (_OddError, OverflowError, UnicodeError, sqlite3.OperationalError):  # what else is wrong, SQL will say
        return None
    names = {
        "folders": [[root, path.decode("latin-1")] for root, path in lists["folder"]],
        **{f"{name}s": list(lists[name]) for name in ("format", "camera", "year")},
    }
    text = json.dumps(names).encode()
    count = sum(len(part["ids"]) for part in parts)
    columns = [np.concatenate([part[name] for part in parts]).tobytes() if parts else b"" for name in _KINDS]
    header = _MAGIC + f"{count} {len(text)}\n".encode()
    return b"".join((header.ljust(_HEADER_BYTES, b"\0"), *columns, text))


def _mapped(path: Path) -> Columns | None:
    """None where there is no such file, or where its size and first page are not those of one."""
    try:
        with open(path, "rb") as file:
            magic, numbers = file.readline(64), file.readline(64).split()
            if magic != _MAGIC or len(numbers) != 2:
                return None
            count, length = map(int, numbers)
            if os.fstat(file.fileno()).st_size != _HEADER_BYTES + count * _ROW_BYTES + length:
                return None
            data = np.memmap(file, dtype=np.uint8, mode="r").view(np.ndarray)
    except (OSError, ValueError):
        return None
    place = _HEADER_BYTES
    columns: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        end = place + count * np.dtype(kind).itemsize
        columns[name] = data[place:end].view(kind)
        place = end
    try:
        names: dict[str, Any] = json.loads(data[place:].tobytes())
        folders = [(int(root), str(folder).encode("latin-1")) for root, folder in names.pop("folders")]
        return Columns(**columns, folders=folders, **names)
    except (ValueError, TypeError, KeyError):
        return None


def _rows(connection: sqlite3.Connection) -> Iterator[list[tuple[Any, ...]]]:
    cursor = connection.execute(
        "SELECT id, size, root_id, path, taken_at, width, height, format, camera, stale + 2 * truncated FROM images "
        "ORDER BY id"
    )
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        yield rows


def _part(rows: list[tuple[Any, ...]], lists: dict[str, dict[Any, int]]) -> dict[str, Numbers]:
    """The columns of some rows; `lists` grows by what is new in them. Raises _OddError, OverflowError."""
    ids, sizes, roots, paths, dates, widths, heights, formats, cameras, marks = zip(*rows, strict=True)
    if {type(date) for date in dates} - {str, type(None)} or {type(name) for name in cameras} - {str, type(None)}:
        raise _OddError
    if {type(name) for name in formats} - {str}:
        raise _OddError
    folders = [(root, _folder_of(path)) for root, path in zip(roots, paths, strict=True)]
    years = [UNKNOWN_YEAR if date is None else date[:4] for date in dates]
    days = _Days()
    columns = {
        "ids": ids,
        "sizes": sizes,
        "folder": _numbered(folders, lists["folder"]),
        "day": [NO_DAY if date is None else days[date[:10]] for date in dates],
        "width": widths,
        "height": heights,
        "format": _numbered(formats, lists["format"]),
        "camera": _numbered(cameras, lists["camera"]),
        "year": _numbered(years, lists["year"]),
        "marks": marks,
    }
    return {name: _exactly(columns[name], kind) for name, kind in _KINDS.items()}


def _numbered(values: Any, known: dict[Any, int]) -> list[int]:
    """The place of each value among the different ones; new ones come at the end."""
    return [known.setdefault(value, len(known)) for value in values]


def _folder_of(path: str | bytes) -> bytes:
    if isinstance(path, str):
        return path.rpartition("/")[0].encode()
    return from_stored(path).rpartition(b"/")[0]


def _exactly(values: Any, kind: str) -> Numbers:
    """Whole numbers only, and none that does not fit: SQLite would take anything."""
    column = np.array(values)
    if column.dtype.kind != "i":
        raise _OddError
    narrow = column.astype(kind)
    if not np.array_equal(narrow, column):
        raise _OddError
    return narrow


class _Days(dict[str, int]):
    """Ten characters as a number that sorts as they do; each is worked out once."""

    def __missing__(self, text: str) -> int:
        parts = text.split("-")
        good = [len(part) for part in parts] == [4, 2, 2] and all(part.isascii() and part.isdigit() for part in parts)
        day = int("".join(parts)) if good else ODD_DAY
        self[text] = day or ODD_DAY  # 0000-00-00
        return self[text]
