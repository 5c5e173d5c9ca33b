"""Single pictures as a model wants them, for commands that are given them by name: nothing is written to a library.

One alone is decoded here, since a process of its own would lengthen what a search waits for; several get processes, as
an index run does (decision 0017). Shapes: S image size.
"""

from __future__ import annotations

import os
import threading

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.preprocess import normalise, to_pixels
from clipcli.bundle.spec import Preprocess
from clipcli.errors import ImageError
from clipcli.library.decoder import TOO_SLOW, DecoderGoneError, Wish
from clipcli.library.decoders import Decoders
from clipcli.library.report import DEFAULT_SECONDS_PER_FILE
from clipcli.photos.decode import DEFAULT_MAX_MEGAPIXELS, open_image
from clipcli.photos.refusals import file_error

__all__ = ["PictureDecoder"]

_FILES_WORTH_ANOTHER_PROCESS = 4
_MOST = 8
_LIMIT_S = DEFAULT_SECONDS_PER_FILE


class PictureDecoder:
    """Decodes pictures for one model. `count` is about how many there will be; `workers` may do so side by side.

    With `accept_truncated` a file that was cut short is taken for what is there of it.
    """

    def __init__(self, preprocess: Preprocess, *, count: int, accept_truncated: bool = False) -> None:
        self.workers = min(_MOST, os.cpu_count() or 1, 1 + count // _FILES_WORTH_ANOTHER_PROCESS)
        self._preprocess = preprocess
        self._wish = Wish(
            max_megapixels=DEFAULT_MAX_MEGAPIXELS, frames=1, accept_truncated=accept_truncated, limit_s=_LIMIT_S
        )
        self._decoders = Decoders(preprocess) if count > 1 or accept_truncated else None
        if self._decoders is not None:
            self._decoders.start(self.workers)

    def pixels(self, path: bytes) -> NDArray[np.float32]:
        """(3, S, S). Raises ImageError, also for a file that takes longer than a minute, and, of several, for one that
        its decoder crashes on.
        """
        if self._decoders is None:
            return self._here(path)
        try:
            return self._decoded(self._decoders, path, fresh=False)
        except DecoderGoneError as error:
            if error.was_fresh:
                raise
            return self._decoded(self._decoders, path, fresh=True)  # an earlier file may have broken that process

    def close(self) -> None:
        """End the processes, whatever they are at: threads that wait for them go on."""
        if self._decoders is not None:
            self._decoders.close()

    def _here(self, path: bytes) -> NDArray[np.float32]:
        """In a thread, which is left behind when it takes too long and goes with the program."""
        outcome: list[NDArray[np.float32] | BaseException] = []

        def decode() -> None:
            try:
                picture = open_image(os.fsdecode(path), hint=self._preprocess.image_size)
                outcome.append(to_pixels(picture, self._preprocess))
            except BaseException as error:  # noqa: BLE001 - raised again below
                outcome.append(error)

        thread = threading.Thread(target=decode, daemon=True)
        thread.start()
        thread.join(_LIMIT_S)
        if not outcome:
            raise ImageError(f"not read within {_LIMIT_S:.3g} seconds", reason=TOO_SLOW)
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def _decoded(self, decoders: Decoders, path: bytes, *, fresh: bool) -> NDArray[np.float32]:
        try:
            size = os.stat(path).st_size
        except OSError as error:
            raise file_error(error) from error
        with decoders.one(fresh=fresh) as decoder:
            decoder.open(os.path.abspath(path), size=size, limit_s=_LIMIT_S, at_once=self._wish)
            levels, _ = decoder.decode(self._wish)  # (1, S, S, 3)
        return normalise(levels[0], self._preprocess)
