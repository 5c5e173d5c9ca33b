"""Hearing of changes below folders, from the operating system, and when each has come to rest."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Set
from typing import TYPE_CHECKING

from clipcli.photos.scan import may_be_picture

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers.api import BaseObserver, ObservedWatch

__all__ = ["FolderWatch"]

# How long a path has to be quiet before it is looked at. Linux tells when a writer has closed a file, so one that was
# only written to is still being written; elsewhere silence is all there is to go by.
_QUIET_S = 1.0
_WRITTEN_QUIET_S = 10.0 if sys.platform == "linux" else 2.0


class FolderWatch:
    """Changes below any number of folders, collected in the background. Safe between threads."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        from watchdog.observers import Observer

        # It tells at length of every folder that is moved out and in again, and then listens to it as it should.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\.")
        self._clock = clock
        self._lock = threading.Lock()
        self._restless: dict[bytes, float] = {}  # path -> when it will have come to rest
        self._watches: dict[bytes, ObservedWatch] = {}
        self._lost: set[bytes] = set()
        self._observer: BaseObserver = Observer()
        self._observer.start()

    def add(self, folder: bytes) -> None:
        """Listen to a folder from now on, and to all below it. Raises OSError where the system cannot."""
        from watchdog import events

        kinds: list[type[FileSystemEvent]] = [
            events.FileCreatedEvent,
            events.FileModifiedEvent,
            events.FileClosedEvent,
            events.FileMovedEvent,
            events.FileDeletedEvent,
            events.DirCreatedEvent,
            events.DirMovedEvent,
            events.DirDeletedEvent,
        ]
        handler = _handler(folder, self._heard)
        self._lost.discard(folder)
        self._watches[folder] = self._observer.schedule(
            handler, os.fsdecode(folder), recursive=True, event_filter=kinds
        )

    def remove(self, folder: bytes) -> None:
        """Listen to it no longer, and forget what was heard."""
        watch = self._watches.pop(folder, None)
        if watch is not None:
            self._observer.unschedule(watch)
        with self._lock:
            self._lost.discard(folder)
            for path in [path for path in self._restless if path.startswith(folder + b"/")]:
                del self._restless[path]

    def is_lost(self, folder: bytes) -> bool:
        """Whether the folder itself was deleted or moved away: nothing more will be heard of it."""
        return folder in self._lost

    def take_settled(self) -> tuple[Set[bytes], Set[bytes]]:
        """What has changed and come to rest, each told once; and what is still changing."""
        now = self._clock()
        with self._lock:
            settled = {path for path, at in self._restless.items() if at <= now}
            for path in settled:
                del self._restless[path]
            return settled, frozenset(self._restless)

    def put_back(self, paths: Set[bytes]) -> None:
        """What could not be looked at now is told again."""
        now = self._clock()
        with self._lock:
            for path in paths:
                self._restless.setdefault(path, now)

    def close(self) -> None:
        self._observer.stop()
        self._observer.join(5.0)

    def _heard(self, folder: bytes, path: bytes, *, writing: bool, gone: bool) -> None:
        if path == folder:
            if gone:
                self._lost.add(folder)
            return
        if not may_be_picture(path[len(folder.rstrip(b"/")) + 1 :]):
            return
        with self._lock:
            self._restless[path] = self._clock() + (_WRITTEN_QUIET_S if writing else _QUIET_S)


def _handler(folder: bytes, heard: Callable[..., None]) -> FileSystemEventHandler:
    """What watchdog calls, in a thread of its own, for each event."""
    from watchdog.events import FileSystemEventHandler

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            kind = event.event_type
            writing = kind in ("created", "modified") and not event.is_directory
            if event.src_path:
                path = os.fsencode(event.src_path)
                # A link is created and never closed: it is whole at once.
                writing = writing and not (kind == "created" and _is_link(path))
                heard(folder, path, writing=writing, gone=kind in ("deleted", "moved"))
            if event.dest_path:
                heard(folder, os.fsencode(event.dest_path), writing=False, gone=False)

    return Handler()


def _is_link(path: bytes) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_nlink > 1 or os.path.islink(path)
