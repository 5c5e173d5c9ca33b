"""Pictures named on a command line, files and folders alike: which they are, and their embeddings.

Shapes: N images, D embedding, S image size.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.errors import ImageError, NotFoundError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.bundle.encoder import Model
    from clipcli.bundle.spec import Preprocess

AT_ONCE = 32


@dataclass(kw_only=True, slots=True)
class Skipped:
    """What could not be read, with the reason."""

    files: list[tuple[bytes, str]] = field(default_factory=list)

    def note(self, path: bytes, reason: str, detail: str) -> None:
        """Remember it, and say it at once, in the words of `clip embed`."""
        from clipcli.render.notes import say
        from clipcli.render.text import short_path

        self.files.append((path, reason))
        say(f"skipped {short_path(path)}: {reason} ({detail})")


def picture_paths(named: Sequence[Path], skipped: Skipped) -> list[bytes]:
    """Absolute paths of the files named and of every picture below the folders named, each once, in order.

    Folders that cannot be listed go to `skipped`. Raises NotFoundError for a name that is not there.
    """
    from clipcli.photos.scan import FoundFile, looks_like_picture, walk

    found: dict[bytes, None] = {}
    for name in named:
        path = os.path.abspath(os.fsencode(name))
        if os.path.isdir(path):
            for entry in walk(path):
                full = os.path.join(path, entry.path) if entry.path else path
                if not isinstance(entry, FoundFile):
                    skipped.note(full, entry.reason, entry.detail)
                elif entry.named_picture or looks_like_picture(full):
                    found[full] = None
        elif os.path.lexists(path):
            found[path] = None
        else:
            raise NotFoundError(f"no such file or folder: {os.fsdecode(os.fsencode(name))}")
    return list(found)


def embed_pictures(
    model: Model, paths: Sequence[bytes], skipped: Skipped, *, accept_truncated: bool = False
) -> Iterator[tuple[list[bytes], NDArray[np.float32]]]:
    """The readable ones of `paths` with their unit vectors (N, D), in order and in batches; see `decode_pictures`."""
    for kept, pixels in decode_pictures(model.spec.preprocess, paths, skipped, accept_truncated=accept_truncated):
        yield kept, model.encode_images(pixels)


def decode_pictures(
    preprocess: Preprocess, paths: Sequence[bytes], skipped: Skipped, *, accept_truncated: bool = False
) -> Iterator[tuple[list[bytes], NDArray[np.float32]]]:
    """The readable ones of `paths` as a model sees them (N, 3, S, S), in order and in batches; progress on a terminal.

    Decoding runs ahead while the model works, of more than one in processes of its own. What cannot be read goes to
    `skipped`; with `accept_truncated` a file that was cut short is taken for what is there of it.
    """
    from concurrent.futures import Future, ThreadPoolExecutor
    from contextlib import closing

    import numpy as np

    from clipcli.library.decoded_picture import PictureDecoder
    from clipcli.render.progress import progress_bar

    waiting: deque[tuple[bytes, Future[NDArray[np.float32]]]] = deque()
    remaining = iter(paths)
    with (
        closing(PictureDecoder(preprocess, count=len(paths), accept_truncated=accept_truncated)) as decoder,
        ThreadPoolExecutor(decoder.workers) as pool,
        progress_bar("Looking", total=len(paths), unit="pictures") as progress,
    ):
        try:
            while True:
                for path in islice(remaining, 2 * AT_ONCE - len(waiting)):
                    waiting.append((path, pool.submit(decoder.pixels, path)))
                if not waiting:
                    return
                kept: list[bytes] = []
                pixels: list[NDArray[np.float32]] = []
                count = min(AT_ONCE, len(waiting))
                for _ in range(count):
                    path, future = waiting.popleft()
                    try:
                        pixels.append(future.result())
                        kept.append(path)
                    except ImageError as error:
                        skipped.note(path, error.reason, str(error))
                if kept:
                    yield kept, np.stack(pixels)
                progress.advance(count)
        finally:
            decoder.close()  # before the threads that wait for it
            pool.shutdown(wait=False, cancel_futures=True)
