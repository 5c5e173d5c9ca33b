"""Text too long for its column, on several lines: a path at its slashes, other text at its blanks, nothing cut off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["cuts_of", "folded", "shared_out"]

NARROWEST = 8  # cells of a column that has to give way


def shared_out(wanted: Sequence[int], room: int) -> list[int]:
    """How wide columns become that want so many cells and have `room` together: what is narrow stays as it is."""
    widths = [0] * len(wanted)
    left = room
    for done, at in enumerate(sorted(range(len(wanted)), key=lambda place: wanted[place])):
        widths[at] = max(min(wanted[at], NARROWEST), min(wanted[at], left // (len(wanted) - done)))
        left -= widths[at]
    return widths


def folded(text: Text, width: int, *, path: bool) -> Text:
    """The text with ends of lines where it has to be folded, its colours and links kept."""
    from rich.text import Text

    cuts = cuts_of(text.plain, width, path=path)
    if not cuts:
        return text
    lines = list(text.divide(cuts))
    for line in () if path else lines:
        line.rstrip()
    return Text("\n", style=text.style).join(lines)


def cuts_of(text: str, width: int, *, path: bool) -> list[int]:
    """After how many characters each line ends: behind a slash or a blank where there is one, else where it is full."""
    from rich.cells import cell_len

    cuts: list[int] = []
    start = 0
    while cell_len(text[start:]) > width:
        end, taken = start, 0
        while taken + cell_len(text[end]) <= width or end == start:
            taken += cell_len(text[end])
            end += 1
        if not path and text[end] == " ":
            end += 1
        for mark in "/\\ " if path else " ":
            if (place := text.rfind(mark, start + 1, end)) >= 0:
                end = place + 1
                break
        cuts.append(end)
        start = end
    return [cut for cut in cuts if cut < len(text)]
