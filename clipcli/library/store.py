"""The library file as an object: opening it without harm, reading a consistent state, writing all or nothing."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import quote

from clipcli.errors import ClipError, LibraryDamagedError, LibraryLockedError, NoSpaceError
from clipcli.library.file_header import check_header, check_version, has_journal
from clipcli.library.location import anchor_of
from clipcli.library.partial_files import partial_file, sweep_partial_files
from clipcli.library.schema import APPLICATION_ID, READABLE_SINCE, migrate
from clipcli.library.sqlite_errors import is_no_file_beside, is_no_room, shown, translated

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Library"]

_BUSY_TIMEOUT_S = 4.0  # whoever is told that somebody else writes is told within five seconds
_PAGE_BYTES = 16384  # seven vectors of 512 numbers a page; with SQLite's 4096 a page holds one and is half empty


class Library:
    """An open library. `read()` gives one consistent state, `write()` one transaction; neither blocks the other.

    The object may go from one thread to another, but only one may use it at a time.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, *, writable: bool) -> None:
        self.path = path
        self.writable = writable
        self.connection = connection
        self._anchor = anchor_of(path)
        # How many embeddings each model has, and the states of the models (`library.models`) for which that is true.
        self.counted: tuple[tuple[tuple[int, str], ...], dict[int, int]] | None = None
        # The last cache of vectors that was mapped, by what tells it from another (`library.vectors`).
        self.mapped: tuple[object, tuple[NDArray[np.int64], NDArray[np.float32]]] | None = None

    @classmethod
    def open(cls, path: Path, *, write: bool = False, create: bool = False) -> Library:
        """The library at `path`; with `create`, a new one where there is none.

        Raises NotFoundError, LibraryDamagedError (foreign and newer files included; they are left as they are),
        LibraryLockedError when it cannot be read or written here, NoSpaceError.
        """
        if create and not os.path.lexists(path):
            _create(path)
        check_header(path)
        with translated(path):
            connection = _open_for_reading(path)
            try:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                check_version(version, path)
                if write:
                    _check_small_tables(connection, path)
                elif version < READABLE_SINCE:
                    raise ClipError(
                        f"the library {shown(path)} is of an older version; 'clip embed' brings it up to date"
                    )
            except BaseException:
                connection.close()
                raise
            if write:
                connection.close()
                connection = _open_for_writing(path)
        return cls(path, connection, writable=write)

    @property
    def uuid(self) -> str:
        value = self.setting("uuid")
        if not value:
            raise LibraryDamagedError(f"the library {shown(self.path)} is damaged (it has no uuid)")
        return value

    @property
    def anchor(self) -> bytes | None:
        """The folder that anchored roots are relative to; None when the library does not lie in a `.clip` folder."""
        return self._anchor

    def setting(self, key: str) -> str | None:
        with translated(self.path):
            row = self.connection.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_setting(self, key: str, value: str) -> None:
        """To be called within `write()`."""
        self.connection.execute("INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)", (key, value))

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Within, every query sees the same state of the library, whatever is written meanwhile."""
        with translated(self.path):
            if self.connection.in_transaction:
                yield self.connection
                return
            self.connection.execute("BEGIN")
            try:
                yield self.connection
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end, rolled back when anything is raised, Ctrl-C included."""
        with translated(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    def second_reader(self) -> sqlite3.Connection:
        """Another connection that sees what has been committed, for another thread. The caller closes it."""
        with translated(self.path):
            return _open_for_reading(self.path)

    def close(self) -> None:
        """Leave one whole file behind: what lies in the journal goes into it, so that a read-only copy can be read."""
        self.mapped = None
        if self.writable:
            with contextlib.suppress(sqlite3.Error):  # a reader may be at work; the next writer does it then
                self.connection.execute("PRAGMA busy_timeout = 500")
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self.connection.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, Exception) and not isinstance(error, ClipError | OSError):
                self._blame(error)
        finally:
            self.close()

    def _blame(self, error: Exception) -> None:
        """Raise LibraryDamagedError where an error that nobody expected has its reason in the file."""
        from clipcli.library.structure import why_unusable

        if self.connection.in_transaction:
            return
        reason = why_unusable(self.connection)
        if reason is not None:
            raise LibraryDamagedError(f"the library {shown(self.path)} is damaged ({reason})") from error


def _connect(path: Path, options: str) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path))}?{options}"
    # isolation_level None: transactions begin and end where this code says so, nowhere else.
    return sqlite3.connect(
        uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
    )


def _open_for_reading(path: Path) -> sqlite3.Connection:
    connection = _connect(path, "mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        return connection
    except sqlite3.OperationalError as error:
        connection.close()
        if not is_no_file_beside(error):
            raise
        no_room = is_no_room(error)
    # Reading shares memory with writers through a file beside the library, which cannot be made in a read-only folder
    # and on a full disk. Nobody can write there either, so the file may be read as it stands; but only if all of it is
    # in the file.
    if has_journal(path):
        if no_room:
            raise NoSpaceError(
                f"no space left beside the library {shown(path)}, which has changes there (-wal) that cannot be read"
            )
        raise LibraryLockedError(
            f"the library {shown(path)} has changes beside it (-wal) that cannot be read in a read-only folder; "
            "open it once where it can be written"
        )
    return _connect(path, "mode=ro&immutable=1")


def _check_small_tables(connection: sqlite3.Connection, path: Path) -> None:
    """A writer makes sure of the structure of everything but the vectors, which would take too long."""
    for table in ("settings", "roots", "models", "images", "skipped", "tags"):
        (found,) = connection.execute(f"PRAGMA quick_check('{table}')").fetchone()
        if found != "ok":
            raise LibraryDamagedError(f"the library {shown(path)} is damaged ({' '.join(str(found).split())})")


def _open_for_writing(path: Path) -> sqlite3.Connection:
    if not os.access(path, os.W_OK):  # SQLite would open it for reading and complain at the first write
        raise LibraryLockedError(f"the library {shown(path)} cannot be written here (it is read-only)")
    connection = _connect(path, "mode=rw")
    try:
        _set_up(connection)
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a commit survives a pulled plug; with NORMAL the last few may not
    connection.execute("PRAGMA foreign_keys = ON")


def _create(path: Path) -> None:
    """A new library under a name of its own, then renamed: whoever sees the file sees all of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_partial_files(path)
    partial = partial_file(path)
    with translated(path):
        try:
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()
            connection = _connect(partial, "mode=rwc")
            try:
                connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                migrate(connection)
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
            _publish(partial, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()


def _publish(partial: Path, path: Path) -> None:
    handle = os.open(partial, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    try:
        os.link(partial, path)  # unlike a rename, never takes the place of a library made in the meantime
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not os.path.lexists(path):
            os.rename(partial, path)
    if os.name != "nt":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
