"""Silence for Pillow's warnings about odd metadata, which nobody can do anything about."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_warnings"]


class _Warnings:
    """Pillow warns about odd metadata; while any picture is being decoded, in any thread, such warnings are dropped.

    `warnings.catch_warnings` is not safe between threads, so the first one in and the last one out use it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught: warnings.catch_warnings[None] | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0 and self._caught is not None:
                    self._caught.__exit__(None, None, None)
                    self._caught = None


no_warnings = _Warnings()
