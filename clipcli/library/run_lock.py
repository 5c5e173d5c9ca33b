"""One `embed` at a time per library. The operating system holds the lock, so that a dead owner's frees itself.

SQLite's own lock is taken for each batch only; other writers (tagging) go on between the batches of a run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from clipcli.errors import LibraryLockedError, NoSpaceError
from clipcli.library.sqlite_errors import shown

__all__ = ["RunLock", "Running", "as_told", "is_locked", "running"]

_LOCKED_BYTE = 1 << 30
_TOLD_EVERY_S = 0.5
_OWNER = re.compile(r"process (\d{1,9}) since ([0-9T :+.-]{10,40}?)(?:, (\d{1,12}) of (\d{1,12}) done)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A run at work: since when, and how far it says it is; None where it has not said so yet."""

    since: str
    done: int | None
    total: int | None


class RunLock:
    """A lock file beside the library, there while a run lasts. Raises LibraryLockedError at once when it is taken.

    Makes the library's folder where there is none yet.
    """

    suffix = "-lock"
    what = "another run is writing to"

    def __init__(self, library: Path) -> None:
        self._library = library
        self._path = f"{os.fspath(library)}{self.suffix}"
        self._handle: int | None = None
        self._owner = ""
        self._told = float("-inf")

    def __enter__(self) -> Self:
        while self._handle is None:
            handle = self._open()
            try:
                if not _lock(handle):
                    owner = os.read(handle, 200).decode(errors="replace").partition("\n")[0]
                    raise LibraryLockedError(
                        f"{self.what} the library {shown(self._library)}" + (f" ({as_told(owner)})" if owner else "")
                    )
                if _same_file(handle, self._path):  # else its owner has just removed it
                    self._handle = handle
            finally:
                if self._handle is None:
                    os.close(handle)
        started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        self._owner = f"process {os.getpid()} since {started}"
        self._say(self._owner)
        return self

    def tell(self, done: int, total: int) -> None:
        """Note for others how far the run is, now and then."""
        if time.monotonic() - self._told >= _TOLD_EVERY_S or done >= total:
            self._told = time.monotonic()
            self._say(f"{self._owner}, {done} of {total} done")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):  # Windows does not remove an open file; it stays, unlocked
                os.unlink(self._path)
            os.close(self._handle)
            self._handle = None

    def _say(self, text: str) -> None:
        if self._handle is None:
            return
        with contextlib.suppress(OSError):  # only what others are told suffers
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, text.encode())
            os.ftruncate(self._handle, len(text))

    def _open(self) -> int:
        try:
            self._library.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            if NoSpaceError.is_meant_by(error):
                raise NoSpaceError(f"no space left for the library {shown(self._library)}") from error
            raise LibraryLockedError(
                f"the library {shown(self._library)} cannot be written here ({error.strerror})"
            ) from error


def as_told(owner: str) -> str:
    """For a person: the time on this machine's clock, with the day where that is another one."""
    match = _OWNER.fullmatch(owner)
    try:
        since = datetime.fromisoformat(match[2]).astimezone() if match else None
    except ValueError:
        since = None
    if match is None or since is None:
        return owner
    told = f"{since:%H:%M:%S}" if since.date() == datetime.now().date() else f"{since:%Y-%m-%d %H:%M}"
    done = f", {int(match[3]):,} of {int(match[4]):,} pictures done" if match[3] else ""
    return f"process {match[1]}, since {told}{done}"


def is_locked(path: str) -> bool:
    """Whether a process holds the lock file at `path`; a file that a dead one has left is none."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _lock(handle)
    finally:
        os.close(handle)


def running(library: Path) -> Running | None:
    """The run that is at work on a library. The lock is only looked at: to try it could turn a run away."""
    path = f"{os.fspath(library)}-lock"
    try:
        with open(path, "rb") as file:
            match = _OWNER.fullmatch(file.read(200).decode("ascii", errors="replace"))
    except OSError:
        return None
    if match is None or not _at_work(int(match[1]), path):  # one that was killed leaves its file behind
        return None
    done, total = (None if number is None else int(number) for number in match.group(3, 4))
    return Running(since=match[2], done=done, total=total)


def _at_work(process: int, path: str) -> bool:
    if sys.platform == "win32":  # there a signal would end the process, so the lock is tried
        try:
            handle = os.open(path, os.O_RDWR)
        except OSError:
            return True
        try:
            return not _lock(handle)
        finally:
            os.close(handle)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
