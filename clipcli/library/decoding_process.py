"""The program of a decoding process: one file after the other becomes small pictures, and what crashes here costs one.

It is started by `decoder.py`, talks to nobody else, and ends when its pipe does. Shapes: F frames, S image size.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import IO, Any

from clipcli.bundle.preprocess import resize_and_crop
from clipcli.bundle.spec import Preprocess
from clipcli.errors import ImageError
from clipcli.library.decoder_pipe import ProcessGoneError, receive, send
from clipcli.photos.decode import decode_frames
from clipcli.photos.facts import Facts
from clipcli.photos.refusals import TooLargeError, file_error

__all__ = ["main"]

_FACTS = tuple(field.name for field in fields(Facts))
_LONGER_THAN_THE_RUN_S = 5.0  # a run ends its own processes in time; this is for those whose run is no more


def main() -> None:
    """Serve until the pipe is closed."""
    requests, replies = _alone()
    try:
        spec = Preprocess(**_tuples(receive(requests)))
        send(replies, {"ready": True})
        _Server(requests, replies, spec).serve()
    except ProcessGoneError:
        return


class _Server:
    def __init__(self, requests: int, replies: int, spec: Preprocess) -> None:
        self._requests = requests
        self._replies = replies
        self._spec = spec
        self._file: IO[bytes] | None = None
        self._name = b""

    def serve(self) -> None:
        """Read the file of a request, or decode the one that was read last, or both."""
        while True:
            request = receive(self._requests)
            _set_alarm(request["limit_s"] + _LONGER_THAN_THE_RUN_S)
            reply: dict[str, Any] = {}
            payload = b""
            try:
                if "path" in request:
                    reply |= self._read(request["path"].encode("latin-1"))
                if "decode" in request:
                    found, payload = self._decode(**request["decode"])
                    reply |= found
            except TooLargeError as error:
                reply |= {"reason": error.reason, "detail": str(error), "megapixels": error.megapixels}
            except ImageError as error:
                reply |= {"reason": error.reason, "detail": str(error)}
            except OSError as error:
                refusal = file_error(error)
                reply |= {"reason": refusal.reason, "detail": str(refusal)}
            except MemoryError:
                reply |= {"reason": "out-of-memory", "detail": "not enough memory for it"}
            _set_alarm(0)
            send(self._replies, reply, payload)

    def _read(self, path: bytes) -> dict[str, Any]:
        """Open a file, which then stays open to be decoded, and say what its content is."""
        if self._file is not None:
            self._file.close()
        self._name = path
        self._file = open(path, "rb")  # noqa: SIM115 - until the next one
        # As it was opened: what changes while it is read is noticed by the next run.
        status = os.fstat(self._file.fileno())
        digest = hashlib.file_digest(self._file, "sha256").hexdigest()
        return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "digest": digest}

    def _decode(
        self,
        *,
        max_megapixels: float,
        frames: int,
        accept_truncated: bool,
    ) -> tuple[dict[str, Any], bytes]:
        """The open file as F pictures of S x S pixels, one after the other."""
        assert self._file is not None
        self._file.seek(0)
        mtime_ns = os.fstat(self._file.fileno()).st_mtime_ns
        pictures, facts = decode_frames(
            self._file,
            keep=lambda picture: resize_and_crop(picture, self._spec).tobytes(),
            name=self._name,
            mtime_ns=mtime_ns,
            max_megapixels=max_megapixels,
            hint=self._spec.image_size,
            frames=frames,
            accept_truncated=accept_truncated,
        )
        return {"facts": {name: getattr(facts, name) for name in _FACTS}, "frames": len(pictures)}, b"".join(pictures)


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _set_alarm(seconds: float) -> None:
    """End this process after a while, whatever it is doing then; 0: not any more."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds)  # what it does by default needs nobody's cooperation
        return
    import faulthandler

    if seconds:
        faulthandler.dump_traceback_later(seconds, exit=True)
    else:
        faulthandler.cancel_dump_traceback_later()


def _alone() -> tuple[int, int]:
    """The pipe's two ends, out of the reach of decoders that print, and this process out of everybody's way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's business
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    requests, replies = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # libraries of C complain there about every second odd file
        os.dup2(nowhere, standard)
    if sys.platform == "linux":
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")  # when memory runs out, one file is lost rather than the run
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # nobody wants a gigabyte of memory beside their photographs
    return requests, replies
