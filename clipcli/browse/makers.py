"""Small pictures made in processes of their own: a dropped file is somebody's, and its decoder is written in C.

Shapes: S image size.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.spec import Preprocess
from clipcli.errors import ImageError
from clipcli.library.decoder_pipe import ProcessGoneError, receive, receive_bytes, send
from clipcli.photos.decode import DEFAULT_MAX_MEGAPIXELS
from clipcli.photos.thumbnails import SIDE_BY_SIDE_MEGAPIXELS

__all__ = ["Made", "Makers"]

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from clipcli.browse.maker_process import main; main()"
)
_LIMIT_S = 60.0
_GOING_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Made:
    """A JPEG of a picture; `width`, `height` and `format` are of the whole one. `levels` is (S, S, 3) or None."""

    jpeg: bytes
    width: int
    height: int
    format: str
    levels: NDArray[np.uint8] | None


class Makers:
    """As many processes as threads ask for at the same time; large pictures wait for each other."""

    def __init__(self, *, limit_s: float = _LIMIT_S) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._large = threading.Lock()
        self._idle: list[subprocess.Popen[bytes]] = []
        self._all: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def make(
        self,
        path: bytes,
        *,
        long_side: int | None,
        quality: int = 82,
        preprocess: Preprocess | None = None,
        max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    ) -> Made:
        """The file upright, its longer side at most `long_side`; also as a model sees it. Raises ImageError."""
        wish = {
            "path": path.decode("latin-1"),
            "long_side": long_side,
            "quality": quality,
            "preprocess": None if preprocess is None else asdict(preprocess),
        }
        reply, payload = self._ask({**wish, "max_megapixels": min(max_megapixels, SIDE_BY_SIDE_MEGAPIXELS)})
        if reply.get("megapixels", 0) > SIDE_BY_SIDE_MEGAPIXELS:
            with self._large:
                reply, payload = self._ask({**wish, "max_megapixels": max_megapixels}, once=True)
        if "reason" in reply:
            raise ImageError(reply["detail"], reason=reply["reason"])
        levels = None
        if preprocess is not None:
            size = preprocess.image_size
            levels = np.frombuffer(payload, dtype=np.uint8, offset=reply["jpeg"]).reshape(size, size, 3)
        return Made(
            jpeg=bytes(payload[: reply["jpeg"]]),
            width=reply["width"],
            height=reply["height"],
            format=reply["format"],
            levels=levels,
        )

    def start(self) -> None:
        """Have one ready."""
        with self._one():
            return

    def close(self) -> None:
        """End all of them, also those that are at work."""
        with self._lock:
            self._closed = True
            for process in self._all:
                process.kill()
            idle = list(self._idle)
            self._idle.clear()
        for process in idle:
            self._drop(process)  # those at work are let go by the threads that wait for them

    def _ask(self, wish: dict[str, Any], *, once: bool = False) -> tuple[dict[str, Any], bytearray]:
        """`once`: the process ends afterwards, and all the memory it has taken goes back."""
        late = threading.Event()
        with self._one(once=once) as process:
            assert process.stdin is not None
            assert process.stdout is not None

            def end() -> None:
                late.set()
                process.kill()

            timer = threading.Timer(self._limit_s, end)
            timer.start()
            try:
                send(process.stdin.fileno(), {**wish, "limit_s": self._limit_s})
                reply = receive(process.stdout.fileno())
                return reply, receive_bytes(process.stdout.fileno(), reply["bytes"])
            except (ProcessGoneError, OSError) as error:
                if late.is_set():
                    why, reason = f"not decoded within {self._limit_s:g} seconds", "too-slow"
                else:
                    why, reason = "its decoder crashed", "crashed"
                raise ImageError(why, reason=reason) from error
            finally:
                timer.cancel()

    @contextmanager
    def _one(self, *, once: bool = False) -> Iterator[subprocess.Popen[bytes]]:
        """A process that is ready. One in which something went wrong is not used again."""
        with self._lock:
            if self._closed:
                raise ImageError("the server is ending", reason="crashed")
            process = self._idle.pop() if self._idle else None
        if process is None:
            process = self._started()
        try:
            yield process
        except BaseException:
            self._drop(process)
            raise
        if once:
            self._drop(process)
            return
        with self._lock:
            if not self._closed:
                self._idle.append(process)
                return
        self._drop(process)

    def _started(self) -> subprocess.Popen[bytes]:
        found = json.dumps([path for path in sys.path if path])
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, found],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        with self._lock:
            self._all.add(process)
        assert process.stdout is not None
        try:
            receive(process.stdout.fileno())
        except (ProcessGoneError, OSError) as error:
            self._drop(process)
            raise ImageError("the process that decodes pictures does not start", reason="crashed") from error
        return process

    def _drop(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        with self._lock:
            self._all.discard(process)
        _let_go(process)


def _let_go(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=_GOING_S)
    except subprocess.TimeoutExpired:
        return
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
