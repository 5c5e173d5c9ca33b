"""Text too long for its column, on several lines: a path at its slashes, other text at its blanks, nothing cut off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len  # counts the cells that wide and combining characters take

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["cuts_of", "folded", "shared_out", "widths_for"]

NARROWEST = 8  # cells of a column that has to give way
LONGEST_WORD = 20  # cells: a longer one, and a path, may be broken where a column is narrow


def widths_for(titles: Sequence[str], texts: Sequence[Sequence[Text]], kinds: Sequence[str], room: int) -> list[int]:
    """How wide each column becomes, so that all have `room` together; nothing where no table can be that narrow.

    `texts` are rows. `kinds` has for each column `number`, whose cells stay whole and whose heading may be folded,
    `word`, folded at blanks only, `wide`, the first to be folded, or `path`, a wide one that may be folded anywhere.
    """
    columns = [[row[place] for row in texts] for place in range(len(titles))]
    wanted = [
        max([cell_len(title), *(cell.cell_len for cell in cells)]) for title, cells in zip(titles, columns, strict=True)
    ]
    least = [_least(*column) for column in zip(titles, columns, kinds, wanted, strict=True)]
    # Columns of names and numbers stay as they are while folding the wide ones is enough.
    kept = [few if kind in ("wide", "path") else want for few, kind, want in zip(least, kinds, wanted, strict=True)]
    if sum(kept) <= room:
        return shared_out(wanted, room, kept)
    return shared_out(wanted, room, least) if sum(least) <= room else []


def _least(title: str, cells: Sequence[Text], kind: str, wanted: int) -> int:
    heading = max((cell_len(word) for word in title.split()), default=0)
    if kind == "number":
        return max([heading, *(cell.cell_len for cell in cells)])
    if kind == "path":
        return max(heading, min(wanted, LONGEST_WORD))
    longest = max((cell_len(word) for cell in cells for word in cell.plain.split()), default=0)
    return max(heading, longest if kind == "word" else min(longest, LONGEST_WORD), min(wanted, NARROWEST))


def shared_out(wanted: Sequence[int], room: int, least: Sequence[int] | None = None) -> list[int]:
    """How wide columns become that want so many cells and have `room` together: what is narrow stays as it is.

    Each gets its `least`, without one NARROWEST, whatever the room.
    """
    few = list(least) if least is not None else [min(want, NARROWEST) for want in wanted]

    def filled(level: int) -> list[int]:
        return [max(few[at], min(want, level)) for at, want in enumerate(wanted)]

    level = max((level for level in range(room + 1) if sum(filled(level)) <= room), default=0)
    widths = filled(level)
    for at, wider in enumerate(filled(level + 1)):
        widths[at] = wider if sum(widths) < room else widths[at]
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
    cuts: list[int] = []
    start = 0
    while cell_len(text[start:]) > width:
        end, taken = start, 0
        while taken + cell_len(text[end]) <= width or end == start:
            taken += cell_len(text[end])
            end += 1
        if not path and text[end] == " ":
            end += 1
        if path:
            places = [place for mark in "/\\ " if (place := text.rfind(mark, start + 1, end)) >= 0]
            end = places[0] + 1 if places else end
        else:
            end = _behind_a_word(text, start, end)
        cuts.append(end)
        start = end
    return [cut for cut in cuts if cut < len(text)]


def _behind_a_word(text: str, start: int, end: int) -> int:
    """The last place up to `end` that a line may end at: behind a blank, but not between a number and its per cent."""
    place = end
    while (place := text.rfind(" ", start + 1, place)) >= 0:
        if text[place + 1 : place + 2] != "%":
            return place + 1
    return end
