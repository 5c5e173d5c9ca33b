"""A copy of the library at one moment, taken while others go on writing; and the file without its empty pages."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from clipcli.errors import ClipError, LibraryDamagedError, LibraryLockedError, NoSpaceError, NotFoundError, UsageError
from clipcli.library.file_header import check_header, has_journal
from clipcli.library.partial_files import partial_file, sweep_partial_files
from clipcli.library.roots import ANCHOR_SETTING
from clipcli.library.sqlite_errors import is_no_room, shown, translated
from clipcli.library.store import Library
from clipcli.library.stored_paths import to_stored
from clipcli.library.vectors import cache_path, caches_of

__all__ = ["backup_library", "vacuum_library"]

_PAGES_AT_ONCE = 512  # 8 MB: often enough for a bar and for Ctrl-C


def backup_library(library: Library, target: Path, *, on_progress: Callable[[int, int], None]) -> int:
    """Copy the library as it is at this moment to `target`; how many bytes that has. No writer waits for it.

    The copy is checked, and only then takes the place of an earlier backup of the same library. Raises UsageError where
    `target` is anything else, NotFoundError, LibraryLockedError, NoSpaceError,
    LibraryDamagedError.
    """
    target = Path(os.path.abspath(target))
    if not target.parent.is_dir():
        raise NotFoundError(f"no such folder: {shown(target.parent)}")
    _refuse_to_replace(library, target)
    if not os.access(target.parent, os.W_OK | os.X_OK):  # SQLite would say no more than that it cannot open the file
        raise LibraryLockedError(f"no backup can be written to {shown(target)} ({os.strerror(errno.EACCES)})")
    sweep_partial_files(target)
    partial = partial_file(target)
    try:
        with translated(target):
            _copy(library, partial, target, on_progress)
            _note_anchor(library, partial)
            _check(partial)
        _sync(partial, os.O_RDWR)
        os.replace(partial, target)
        if os.name != "nt":
            _sync(target.parent, os.O_RDONLY)
    except PermissionError as error:
        raise LibraryLockedError(f"no backup can be written to {shown(target)} ({error.strerror})") from None
    finally:
        for left in (partial, *(partial.with_name(partial.name + end) for end in ("-journal", "-wal", "-shm"))):
            with contextlib.suppress(OSError):
                left.unlink()
    return target.stat().st_size


def vacuum_library(library: Library) -> tuple[int, int]:
    """Write the file anew without empty pages, and throw away old caches and what killed processes have left beside it:
    bytes before and after.

    The caller holds the library's `RunLock`. Needs as much room as the library has, for a while.
    """
    from clipcli.library.columns import columns_file, columns_files
    from clipcli.library.models import stored_models

    sweep_partial_files(library.path)
    current = {columns_file(library), *(cache_path(library, model) for model in stored_models(library))}
    before = library.path.stat().st_size
    with translated(library.path):
        library.connection.execute("VACUUM")
        library.connection.execute("PRAGMA optimize")
        library.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    for path in (*caches_of(library), *columns_files(library)):
        if path not in current:
            with contextlib.suppress(OSError):
                path.unlink()
    return before, library.path.stat().st_size


def _refuse_to_replace(library: Library, target: Path) -> None:
    if not os.path.lexists(target):
        return
    with contextlib.suppress(OSError):
        if os.path.samefile(target, library.path):
            raise UsageError(f"{shown(target)} is the library itself")
    try:
        check_header(target)
        with closing(_reader_without_trace(target)) as other:
            found = other.execute("SELECT value FROM settings WHERE key = 'uuid'").fetchone()
        same = found == (library.uuid,) and not has_journal(target)
    except (ClipError, sqlite3.Error):
        same = False
    if not same:
        raise UsageError(f"{shown(target)} is there already and is no backup of this library")


def _copy(library: Library, partial: Path, target: Path, on_progress: Callable[[int, int], None]) -> None:
    # The read transaction holds the state of this moment; without it every commit of a writer would begin it anew.
    with library.read() as connection:
        connection.execute("SELECT 1 FROM settings").fetchone()
        with closing(sqlite3.connect(partial)) as copy:
            try:
                connection.backup(
                    copy,
                    pages=_PAGES_AT_ONCE,
                    progress=lambda status, remaining, total: on_progress(total - remaining, total),  # noqa: ARG005
                )
            except sqlite3.Error as error:
                if is_no_room(error):  # not the library's disk
                    raise NoSpaceError(f"no space left for {shown(target)}; no backup was made") from error
                raise


def _note_anchor(library: Library, partial: Path) -> None:
    """Roots beside a `.clip` folder are relative to it, and the copy lies elsewhere."""
    if library.anchor is None:
        return
    with closing(sqlite3.connect(partial)) as copy, copy:
        setting = {"key": ANCHOR_SETTING, "value": to_stored(library.anchor)}
        copy.execute("INSERT OR REPLACE INTO settings (key, value) VALUES (:key, :value)", setting)


def _check(partial: Path) -> None:
    with closing(_reader_without_trace(partial)) as copy:
        (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise LibraryDamagedError(f"the library is damaged ({' '.join(str(found).split())}); no backup was made")


def _reader_without_trace(path: Path) -> sqlite3.Connection:
    """For a file that nobody writes to; no file appears beside it."""
    return sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro&immutable=1", uri=True)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
