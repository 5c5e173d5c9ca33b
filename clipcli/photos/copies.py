"""Copies of pictures, or links to them, in a folder of their own; nothing that is there already is ever replaced."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from clipcli.errors import NoSpaceError, UsageError, unwritable

__all__ = ["Placed", "copy_to", "link_to", "numbered"]


@dataclass(kw_only=True, slots=True)
class Placed:
    """How many were put into the folder, how many of them under another name, and how many it had already.

    `failed` are those that could not be read, with the reason.
    """

    done: int = 0
    renamed: int = 0
    already: int = 0
    failed: list[tuple[bytes, str]] = field(default_factory=list)


def copy_to(paths: Sequence[bytes], folder: bytes, *, on_progress: Callable[[], None] = lambda: None) -> Placed:
    """Copy files into the folder, with their times. Each copy appears whole, under the first free name.

    A file that is there with the same content under one of the names tried is not copied again. Makes the folder where
    there is none and something to put into it; `on_progress` is called for each path. Raises UsageError where it is no
    folder, NoSpaceError, LibraryLockedError where it may not be written, ClipError where it cannot be.
    """
    return _place(paths, folder, _copy, _same_content, on_progress)


def link_to(paths: Sequence[bytes], folder: bytes, *, on_progress: Callable[[], None] = lambda: None) -> Placed:
    """As `copy_to`, with symbolic links to the absolute paths."""
    return _place(paths, folder, os.symlink, _is_link_to, on_progress)


def _place(
    paths: Sequence[bytes],
    folder: bytes,
    put: Callable[[bytes, bytes], None],
    same: Callable[[bytes, bytes], bool],
    on_progress: Callable[[], None],
) -> Placed:
    """`put(source, target)` raises FileExistsError rather than replace a target."""
    where = os.fsdecode(folder)
    new = _not_there_yet(folder)
    try:
        os.makedirs(folder, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{where} is no folder") from None
    except OSError as error:
        _remove_empty(new)
        raise _unwritable(error, where) from error
    try:
        return _place_all(paths, folder, put, same, on_progress)
    except OSError as error:
        raise _unwritable(error, where) from error
    finally:
        _remove_empty(new)


def _place_all(
    paths: Sequence[bytes],
    folder: bytes,
    put: Callable[[bytes, bytes], None],
    same: Callable[[bytes, bytes], bool],
    on_progress: Callable[[], None],
) -> Placed:
    """Raises OSError where the folder cannot be written."""
    placed = Placed()
    for source in paths:
        on_progress()
        try:
            with open(source, "rb"):  # what goes wrong from here on is the folder's fault
                pass
        except OSError as error:
            placed.failed.append((source, error.strerror or str(error)))
            continue
        _place_one(os.path.abspath(source), folder, put, same, placed)
    return placed


def _not_there_yet(folder: bytes) -> list[bytes]:
    """The folder and those above it that are not there, the innermost first."""
    new, folder = [], os.path.abspath(folder)
    while not os.path.lexists(folder):
        new.append(folder)
        folder = os.path.dirname(folder)
    return new


def _remove_empty(folders: Sequence[bytes]) -> None:
    """Of folders inside each other, the innermost first, those with nothing in them."""
    with contextlib.suppress(OSError):
        for folder in folders:
            os.rmdir(folder)


def _place_one(
    source: bytes,
    folder: bytes,
    put: Callable[[bytes, bytes], None],
    same: Callable[[bytes, bytes], bool],
    placed: Placed,
) -> None:
    for number, name in enumerate(numbered(os.path.basename(source))):
        target = os.path.join(folder, name)
        if os.path.lexists(target):
            if same(source, target):
                placed.already += 1
                return
            continue
        try:
            put(source, target)
        except FileExistsError:  # somebody was quicker
            continue
        placed.done += 1
        placed.renamed += number > 0
        return


def numbered(name: bytes) -> Iterator[bytes]:
    """`boat.jpg`, `boat-2.jpg`, `boat-3.jpg`, …"""
    yield name
    stem, suffix = os.path.splitext(name)
    for number in count(2):
        yield b"%s-%d%s" % (stem, number, suffix)


def _copy(source: bytes, target: bytes) -> None:
    handle, partial = tempfile.mkstemp(dir=os.path.dirname(target), prefix=b".copying-")
    try:
        with os.fdopen(handle, "wb") as copy, open(source, "rb") as original:
            shutil.copyfileobj(original, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        with contextlib.suppress(OSError):  # a file system without times or modes
            shutil.copystat(source, partial)
        try:
            os.link(partial, target)  # unlike a rename, never takes the place of a file
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links: hold the name, then fill it
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            os.replace(partial, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)


def _same_content(source: bytes, target: bytes) -> bool:
    try:
        return os.path.isfile(target) and filecmp.cmp(source, target, shallow=False)
    except OSError:
        return False


def _is_link_to(source: bytes, target: bytes) -> bool:
    return os.path.islink(target) and os.readlink(target) == source


def _unwritable(error: OSError, where: str) -> Exception:
    if NoSpaceError.is_meant_by(error):
        return NoSpaceError(f"no space left in {where}; what was put there before is whole")
    return unwritable(where, error)
