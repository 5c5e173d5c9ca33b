"""Decoding in the test's own process: for tests that make hundreds of runs and are about something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.spec import Preprocess
from clipcli.library.decoder import Opened, Wish
from clipcli.library.decoding_process import _Server
from clipcli.photos.facts import Facts
from clipcli.photos.refusals import file_error

__all__ = ["DecodersHere"]


class DecodersHere:
    """In the place of `Decoders`."""

    def __init__(self, preprocess: Preprocess) -> None:
        self._preprocess = preprocess

    def start(self, count: int) -> None:
        """Nothing has to be started."""

    def close(self) -> None:
        """Nothing has to be ended."""

    @contextmanager
    def one(self, *, fresh: bool = False) -> Iterator[_Here]:
        here = _Here(self._preprocess)
        try:
            yield here
        finally:
            here.close()


class _Here:
    def __init__(self, preprocess: Preprocess) -> None:
        self._server = _Server(-1, -1, preprocess)
        self._side = preprocess.image_size

    def close(self) -> None:
        if self._server._file is not None:
            self._server._file.close()

    def open(self, path: bytes, *, size: int, limit_s: float, at_once: Wish | None = None) -> Opened:
        try:
            return Opened(**self._server._read(path))
        except OSError as error:
            raise file_error(error) from error

    def decode(self, wish: Wish) -> tuple[NDArray[np.uint8], Facts]:
        reply, pixels = self._server._decode(**wish.record)
        facts = Facts(**reply["facts"])
        return np.frombuffer(pixels, dtype=np.uint8).reshape(reply["frames"], self._side, self._side, 3), facts
