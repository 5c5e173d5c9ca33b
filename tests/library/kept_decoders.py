"""Decoding processes that stay from one run to the next: the tests make hundreds of runs over a handful of pictures.

What a run does with processes of its own is tested in test_decoders.py.
"""

from __future__ import annotations

from clipcli.library import decoder as one_process
from clipcli.library.decoder import DecoderProcess
from clipcli.library.decoders import Decoders

_MOST = 4
_Kind = tuple[str, str]
_parked: dict[_Kind, list[DecoderProcess]] = {}


class KeptDecoders(Decoders):
    """As `Decoders`, with processes that were left over."""

    def _new(self) -> DecoderProcess:
        waiting = _parked.get(self._kind())
        if not waiting or self._closed:
            return super()._new()
        decoder = waiting.pop()
        self._all.add(decoder)
        return decoder

    def close(self) -> None:
        with self._changed:
            whole, self._idle = self._idle, []
            self._all.difference_update(whole)
        waiting = _parked.setdefault(self._kind(), [])
        while whole and len(waiting) < _MOST:
            waiting.append(whole.pop())
        for decoder in whole:
            decoder.close()
        super().close()

    def _kind(self) -> _Kind:
        return repr(self._preprocess), one_process._PROGRAM


def end_all() -> None:
    for waiting in _parked.values():
        for decoder in waiting:
            decoder.close()
    _parked.clear()
