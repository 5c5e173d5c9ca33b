"""One `embed` at a time per library. The operating system holds the lock, so that a dead owner's frees itself.

SQLite's own lock is taken for each batch only; other writers (tagging) go on between the batches of a run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from datetime import datetime
from pathlib import Path
from types import TracebackType

from clipcli.errors import LibraryLockedError, NoSpaceError
from clipcli.library.sqlite_errors import shown

__all__ = ["RunLock"]

_LOCKED_BYTE = 1 << 30


class RunLock:
    """A lock file beside the library, there while a run lasts. Raises LibraryLockedError at once when it is taken.

    Makes the library's folder where there is none yet.
    """

    def __init__(self, library: Path) -> None:
        self._library = library
        self._path = f"{os.fspath(library)}-lock"
        self._handle: int | None = None

    def __enter__(self) -> RunLock:
        while self._handle is None:
            handle = self._open()
            try:
                if not _lock(handle):
                    owner = os.read(handle, 200)
                    raise LibraryLockedError(
                        f"another run is writing to the library {shown(self._library)}"
                        + (f" ({owner.decode(errors='replace')})" if owner else "")
                    )
                if _same_file(handle, self._path):  # else its owner has just removed it
                    self._handle = handle
            finally:
                if self._handle is None:
                    os.close(handle)
        os.ftruncate(self._handle, 0)
        started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        with contextlib.suppress(OSError):  # only the message to the next one suffers
            os.write(self._handle, f"process {os.getpid()} since {started}".encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):  # Windows does not remove an open file; it stays, unlocked
                os.unlink(self._path)
            os.close(self._handle)
            self._handle = None

    def _open(self) -> int:
        try:
            self._library.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpaceError(f"no space left for the library {shown(self._library)}") from error
            raise LibraryLockedError(
                f"the library {shown(self._library)} cannot be written here ({error.strerror})"
            ) from error


def _lock(handle: int) -> bool:
    """Take the lock without waiting; False when another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)  # a locked byte cannot be read, so none of the text is
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            return True  # a file system without locks: SQLite's are all there is
        raise
    return True


def _same_file(handle: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False
