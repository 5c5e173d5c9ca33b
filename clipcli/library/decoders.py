"""Decoding in processes of their own, so that a decoder that crashes, hangs or eats all memory costs one file.

Measured against threads in docs/experiments.md.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from clipcli.bundle.spec import Preprocess
from clipcli.library.decoder import DecoderGoneError, DecoderProcess

__all__ = ["Decoders"]

_GOING_S = 2.0


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
        """Have so many in all before they are needed: they start while the caller does something else."""
        with self._changed:
            self._idle += [self._new() for _ in range(count - len(self._all))]

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
