"""One `embed --watch` per library, and which folders it keeps up to date: others are told before they begin."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from clipcli.errors import LibraryLockedError
from clipcli.library.roots import contains
from clipcli.library.run_lock import RunLock, as_told, is_locked
from clipcli.library.sqlite_errors import shown
from clipcli.library.stored_paths import from_stored, to_stored

__all__ = ["WatchLock", "refuse_watched"]


class WatchLock(RunLock):
    """Held as long as the watching lasts; the `RunLock` only while something is written."""

    suffix = "-watch"
    what = "'clip embed --watch' keeps up to date"

    def __init__(self, library: Path, folders: Sequence[bytes]) -> None:
        super().__init__(library)
        self._folders = folders

    def __enter__(self) -> Self:
        super().__enter__()
        # JSON has no bytes: what is no text becomes the numbers of its bytes.
        named = [name if isinstance(name, str) else list(name) for name in map(to_stored, self._folders)]
        self._say(f"{self._owner}\n{json.dumps(named)}")
        return self


def refuse_watched(library: Path, named: Sequence[bytes]) -> None:
    """Raise LibraryLockedError where one of the named folders and files is being kept up to date already."""
    path = f"{os.fspath(library)}{WatchLock.suffix}"
    if not is_locked(path):
        return
    with contextlib.suppress(OSError, ValueError, TypeError):  # it has ended meanwhile, or is just beginning
        owner, folders = Path(path).read_text("utf-8").split("\n", 1)
        for folder in (from_stored(bytes(name) if isinstance(name, list) else name) for name in json.loads(folders)):
            for name in named:
                whole = os.path.realpath(name)
                if contains(folder, whole) or contains(whole, folder):
                    where = f"{os.fsdecode(folder)} up to date in {shown(library)}"
                    raise LibraryLockedError(f"'clip embed --watch' keeps {where} ({as_told(owner)})")
