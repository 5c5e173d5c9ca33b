"""Putting a finished folder under its name: by rename, so that nobody ever finds half a model there."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipcli.errors import LibraryLockedError, UsageError

__all__ = ["aside", "building", "check_writable", "put_in_place", "sync_files", "writing_in"]

_PARTIAL = ".part"
_FORGOTTEN_AFTER_S = 24 * 3600.0


def aside(target: Path) -> Path:
    """A name beside `target` that nobody has and that no list of models shows."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}{_PARTIAL}")


def check_writable(folder: Path) -> None:
    """Try whether `folder`, or the first above it that is there, takes anything, before work is done in vain.

    Raises LibraryLockedError; UsageError where a file stands in the way.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    with writing_in(folder):
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


@contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Within, a folder that may not be written to comes out as an error of ours."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise LibraryLockedError(f"{folder} cannot be written here: name a folder of your own") from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise UsageError(f"{error.filename or folder} is a file; a folder is wanted there") from error
        raise


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A new folder beside `target` to fill; afterwards it takes the place of `target`. On an error it is removed.

    Raises LibraryLockedError, UsageError where there cannot be one.
    """
    with writing_in(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        partial = aside(target)
        partial.mkdir()
    try:
        yield partial
        sync_files(partial)
        with writing_in(target.parent):
            put_in_place(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def put_in_place(partial: Path, target: Path) -> None:
    """Rename; an older folder of that name is moved away first, for a folder cannot be renamed onto a full one."""
    if not target.exists():
        partial.replace(target)
        return
    older = target.replace(aside(target))
    try:
        partial.replace(target)
    except OSError:
        older.replace(target)
        raise
    shutil.rmtree(older, ignore_errors=True)


def sync_files(folder: Path) -> None:
    """Have every file of the folder on the disk before the folder gets its name."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _sweep(folder: Path) -> None:
    """Remove what a process that was killed has left behind, a day later: nobody builds for that long."""
    for path in folder.glob(f".*{_PARTIAL}"):
        with suppress(OSError):
            if path.is_dir() and time.time() - path.stat().st_mtime > _FORGOTTEN_AFTER_S:
                shutil.rmtree(path, ignore_errors=True)
