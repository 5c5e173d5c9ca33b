"""What SQLite says, as the errors of this program."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipcli.errors import ClipError, LibraryDamagedError, LibraryLockedError, NoSpaceError

__all__ = ["is_no_file_beside", "is_no_room", "one_line", "shown", "translated"]

# https://sqlite.org/rescode.html; the low byte of an extended code is the primary one.
_BUSY, _LOCKED, _READONLY, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 6, 8, 10, 11, 13, 14, 26
_SHORT_READ = 522  # IOERR_SHORT_READ: the file ends before its last page does
_SAID_OF_DAMAGE = ("no such", "malformed", "Could not decode")
_NO_SHARED_MEMORY = frozenset((4618, 4874))  # IOERR_SHMOPEN, IOERR_SHMSIZE: no room for the file beside the library
_NOT_WRITTEN = _NO_SHARED_MEMORY | {778}  # IOERR_WRITE: a file size limit, a quota


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Within, errors of SQLite about the library at `path` come out as ClipErrors."""
    try:
        yield
    except UnicodeDecodeError as error:  # what SQLite wants to say has damaged names in it
        raise LibraryDamagedError(f"the library {shown(path)} is damaged (it has text that is none)") from error
    except sqlite3.Error as error:
        known = _as_clip_error(error, path)
        if known is None:
            raise
        raise known from error


def shown(path: Path) -> str:
    """A path in a message."""
    return os.fsdecode(path)


def is_no_file_beside(error: sqlite3.Error) -> bool:
    """Whether what readers and writers share cannot be made: no permission in the folder, or no room on the disk."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF in (_READONLY, _CANTOPEN) or code in _NO_SHARED_MEMORY


def is_no_room(error: sqlite3.Error) -> bool:
    """Whether a file could not grow: the disk is full, or the file may not be larger."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF == _FULL or code in _NOT_WRITTEN


def one_line(error: Exception, limit: int = 200) -> str:
    """What an error says, for a message: SQLite may quote whole tables."""
    text = " ".join(str(error).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _as_clip_error(error: sqlite3.Error, path: Path) -> ClipError | None:
    code = getattr(error, "sqlite_errorcode", None) or 0
    primary, where, said = code & 0xFF, shown(path), one_line(error)
    if is_no_room(error):
        return NoSpaceError(f"no space left for the library {where}; what was committed is safe")
    if primary in (_BUSY, _LOCKED):
        return LibraryLockedError(f"another program is writing to the library {where}; try again when it is done")
    if primary in (_READONLY, _CANTOPEN):
        return LibraryLockedError(f"the library {where} cannot be written here ({said})")
    # Statements here are fixed, so a table they do not find is the file's fault.
    if primary in (_CORRUPT, _NOTADB) or code == _SHORT_READ or said.startswith(_SAID_OF_DAMAGE):
        return LibraryDamagedError(f"the library {where} is damaged ({said})")
    return ClipError(f"the library {where} cannot be used ({said})") if primary == _IOERR else None
