"""The library as many threads use it: connections for reading that are kept open, one at a time for writing.

Whether somebody else has written is asked of SQLite, which knows it without looking at any table.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipcli.errors import LibraryLockedError
from clipcli.library.sqlite_errors import shown, translated
from clipcli.library.store import Library

__all__ = ["LibraryAccess"]

_KEPT_OPEN = 8


class LibraryAccess:
    """Raises at once what `Library.open` does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._idle: list[Library] = []
        self._file: tuple[int, int] | None = None
        self._watch: sqlite3.Connection | None = None
        self._seen = -1
        self._version = 0
        self.version()

    @contextmanager
    def reading(self) -> Iterator[Library]:
        """An open library of this thread's own; within, use `read()` for one state."""
        self.version()  # drops what leads to a file that another has taken the place of
        with self._lock:
            library = self._idle.pop() if self._idle else None
            file = self._file
        if library is None:
            library = Library.open(self.path)
        try:
            yield library
        except BaseException:
            library.close()
            raise
        with self._lock:
            if len(self._idle) < _KEPT_OPEN and file == self._file:
                self._idle.append(library)
                return
        library.close()

    @contextmanager
    def writing(self) -> Iterator[Library]:
        """The library open for writing; one of these at a time, other programs have their turns by SQLite's lock."""
        if not self._writing.acquire(timeout=10):
            raise LibraryLockedError(f"the library {shown(self.path)} is being written to")
        try:
            with Library.open(self.path, write=True) as library:
                yield library
        finally:
            self._writing.release()

    def version(self) -> int:
        """A number that is larger whenever anything was written since, by whatever program."""
        with self._lock:
            now = _which_file(self.path)
            if self._watch is None or now != self._file:  # another file has taken its place
                self._drop()
                with Library.open(self.path) as library:
                    self._watch = library.second_reader()
                self._file = now
                self._seen = -1
            with translated(self.path):
                (seen,) = self._watch.execute("PRAGMA data_version").fetchone()
            if seen != self._seen:
                self._seen = seen
                self._version += 1
            return self._version

    def writable(self) -> bool:
        return os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK)

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        for library in self._idle:
            library.close()
        self._idle.clear()
        if self._watch is not None:
            self._watch.close()
            self._watch = None


def _which_file(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
