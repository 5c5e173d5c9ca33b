"""Putting a finished folder under its name: by rename, so that nobody ever finds half a model there."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["aside", "building", "put_in_place", "sync_files"]

_PARTIAL = ".part"
_FORGOTTEN_AFTER_S = 24 * 3600.0


def aside(target: Path) -> Path:
    """A name beside `target` that nobody has and that no list of models shows."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}{_PARTIAL}")


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A new folder beside `target` to fill; afterwards it takes the place of `target`. On an error it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target.parent)
    partial = aside(target)
    partial.mkdir()
    try:
        yield partial
        sync_files(partial)
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
