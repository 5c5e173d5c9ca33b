"""A process that decodes, and this end of the pipe to it: files in, pixels out, within a time.

Shapes: F frames, S image size.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.spec import Preprocess
from clipcli.errors import ClipError, ImageError
from clipcli.library.decoder_pipe import ProcessGoneError, receive, receive_bytes, send
from clipcli.photos.facts import Facts
from clipcli.photos.refusals import TooLargeError

__all__ = ["TOO_SLOW", "DecoderGoneError", "DecoderProcess", "Opened", "Wish"]

TOO_SLOW = "too-slow"

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from clipcli.library.decoding_process import main; main()"
)
_START_S = 120.0
_BYTES_PER_S = 1e6  # the slowest disk that is waited for
_SLICE_S = 1.0
_GOING_S = 2.0
_PIPE_BYTES = 1 << 20


class DecoderGoneError(ImageError):
    """The process that had the file is no more. `was_fresh`: it had had no other file before."""

    def __init__(self, message: str, *, reason: str, was_fresh: bool) -> None:
        super().__init__(message, reason=reason)
        self.was_fresh = was_fresh


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A file as it was when it was opened. `digest` is the SHA-256 of its content, hexadecimal."""

    size: int
    mtime_ns: int
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """How a file is to be decoded, in how many seconds."""

    max_megapixels: float
    frames: int
    accept_truncated: bool
    limit_s: float

    @property
    def record(self) -> dict[str, Any]:
        return {
            "max_megapixels": self.max_megapixels,
            "frames": self.frames,
            "accept_truncated": self.accept_truncated,
        }


