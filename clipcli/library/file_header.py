"""What a library file says about itself in its first hundred bytes, read without SQLite and so without a trace."""

from __future__ import annotations

import os
from pathlib import Path

from clipcli.errors import LibraryDamagedError, LibraryLockedError, NotFoundError
from clipcli.library.schema import APPLICATION_ID, SCHEMA_VERSION
from clipcli.library.sqlite_errors import shown

__all__ = ["check_header", "has_journal"]

# https://sqlite.org/fileformat2.html, 1.3
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100


def check_header(path: Path) -> None:
    """Raise NotFoundError, LibraryDamagedError or LibraryLockedError unless this is a whole library of ours."""
    where = shown(path)
    try:
        with open(path, "rb") as file:
            header = file.read(_HEADER_BYTES)
            size = os.fstat(file.fileno()).st_size
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"no library at {where}; 'clip embed FOLDER' makes one") from None
    except IsADirectoryError:
        raise LibraryDamagedError(f"{where} is a folder, not a library") from None
    except PermissionError:
        raise LibraryLockedError(f"the library {where} cannot be read: permission denied") from None
    if not header:
        raise LibraryDamagedError(f"{where} is an empty file, not a library")
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise LibraryDamagedError(f"{where} is not a library")
    if _number(header, 68) != APPLICATION_ID:
        raise LibraryDamagedError(f"{where} is another program's database, not a library")
    check_version(_number(header, 60), path)
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    if not _is_possible(header, page_size):
        raise LibraryDamagedError(f"the library {where} is damaged (its first bytes make no sense)")
    pages_known = _number(header, 24) == _number(header, 92)
    if pages_known and size < _number(header, 28) * page_size and not has_journal(path):
        raise LibraryDamagedError(f"the library {where} is damaged (it is cut short)")


def _is_possible(header: bytes, page_size: int) -> bool:
    """Whether the numbers that every SQLite of today writes alike are there: versions, fractions, format, encoding."""
    return (
        page_size in (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
        and header[18] in (1, 2)
        and header[19] in (1, 2)
        and header[21:24] == bytes((64, 32, 32))
        and 1 <= _number(header, 44) <= 4
        and _number(header, 56) == 1
    )


def check_version(version: int, path: Path) -> None:
    """Raise LibraryDamagedError for a schema this program does not know."""
    if version > SCHEMA_VERSION:
        raise LibraryDamagedError(
            f"the library {shown(path)} was made by a newer version of clip "
            f"(its schema is {version}, this one knows up to {SCHEMA_VERSION})"
        )
    if version < 1:
        raise LibraryDamagedError(f"the library {shown(path)} is damaged (it has no schema)")


def has_journal(path: Path) -> bool:
    """Whether changes lie beside the file that are not in it yet."""
    try:
        return os.stat(f"{os.fspath(path)}-wal").st_size > 0
    except OSError:
        return False


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], "big")
