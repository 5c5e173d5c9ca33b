"""Small pictures of pictures: upright, without metadata, bounded in memory, in threads where there are many."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from clipcli.errors import ImageError
from clipcli.photos.decode import TooLargeError, open_image
from clipcli.photos.memory import fitting_megapixels

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["LONGEST_SIDE", "encode", "small_picture", "small_pictures", "thumbnail"]

Encoding = Literal["jpeg", "webp"]

LONGEST_SIDE = 4096
MOST_WORKERS = 4
# Pictures above this are decoded one at a time: a picture of 150 megapixels takes close to a gigabyte while it is
# turned and made small, and as many of them as there are threads would be more than a laptop has.
SIDE_BY_SIDE_MEGAPIXELS = 32.0


@cache
def _alone() -> ThreadPoolExecutor:
    """The one thread for large pictures: always the same, since each thread keeps to itself what it has freed."""
    return ThreadPoolExecutor(1, thread_name_prefix="large-pictures")


def thumbnail(
    source: Path | bytes | str,
    *,
    long_side: int,
    encoding: Encoding = "webp",
    quality: int = 80,
    max_megapixels: float | None = None,
) -> bytes:
    """The picture as a WebP or JPEG file whose longer side has at most `long_side` pixels; never made larger.

    `source` is a path, or the content of a file as bytes. Upright, without metadata, alpha over white. Safe to call
    from many threads: large pictures wait for each other. Raises ImageError, whose `reason` is one word; ValueError for
    a side or a quality that makes no sense.
    """
    return encode(
        small_picture(source, long_side=long_side, max_megapixels=max_megapixels), encoding=encoding, quality=quality
    )


def small_picture(source: Path | bytes | str, *, long_side: int, max_megapixels: float | None = None) -> Picture:
    """As `thumbnail`, as an RGB picture in memory. Without `max_megapixels` the limit is what fits this machine."""
    if not 1 <= long_side <= LONGEST_SIDE:
        raise ValueError(f"the longer side has 1 to {LONGEST_SIDE} pixels, not {long_side}")
    max_megapixels = fitting_megapixels() if max_megapixels is None else max_megapixels
    try:
        picture = _opened(source, long_side, min(max_megapixels, SIDE_BY_SIDE_MEGAPIXELS))
    except TooLargeError as error:
        if error.megapixels > max_megapixels:
            picture = _opened(source, long_side, max_megapixels)  # the same again, with the limit that was asked for
        else:
            picture = _alone().submit(_opened, source, long_side, max_megapixels).result()
    return picture


def small_pictures(
    sources: Iterable[Path | bytes | str],
    *,
    long_side: int,
    max_megapixels: float | None = None,
    workers: int | None = None,
) -> Iterator[Picture | ImageError]:
    """`small_picture` of each, in order, made in threads a few ahead; an ImageError in place of what cannot be read."""
    workers = workers or min(MOST_WORKERS, os.cpu_count() or 1)

    def made(source: Path | bytes | str) -> Picture | ImageError:
        try:
            return small_picture(source, long_side=long_side, max_megapixels=max_megapixels)
        except ImageError as error:
            return error

    remaining = iter(sources)
    waiting: deque[Future[Picture | ImageError]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                waiting.extend(pool.submit(made, source) for source in islice(remaining, 2 * workers - len(waiting)))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def encode(picture: Picture, *, encoding: Encoding = "webp", quality: int = 80) -> bytes:
    """An RGB picture as the bytes of a file. Raises ValueError for a quality outside 1 to 100."""
    if not 1 <= quality <= 100:
        raise ValueError(f"a quality lies in 1..100, not {quality}")
    buffer = io.BytesIO()
    if encoding == "webp":
        picture.save(buffer, "WEBP", quality=quality, method=4)
    else:
        picture.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
    return buffer.getvalue()


def _opened(source: Path | bytes | str, long_side: int, max_megapixels: float) -> Picture:
    from PIL import Image

    picture = open_image(source, max_megapixels=max_megapixels, hint=long_side)
    try:
        picture.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    except MemoryError as error:
        raise ImageError("not enough memory for it", reason="out-of-memory") from error
    return picture
