"""Ctrl-C and SIGTERM while training: the first one asks, and everything is saved before the run stops."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupted", "StopSignals"]


class Interrupted(Exception):
    """Asked to stop by a signal; everything up to this step is saved."""

    def __init__(self, signum: int, step: int) -> None:
        super().__init__(f"stopped by signal {signum} at step {step}")
        self.signum, self.step = signum, step


class StopSignals:
    """Within, the first SIGINT or SIGTERM only asks; a second one acts as it would have outside."""

    def __init__(self) -> None:
        self.signum = 0
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self.previous[signum] = signal.signal(signum, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _ask(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is signal's
        self.signum = signum
        self._give_back()

    def _give_back(self) -> None:
        for signum, handler in self.previous.items():
            signal.signal(signum, handler)
        self.previous = {}
