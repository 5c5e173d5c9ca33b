"""A progress bar on stderr with rate and time left, on a terminal; nothing at all anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from clipcli.render.notes import routed
from clipcli.render.text import printable


class Bar(Protocol):
    """What a command moves along while it works."""

    def advance(self, count: int = 1) -> None:
        """`count` more are done."""

    def set_total(self, total: int | None) -> None:
        """How many there are, once that is known."""

    def describe(self, label: str) -> None:
        """Say what is being done now."""


class SilentBar:
    """The bar of a run without a terminal: takes everything, shows nothing."""

    def advance(self, count: int = 1) -> None:
        """Nothing is shown."""

    def set_total(self, total: int | None) -> None:
        """Nothing is shown."""

    def describe(self, label: str) -> None:
        """Nothing is shown."""


@contextmanager
def progress_bar(label: str, *, total: int | None = None, unit: str = "", rate: bool = True) -> Iterator[Bar]:
    """Show progress while the block runs; `unit` names what is counted ("photos"). The bar is gone afterwards.

    Without `rate` only the time left is shown beside the count: for a label that says more.

    Lines that `clipcli.render.notes.say` writes meanwhile appear above the bar.
    """
    if not shows_progress():
        yield SilentBar()
        return
    from clipcli.render.live import live_bar

    with live_bar(printable(label), total=total, unit=unit, rate=rate) as bar, routed(bar.write_above):
        yield bar


def shows_progress() -> bool:
    """Whether stderr is a terminal that can redraw a line."""
    try:
        return sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"
    except (AttributeError, ValueError):
        return False
