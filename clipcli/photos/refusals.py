"""Why a picture is refused: what decoders and the operating system say, as one line and one word."""

from __future__ import annotations

import io
import re
from typing import IO

from clipcli.errors import ImageError
from clipcli.photos.formats import HEAD_BYTES, ends_early

__all__ = ["TooLargeError", "damage_error", "file_error", "judge_size"]

_CUT_SHORT = re.compile(r"truncat|premature|unexpected end|end of (file|stream|image)|not enough|incomplete|eof", re.I)


class TooLargeError(ImageError):
    """More pixels than allowed, judged by the header alone."""

    def __init__(self, message: str, *, megapixels: float) -> None:
        super().__init__(message, reason="too-large")
        self.megapixels = megapixels


def file_error(error: OSError) -> ImageError:
    """What the operating system said about a file, as the error of one picture."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ImageError("no such file", reason="missing")
    if isinstance(error, PermissionError):
        return ImageError("permission denied", reason="no-permission")
    if isinstance(error, IsADirectoryError):
        return ImageError("a folder, not a file", reason="not-an-image")
    return ImageError(error.strerror or str(error), reason="io-error")


def judge_size(size: tuple[int, int] | None, max_megapixels: float) -> None:
    """Raise ImageError for a size that is none, TooLargeError for one above the limit; None is not known yet."""
    if size is None:
        return
    width, height = size
    if width <= 0 or height <= 0:
        raise ImageError(f"a picture of {width} x {height} pixels", reason="damaged")
    if width * height > max_megapixels * 1e6:
        megapixels = width * height / 1e6
        raise TooLargeError(
            f"{width} x {height} pixels are {_rounded(megapixels)} megapixels, more than {max_megapixels:g}",
            megapixels=megapixels,
        )


def _rounded(megapixels: float) -> str:
    return f"{megapixels:,.0f}" if megapixels >= 10 else f"{megapixels:.2g}"


def damage_error(error: Exception, file: IO[bytes]) -> ImageError:
    """A decoder's exception as one line and one word."""
    if isinstance(error, OSError) and error.errno:  # the disk's complaint, not the decoder's
        return file_error(error)
    text = " ".join(str(error).split()) or type(error).__name__
    file.seek(0)
    head = file.read(HEAD_BYTES)
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - HEAD_BYTES))
    if isinstance(error, EOFError) or _CUT_SHORT.search(text) or ends_early(head, file.read(), size):
        return ImageError(f"the file is cut short: {text}", reason="truncated")
    return ImageError(f"cannot be decoded ({text})", reason="damaged")
