"""Moving one file so that no moment is without it, and nothing that is there is ever replaced."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat

from clipcli.errors import NoSpaceError

__all__ = ["CannotMoveError", "check_movable", "clear_partial", "move_file", "sync_folder"]

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


class CannotMoveError(Exception):
    """The file stays where it is; the text says why."""


def check_movable(path: bytes) -> os.stat_result:
    """Its state. Raises CannotMoveError where it is no ordinary file: a relative link would come to point elsewhere."""
    try:
        found = os.lstat(path)
    except OSError as error:
        raise CannotMoveError("is not there" if isinstance(error, FileNotFoundError) else str(error.strerror)) from None
    if stat.S_ISLNK(found.st_mode):
        raise CannotMoveError("is a symbolic link")
    if not stat.S_ISREG(found.st_mode):
        raise CannotMoveError("is no ordinary file")
    return found


def move_file(source: bytes, target: bytes) -> None:
    """Move an ordinary file to a name that is free, in a folder that is there; across disks as a verified copy.

    A kill leaves it under its old name, under the new one, or under both. Raises FileExistsError where the name is
    taken, CannotMoveError, NoSpaceError.
    """
    check_movable(source)
    try:
        if os.name == "nt":  # renaming never replaces there
            os.rename(source, target)
            return
        os.link(source, target)
        sync_folder(os.path.dirname(target))
        os.unlink(source)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno == errno.EXDEV:
            _move_across(source, target)
        elif error.errno in _NO_HARD_LINKS and not os.path.lexists(target):
            _rename_into_place(source, target)
        else:
            raise _translated(error) from None
    sync_folder(os.path.dirname(source))


def sync_folder(folder: bytes) -> None:
    """What has been renamed in it is on the disk."""
    if os.name != "nt":
        with contextlib.suppress(OSError):  # a file system that cannot; the files themselves are safe
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _rename_into_place(source: bytes, target: bytes) -> None:
    """For file systems without hard links: hold the name, then fill it."""
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        try:
            os.replace(source, target)
        except OSError:
            os.unlink(target)
            raise
    except FileExistsError:
        raise
    except OSError as error:
        raise _translated(error) from None


def _move_across(source: bytes, target: bytes) -> None:
    """A copy that is synced and read back, under its name, before the file goes; not where it changed meanwhile."""
    before = os.stat(source)
    try:
        partial = _partial(target)
        try:
            with open(partial, "wb") as copy, open(source, "rb") as original:
                shutil.copyfileobj(original, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            with contextlib.suppress(OSError):  # a file system without times or modes
                shutil.copystat(source, partial)
            now = os.stat(source)
            changed = (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
            if changed or _digest(source) != _digest(partial):
                raise CannotMoveError("changes while it is being copied")
            try:
                os.link(partial, target)
            except FileExistsError:
                raise
            except OSError:
                _rename_into_place(partial, target)
        finally:
            clear_partial(target)
        sync_folder(os.path.dirname(target))
        os.unlink(source)
    except FileExistsError:
        raise
    except OSError as error:
        raise _translated(error) from None


def clear_partial(target: bytes) -> None:
    """Remove what a killed move to `target` may have left beside it."""
    with contextlib.suppress(OSError):
        os.unlink(_partial(target))


def _partial(target: bytes) -> bytes:
    """The name of a copy in the making: always the same, so that what is left of one can be found."""
    folder, name = os.path.split(target)
    return os.path.join(folder, b".clip-moving-" + hashlib.sha256(name).hexdigest()[:16].encode())


def _digest(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _translated(error: OSError) -> Exception:
    if NoSpaceError.is_meant_by(error):
        return NoSpaceError("no space left for the files to be moved; those moved before are whole")
    return CannotMoveError(f"cannot be moved ({error.strerror or error})")
