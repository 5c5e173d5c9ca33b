"""The table for people: fitted to the terminal and coloured there; in a pipe the same, plain and never cut off."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.render.notes import write_text
from clipcli.render.text import printable, short_path

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column by its heading. `style` is a colour of rich; a wide one is folded where the terminal is narrow."""

    title: str
    right: bool = False
    style: str = ""
    wide: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PathCell:
    """A file: on a terminal short and a link to open it, in a pipe in full.

    `again` is for further rows about the same file: a terminal leaves the cell empty, a pipe repeats it for grep.
    """

    path: bytes
    again: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BarCell:
    """A share from 0 to 1, drawn as a bar on a terminal and left out in a pipe."""

    share: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"a share lies in 0..1, not {self.share}")


Cell = str | PathCell | BarCell
BAR_WIDTH = 16
GAP = "  "
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def write_table(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, breaks: frozenset[int] = frozenset()
) -> None:
    """Write rows under their headings to stdout; on a terminal an empty line before the rows numbered in `breaks`."""
    if sys.stdout.isatty():
        _write_for_terminal(columns, rows, breaks)
    else:
        _write_plain(columns, rows)


def write_heading(text: str) -> None:
    """A line that says what follows, with an empty one before it; bold on a terminal."""
    write_text("\n")
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.text import Text

        Console(highlight=False).print(Text(printable(text), style="bold cyan"), soft_wrap=True)
    else:
        write_text(f"{printable(text)}\n")


def write_link(label: str, path: bytes) -> None:
    """A line that names a file, on a terminal as a link to open it."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False)
        console.print(Text(label) + _coloured(PathCell(path=path), console), soft_wrap=True)
    else:
        write_text(f"{label}{_plain(PathCell(path=path))}\n")


def bar(share: float, width: int = BAR_WIDTH) -> str:
    """A bar of `width` cells at most, in eighths of a cell."""
    eighths = round(share * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def file_link(path: bytes) -> str:
    """A file as a URL, each byte that is not plain written as %XX."""
    if os.name == "nt":
        return Path(os.fsdecode(path)).as_uri()
    from urllib.parse import quote

    return "file://" + quote(path)


def _write_plain(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
    from rich.cells import cell_len  # counts the cells that wide and combining characters take

    kept = [i for i in range(len(columns)) if not any(isinstance(row[i], BarCell) for row in rows)]
    lines = [[columns[i].title for i in kept]] + [[_plain(row[i]) for i in kept] for row in rows]
    widths = [max(cell_len(line[i]) for line in lines) for i in range(len(kept))]
    text = []
    for line in lines:
        cells = []
        for cell, width, i in zip(line, widths, kept, strict=True):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if columns[i].right else cell + space)
        text.append(GAP.join(cells).rstrip() + "\n")
    write_text("".join(text))


def _plain(cell: Cell) -> str:
    if isinstance(cell, PathCell):
        return printable(os.fsdecode(cell.path))
    return "" if isinstance(cell, BarCell) else printable(cell)


def _write_for_terminal(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], breaks: frozenset[int] = frozenset()
) -> None:
    from rich.console import Console
    from rich.table import Table

    from clipcli.render.folding import folded, shared_out

    console = Console(highlight=False)
    texts = [[_coloured(cell, console) for cell in row] for row in rows]
    widths = [max([len(column.title), *(row[i].cell_len for row in texts)]) for i, column in enumerate(columns)]
    crowded = sum(widths) + len(GAP) * (len(columns) - 1) > console.width
    # Bars are for the eye only: they give way where a path would have to be folded.
    kept = [i for i in range(len(columns)) if not (crowded and any(isinstance(row[i], BarCell) for row in rows))]
    wide = [i for i in kept if columns[i].wide]
    taken = sum(widths[i] for i in kept if i not in wide) + len(GAP) * (len(kept) - 1)
    for i, width in zip(wide, shared_out([widths[i] for i in wide], console.width - taken), strict=True):
        for row, cells in zip(texts, rows, strict=True):
            row[i] = folded(row[i], width, path=isinstance(cells[i], PathCell))
    table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), header_style="bold")
    for column in (columns[i] for i in kept):
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            style=column.style or None,
            no_wrap=True,  # what is too long is folded already
            overflow="fold",
        )
    for number, row in enumerate(texts):
        if number and number in breaks:
            table.add_row()
        table.add_row(*(row[i] for i in kept))
    console.print(table)


def _coloured(cell: Cell, console: Console) -> Text:
    from rich.style import Style
    from rich.text import Text

    if isinstance(cell, PathCell):
        if cell.again:
            return Text()
        style = Style(link=file_link(cell.path)) if console.color_system else Style()
        return Text(printable(short_path(cell.path)), style=style)
    if isinstance(cell, BarCell):
        shown = bar(cell.share) if console.encoding.startswith("utf") else "#" * round(cell.share * BAR_WIDTH)
        return Text(shown, style="cyan")
    return Text(printable(cell))
