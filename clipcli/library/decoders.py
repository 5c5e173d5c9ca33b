"""Decoding in processes of their own, so that a decoder that crashes, hangs or eats all memory costs one file.

Measured against threads in docs/experiments.md. Shapes: F frames, S image size.
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.spec import Preprocess
from clipcli.errors import ClipError, ImageError
from clipcli.library.decoder_pipe import ProcessGoneError, receive, receive_bytes, send
from clipcli.photos.facts import Facts
from clipcli.photos.refusals import TooLargeError

__all__ = ["TOO_SLOW", "DecoderGoneError", "DecoderProcess", "Decoders", "Opened"]

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


class DecoderProcess:
    """One process; one file at a time. Used by one thread at a time."""

    def __init__(self, preprocess: Preprocess) -> None:
        self._preprocess = preprocess
        self._process = _start()
        self._files = 0
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

    def open(self, path: bytes, *, size: int, limit_s: float) -> Opened:
        """Read a file of about `size` bytes. Raises ImageError; after DecoderGoneError this process is no more."""
        if not self._ready:
            self._check_start(died=False)
        self._files += 1
        return Opened(**self._ask({"path": path.decode("latin-1")}, limit_s=limit_s + size / _BYTES_PER_S))

    def decode(
        self, *, mtime_ns: int, max_megapixels: float, frames: int, accept_truncated: bool, limit_s: float
    ) -> tuple[NDArray[np.uint8], Facts]:
        """The file opened last, (F, S, S, 3), and its facts. Raises as `open` does, TooLargeError as well."""
        wish = {
            "mtime_ns": mtime_ns,
            "max_megapixels": max_megapixels,
            "frames": frames,
            "accept_truncated": accept_truncated,
        }
        reply = self._ask({"decode": wish}, limit_s=limit_s)
        size = self._preprocess.image_size
        shape = (int(reply["frames"]), size, size, 3)
        try:
            pixels = receive_bytes(self._replies, int(np.prod(shape)))
        except (ProcessGoneError, OSError) as error:
            raise self._gone(limit_s=None) from error
        return np.frombuffer(pixels, dtype=np.uint8).reshape(shape), Facts(**reply["facts"])

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

    def _ask(self, request: dict[str, Any], *, limit_s: float) -> dict[str, Any]:
        try:
            send(self._requests, {**request, "limit_s": limit_s})
            if not self._answers_within(limit_s):
                raise self._gone(limit_s=limit_s)
            reply = receive(self._replies)
        except (ProcessGoneError, OSError) as error:
            raise self._gone(limit_s=limit_s if self._timed_out else None) from error
        finally:
            if self._timer is not None:
                self._timer.cancel()
        if "reason" not in reply:
            return reply
        if "megapixels" in reply:
            raise TooLargeError(reply["detail"], megapixels=reply["megapixels"])
        raise ImageError(reply["detail"], reason=reply["reason"])

    def _answers_within(self, limit_s: float) -> bool:
        """Whether there is something to read, the end of it included, before the time is up.

        Time is counted in slices: one in which the machine slept, or this run was stopped with Ctrl-Z, is not counted
        for what it took.
        """
        if sys.platform == "win32":  # nothing there waits for a pipe: whoever reads it finds out
            self._timer = threading.Timer(limit_s, self._time_is_up)
            self._timer.start()
            return True
        waiting = select.poll()
        waiting.register(self._replies, select.POLLIN)
        left = limit_s
        while left > 0 and not self._ended:
            began = time.monotonic()
            if waiting.poll(1000 * min(left, _SLICE_S)):
                return True
            left -= min(time.monotonic() - began, 2 * _SLICE_S)
        return bool(waiting.poll(0))

    def _time_is_up(self) -> None:
        self._timed_out = True
        self.end()

    def _gone(self, *, limit_s: float | None) -> DecoderGoneError:
        """Why there will be no reply: it took too long, or the process is dead."""
        was_fresh = self._files <= 1
        if limit_s is not None:
            self.close()
            return DecoderGoneError(f"not read within {limit_s:g} seconds", reason=TOO_SLOW, was_fresh=True)
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


class Decoders:
    """As many processes as threads ask for at the same time, each started when it is needed."""

    def __init__(self, preprocess: Preprocess) -> None:
        self._preprocess = preprocess
        self._idle: list[DecoderProcess] = []
        self._all: set[DecoderProcess] = set()
        self._lent = 0
        self._changed = threading.Condition()
        self._closed = False

    def start(self, count: int) -> None:
        """Have so many ready before they are needed: they start while the caller does something else."""
        with self._changed:
            self._idle += [self._new() for _ in range(count)]

    @contextmanager
    def one(self, *, fresh: bool = False) -> Iterator[DecoderProcess]:
        """A process for a while, with `fresh` one that has had no file yet. One that dies is replaced when needed."""
        decoder = self._lend(fresh)
        gone = False
        try:
            yield decoder
        except DecoderGoneError:
            gone = True
            raise
        finally:
            self._take_back(decoder, gone)

    def close(self) -> None:
        """End all of them, also those that are at work: their threads get DecoderGoneError."""
        with self._changed:
            self._closed = True
            for decoder in self._all:
                decoder.end()
            self._changed.wait_for(lambda: not self._lent, timeout=_GOING_S)
            for decoder in self._all:
                decoder.close()
            self._all.clear()
            self._idle.clear()

    def _new(self) -> DecoderProcess:
        if self._closed:
            raise DecoderGoneError("the run has ended", reason="crashed", was_fresh=True)
        decoder = DecoderProcess(self._preprocess)
        self._all.add(decoder)
        return decoder

    def _lend(self, fresh: bool) -> DecoderProcess:
        with self._changed:
            decoder = self._idle.pop() if self._idle and not fresh else self._new()
            self._lent += 1
            return decoder

    def _take_back(self, decoder: DecoderProcess, gone: bool) -> None:
        with self._changed:
            self._lent -= 1
            if gone:
                self._all.discard(decoder)
            else:
                self._idle.append(decoder)
            self._changed.notify()
