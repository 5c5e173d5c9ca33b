"""Lines for the person on stderr: warnings, hints, what was done; and plain text on stdout where that was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from clipcli.render.lines import columns_of, worded
from clipcli.render.text import printable

_routes: list[Callable[[str], None]] = []


def say(line: str) -> None:
    """Write one line to stderr, above a progress bar where one is showing; a narrow terminal gets it on several.

    A closed stderr is no reason to fail.
    """
    safe = printable(line)
    if _routes:
        _routes[-1](safe)
        return
    try:
        print(worded(safe, columns_of(sys.stderr)), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return


def aside(line: str) -> None:
    """A remark for a person at a terminal, in a fainter colour; scripts and log files never see it."""
    try:
        if not sys.stderr.isatty():
            return
    except (AttributeError, ValueError):
        return
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb" or os.name == "nt"
    shown = worded(printable(line), columns_of(sys.stderr))
    try:
        print(shown if plain else f"\x1b[2m{shown}\x1b[0m", file=sys.stderr, flush=True)
    except OSError:
        return


@contextmanager
def routed(route: Callable[[str], None]) -> Iterator[None]:
    """Within, `say` hands its lines to `route`: a live display draws them without being torn."""
    _routes.append(route)
    try:
        yield
    finally:
        _routes.remove(route)


def say_cut_short(reasons: Iterable[str]) -> None:
    """A line where files were skipped because they are cut short: what takes them all the same."""
    count = sum(reason == "truncated" for reason in reasons)
    if count:
        say(f"{counted(count, 'file is', 'files are')} cut short: --accept-truncated takes what is left")


def say_missing_letters() -> None:
    """A line where letters of a picture had to be spelled out, since no font here has them."""
    from clipcli.render.fonts import missing_letters

    if letters := missing_letters():
        say(f"no font here has {letters}: written as codes; fonts such as Noto Sans (Noto Sans CJK) have them")


def write_text(text: str) -> None:
    """Write ready text to stdout. What the stream's encoding lacks comes out as an escape, not as an error."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
    sys.stdout.flush()


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 picture`, `2 pictures`, `12,000 pictures`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
