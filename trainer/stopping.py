"""Ctrl-C and SIGTERM while training: the first one asks, and everything is saved before the run stops."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupted", "StopSignals"]


class Interrupted(Exception):
    """Asked to stop by a signal; everything up to this step is saved."""

    def __init__(self, signum: int, step: int) -> None:
        super().__init__(f"stopped by signal {signum} at step {step}")
        self.signum, self.step = signum, step


class StopSignals:
    """Within, the first SIGINT or SIGTERM only asks; a second one acts as it would have outside.

    A second one within `echo_s` seconds is taken for the first: `torchrun` passes on what a terminal sends to all of
    its processes anyway.
    """

    def __init__(self, *, echo_s: float = 0.0) -> None:
        self.signum, self.asked_at, self.echo_s = 0, 0.0, echo_s
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
        if not self.signum:
            self.signum, self.asked_at = signum, time.monotonic()
            if not self.echo_s:
                self._give_back()
        elif time.monotonic() - self.asked_at > self.echo_s:
            self._give_back()
            signal.raise_signal(signum)

    def _give_back(self) -> None:
        for signum, handler in self.previous.items():
            signal.signal(signum, handler)
        self.previous = {}
