"""Thumbnails on disk: each made once, found again by the picture's content, the oldest thrown away beyond a bound."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["SIZES", "Thumbs"]

SIZES = (160, 320, 640, 1280)
_CACHE_BYTES = 2 << 30
_KEPT_FREE = 1 << 30  # on the disk, for whatever else a person does
_WEEDED_TO = 0.9
_CHECKED_EVERY_BYTES = 64 << 20
_TOUCHED_AFTER_S = 24 * 3600.0
_PARTIAL = ".part"

Make = Callable[[bytes, int], bytes]  # a file's path and a longer side -> a JPEG; raises ImageError


class Thumbs:
    """`limit` is how many bytes the folder may hold; a file is known by digest and size alone, never by a path."""

    def __init__(self, folder: Path, make: Make, *, limit: int = _CACHE_BYTES) -> None:
        self._folder = folder
        self._make = make
        self._limit = limit
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        self._since_check = _CHECKED_EVERY_BYTES  # so that the first one written looks

    def known(self, digest: str, size: int) -> bytes | None:
        """What the cache has."""
        return self._read(f"{digest}-{size}")

    def get(self, digest: str, path: bytes, size: int) -> bytes:
        """A JPEG whose longer side is at most `size`, from the cache or from the file at `path`. Raises ImageError."""
        name = f"{digest}-{size}"
        with self._only_one(name):
            known = self._read(name)  # somebody else has made it meanwhile
            if known is not None:
                return known
            made = self._make(path, size)
            self._keep(name, made)
        return made

    def weed(self) -> None:
        """Throw away what has not been looked at for longest, until there is room again."""
        found: list[tuple[float, int, str]] = []
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    status = os.stat(path)
                    if name.endswith(_PARTIAL):
                        if time.time() - status.st_mtime > 3600:  # left behind by a process that was killed
                            os.unlink(path)
                        continue
                    found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= self._limit:
            return
        for _, size, path in sorted(found):
            with contextlib.suppress(OSError):
                os.unlink(path)
                total -= size
            if total <= self._limit * _WEEDED_TO:
                return

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name}.jpg"

    def _read(self, name: str) -> bytes | None:
        path = self._path(name)
        try:
            data = path.read_bytes()
            if time.time() - path.stat().st_mtime > _TOUCHED_AFTER_S:
                os.utime(path)  # looked at: not among the oldest
        except OSError:
            return None
        whole = data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")  # nothing was cut off when the power was
        return data if whole else None

    def _keep(self, name: str, data: bytes) -> None:
        """What cannot be written is made again the next time."""
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if shutil.disk_usage(self._folder).free < _KEPT_FREE:
                return
            handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=_PARTIAL)
        except OSError:
            return
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            return
        with self._lock:
            self._since_check += len(data)
            due = self._since_check >= min(_CHECKED_EVERY_BYTES, self._limit // 8)
            if due:
                self._since_check = 0
        if due:
            self.weed()

    @contextlib.contextmanager
    def _only_one(self, name: str) -> Iterator[None]:
        with self._lock:
            lock = self._making.setdefault(name, threading.Lock())
        with lock:
            try:
                yield
            finally:
                with self._lock:
                    self._making.pop(name, None)