class DecoderProcess:
    """One process; one file at a time. Used by one thread at a time."""

    def __init__(self, preprocess: Preprocess) -> None:
        self._preprocess = preprocess
        self._process = _start()
        self._files = 0
        self._decoded: tuple[Wish, dict[str, Any], NDArray[np.uint8]] | None = None
        self._waiting: select.poll | None = None
        self._ready = False
        self._ended = False
        self._timer: threading.Timer | None = None
        self._timed_out = False
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin.fileno()
        self._replies = self._process.stdout.fileno()
        try:
            send(self._requests, asdict(preprocess))
        except ProcessGoneError:
            self._check_start(died=True)

    def open(self, path: bytes, *, size: int, limit_s: float, at_once: Wish | None = None) -> Opened:
        """Read a file of about `size` bytes. Raises ImageError; after DecoderGoneError this process is no more.

        With `at_once` it is decoded in the same breath, and `decode` with the same wish only hands out what came of it.
        """
        if not self._ready:
            self._check_start(died=False)
        self._files += 1
        limit_s += size / _BYTES_PER_S
        request: dict[str, Any] = {"path": path.decode("latin-1"), "limit_s": limit_s}
        if at_once is not None:
            request["decode"] = at_once.record
        reply = self._ask(request, limit_s=limit_s)
        if "digest" not in reply:
            raise _refusal(reply)
        self._decoded = None if at_once is None else (at_once, reply, self._pixels(reply))
        return Opened(size=reply["size"], mtime_ns=reply["mtime_ns"], digest=reply["digest"])

    def decode(self, wish: Wish) -> tuple[NDArray[np.uint8], Facts]:
        """The file opened last, (F, S, S, 3), and its facts. Raises as `open` does, TooLargeError as well."""
        decoded, self._decoded = self._decoded, None
        if decoded is not None and decoded[0] is wish:
            _, reply, pixels = decoded
        else:
            reply = self._ask({"decode": wish.record, "limit_s": wish.limit_s}, limit_s=wish.limit_s)
            pixels = self._pixels(reply)
        if "facts" not in reply:
            raise _refusal(reply)
        return pixels, Facts(**reply["facts"])

    def end(self) -> None:
        """Whatever it is doing. Safe to call from another thread, and again."""
        self._ended = True
        self._process.kill()

    def close(self) -> None:
        """End it and let go of everything. A process the system cannot end, since its disk does not answer, is left."""
        self.end()
        try:
            self._process.wait(timeout=_GOING_S)
        except subprocess.TimeoutExpired:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _pixels(self, reply: dict[str, Any]) -> NDArray[np.uint8]:
        """What follows a reply about a picture, (F, S, S, 3); nothing follows a refusal."""
        size, frames = self._preprocess.image_size, int(reply.get("frames", 0))
        try:
            pixels = receive_bytes(self._replies, frames * size * size * 3)
        except (ProcessGoneError, OSError) as error:
            raise self._gone(limit_s=None) from error
        return np.frombuffer(pixels, dtype=np.uint8).reshape(frames, size, size, 3)

    def _ask(self, request: dict[str, Any], *, limit_s: float) -> dict[str, Any]:
        try:
            send(self._requests, request)
            if not self._answers_within(limit_s):
                raise self._gone(limit_s=limit_s)
            return receive(self._replies)
        except (ProcessGoneError, OSError) as error:
            raise self._gone(limit_s=limit_s if self._timed_out else None) from error
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _answers_within(self, limit_s: float) -> bool:
        """Whether there is something to read, the end of it included, before the time is up.

        Time is counted in slices: one in which the machine slept, or this run was stopped with Ctrl-Z, is not counted
        for what it took.
        """
        if sys.platform == "win32":  # nothing there waits for a pipe: whoever reads it finds out
            self._timer = threading.Timer(limit_s, self._time_is_up)
            self._timer.start()
            return True
        if self._waiting is None:
            self._waiting = select.poll()
            self._waiting.register(self._replies, select.POLLIN)
        left = limit_s
        while left > 0 and not self._ended:
            began = time.monotonic()
            if self._waiting.poll(1000 * min(left, _SLICE_S)):
                return True
            left -= min(time.monotonic() - began, 2 * _SLICE_S)
        return bool(self._waiting.poll(0))

    def _time_is_up(self) -> None:
        self._timed_out = True
        self.end()

    def _gone(self, *, limit_s: float | None) -> DecoderGoneError:
        """Why there will be no reply: it took too long, or the process is dead."""
        was_fresh = self._files <= 1
        if limit_s is not None:
            self.close()
            return DecoderGoneError(f"not read within {limit_s:.3g} seconds", reason=TOO_SLOW, was_fresh=True)
        with contextlib.suppress(subprocess.TimeoutExpired):  # its end of the pipe is closed: it is about to be gone
            self._process.wait(timeout=_GOING_S)
        code = self._process.returncode
        self.close()
        if sys.platform != "win32" and code == -signal.SIGKILL:
            return DecoderGoneError(
                "the system ended its decoder, probably for want of memory", reason="out-of-memory", was_fresh=was_fresh
            )
        return DecoderGoneError(f"its decoder crashed ({_how(code)})", reason="crashed", was_fresh=was_fresh)

    def _check_start(self, *, died: bool) -> None:
        try:
            if not died and self._answers_within(_START_S) and receive(self._replies).get("ready"):
                self._ready = True
                return
        except (ProcessGoneError, OSError):
            pass
        self.close()
        raise ClipError(f"the process that decodes pictures does not start ({_how(self._process.returncode)})")


def _start() -> subprocess.Popen[bytes]:
    """This Python with this program's own modules, wherever they were found: never those of the folder we are in."""
    if not sys.executable:
        raise ClipError("the Python program that decodes pictures cannot be found (sys.executable is empty)")
    found = json.dumps([path for path in sys.path if path])
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, found],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
    except OSError as error:
        raise ClipError(f"the process that decodes pictures cannot be started ({error})") from error
    if sys.platform == "linux":
        import fcntl

        assert process.stdout is not None
        with contextlib.suppress(OSError):  # a picture fits in, so that neither end waits for the other
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return process


def _refusal(reply: dict[str, Any]) -> ImageError:
    if "megapixels" in reply:
        return TooLargeError(reply["detail"], megapixels=reply["megapixels"])
    return ImageError(reply["detail"], reason=reply["reason"])


def _how(code: int | None) -> str:
    """How a process ended, as a person who has to look it up wants it."""
    if code is None:
        return "it does not end"
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
