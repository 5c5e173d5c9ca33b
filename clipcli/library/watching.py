"""Keeping a library up to date: a run over everything first, then one over what has changed, whenever it has.

Folders may go, a disk that is unmounted, and come back: nothing of theirs is forgotten meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from clipcli.errors import LibraryLockedError, NotFoundError
from clipcli.library.absence import is_absent
from clipcli.photos.watching import FolderWatch

__all__ = ["News", "Watcher"]

_TICK_S = 0.5
_LOOK_EVERY_S = 600.0  # changes made elsewhere, to a network disk or behind a link, are not told of
_LOOK_WITHOUT_WORD_EVERY_S = 60.0
_LOOK_SHARE = 50  # at most one part in so many of the time goes into looking for what nobody told of

Update = Callable[[Sequence[bytes], Set[bytes]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What a person wants to know. `kind`: "watching" all `folders`, "gone" or "back" one of them, "deaf": the system
    cannot tell of changes below it, for the reason in `detail`, "waiting" for another run to end.
    """

    kind: Literal["watching", "gone", "back", "deaf", "waiting"]
    folders: tuple[bytes, ...]
    detail: str = ""


@dataclass(kw_only=True, slots=True)
class _Folder:
    """`identity` tells the folder from another one mounted in its place; None while it is not there."""

    path: bytes
    identity: tuple[int, int] | None = None
    deaf: bool = False


class Watcher:
    """`update(paths, unsettled)` brings the library up to date with `paths`, leaving out files still being written; it
    raises LibraryLockedError where that has to wait, and NotFoundError where a path has just gone.
    """

    def __init__(self, folders: Sequence[bytes], *, update: Update, tell: Callable[[News], None]) -> None:
        self._folders = [_Folder(path=path) for path in folders]
        self._update = update
        self._tell = tell
        self._watch = FolderWatch()
        self._to_look_at: set[bytes] = set()  # folders to be looked through as a whole
        self._next_look = 0.0
        self._waiting = False

    def run(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Go on until `until` says so, or Ctrl-C."""
        try:
            for folder in self._folders:
                self._notice(folder, first=True)
            self._turn()
            self._tell(News(kind="watching", folders=tuple(folder.path for folder in self._folders)))
            while not until():
                time.sleep(_TICK_S)
                for folder in self._folders:
                    self._notice(folder)
                self._turn()
        finally:
            self._watch.close()

    def _notice(self, folder: _Folder, *, first: bool = False) -> None:
        """Whether a folder has come, gone, or is another one now."""
        found = None if self._watch.is_lost(folder.path) else _identity(folder.path)
        if found == folder.identity:
            if first:
                self._tell(News(kind="gone", folders=(folder.path,)))
            return
        if folder.identity is not None:
            folder.identity = None
            self._watch.remove(folder.path)
            self._to_look_at.discard(folder.path)
            self._tell(News(kind="gone", folders=(folder.path,)))
            return  # what may have come in its place is noticed next time
        if not first:
            self._tell(News(kind="back", folders=(folder.path,)))
        folder.identity = found
        try:
            self._watch.add(folder.path)
            folder.deaf = False
        except OSError as error:
            folder.deaf = True
            self._tell(News(kind="deaf", folders=(folder.path,), detail=error.strerror or str(error)))
        self._to_look_at.add(folder.path)

    def _turn(self) -> None:
        """Look at what there is to look at."""
        if time.monotonic() >= self._next_look:
            self._to_look_at.update(folder.path for folder in self._folders if folder.identity is not None)
        settled, unsettled = self._watch.take_settled()
        whole = self._to_look_at
        paths = sorted(whole | {self._folder_of(path) for path in settled})
        if not paths:
            return
        began = time.monotonic()
        try:
            self._update(paths, unsettled)
        except NotFoundError:  # gone at this very moment
            self._watch.put_back(settled)
            return
        except LibraryLockedError as error:
            if not self._waiting:
                self._tell(News(kind="waiting", folders=(), detail=str(error)))
            self._waiting = True
            self._watch.put_back(settled)
            return
        self._waiting = False
        if whole:
            deaf = any(folder.deaf for folder in self._folders)
            pause = _LOOK_WITHOUT_WORD_EVERY_S if deaf else _LOOK_EVERY_S
            self._next_look = time.monotonic() + max(pause, _LOOK_SHARE * (time.monotonic() - began))
        self._to_look_at = set()

    def _folder_of(self, path: bytes) -> bytes:
        """The folder to look through for a change: the nearest one that is there."""
        roots = {folder.path for folder in self._folders}
        while path not in roots and not os.path.isdir(path):
            path = os.path.dirname(path)
        return path


def _identity(path: bytes) -> tuple[int, int] | None:
    """None for a folder that is not there, or empty as the place of a disk that is not mounted."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return None if is_absent(path) or not os.path.isdir(path) else (status.st_dev, status.st_ino)
