"""The program of a process that makes small pictures of files: what crashes, hangs or swells here costs one picture.

It is started by `makers.py`, talks to nobody else, and ends when its pipe does.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import stat
import sys
from collections.abc import Mapping
from typing import Any

from clipcli.bundle.preprocess import resize_and_crop
from clipcli.bundle.spec import Preprocess
from clipcli.errors import ImageError
from clipcli.library.decoder_pipe import ProcessGoneError, receive, send
from clipcli.photos.decode import decode
from clipcli.photos.refusals import TooLargeError, file_error
from clipcli.photos.thumbnails import encode

__all__ = ["main"]

_LONGER_THAN_THE_SERVER_S = 5.0
_MOST_MEMORY = (
    6 << 30
)  # of addresses: what a picture of 150 megapixels takes, and what lies to the decoder does not get


def main() -> None:
    """Serve until the pipe is closed."""
    requests, replies = _alone()
    with contextlib.suppress(ProcessGoneError):
        send(replies, {"ready": True})
        while True:
            request = receive(requests)
            faulthandler.dump_traceback_later(request.pop("limit_s") + _LONGER_THAN_THE_SERVER_S, exit=True)
            reply, payload = _answered(request)
            faulthandler.cancel_dump_traceback_later()
            send(replies, {**reply, "bytes": len(payload)}, payload)


def _answered(request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    try:
        return _made(**request)
    except TooLargeError as error:
        return {"reason": error.reason, "detail": str(error), "megapixels": error.megapixels}, b""
    except ImageError as error:
        return {"reason": error.reason, "detail": str(error)}, b""
    except MemoryError:
        return {"reason": "out-of-memory", "detail": "not enough memory for it"}, b""
    except (OSError, ValueError) as error:  # JPEG ends at 65,535 pixels a side
        return {"reason": "too-large", "detail": f"cannot be shown as a JPEG ({' '.join(str(error).split())})"}, b""


def _made(
    path: str, long_side: int | None, quality: int, max_megapixels: float, preprocess: Mapping[str, Any] | None
) -> tuple[dict[str, Any], bytes]:
    """The file as a JPEG, upright, and after it what a model would see, (S, S, 3), where `preprocess` is given."""
    from PIL import Image

    spec = None if preprocess is None else Preprocess(**_tuples(preprocess))
    hint = long_side if spec is None or long_side is None else max(long_side, spec.image_size)
    name = path.encode("latin-1")
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):  # a pipe in its place would be waited for without end
            raise ImageError("this is no file any more", reason="missing")
        with open(name, "rb") as file:
            picture, facts = decode(file, name=name, max_megapixels=max_megapixels, hint=hint)
    except OSError as error:
        raise file_error(error) from error
    levels = b"" if spec is None else resize_and_crop(picture, spec).tobytes()
    if long_side is not None:
        picture.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    made = encode(picture, encoding="jpeg", quality=quality)
    reply = {"jpeg": len(made), "width": facts.width, "height": facts.height, "format": facts.format}
    return reply, made + levels


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _alone() -> tuple[int, int]:
    """The pipe's two ends, out of the reach of decoders that print, and this process out of everybody's way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's business
    requests, replies = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError, ValueError):  # macOS has the name, and does not keep to it
            resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    return requests, replies
