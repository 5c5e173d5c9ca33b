"""The table for people: fitted to the terminal and coloured there; in a pipe the same, plain and never cut off."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.render.lines import worded
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

        console = Console(highlight=False)
        console.print(Text(worded(printable(text), console.width), style="bold cyan"), soft_wrap=True)
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
    from rich.text import Text

    from clipcli.render.folding import folded, widths_for

    console = Console(highlight=False)
    texts = [[_coloured(cell, console) for cell in row] for row in rows]
    natural = [max([len(column.title), *(row[i].cell_len for row in texts)]) for i, column in enumerate(columns)]
    crowded = sum(natural) + len(GAP) * (len(columns) - 1) > console.width
    # Bars are for the eye only: they give way where anything else would have to be folded.
    kept = [i for i in range(len(columns)) if not (crowded and any(isinstance(row[i], BarCell) for row in rows))]
    shown, texts = [columns[i] for i in kept], [[row[i] for i in kept] for row in texts]
    paths = [any(isinstance(row[i], PathCell) for row in rows) for i in kept]
    kinds = [
        "path" if path else "number" if one.right else "wide" if one.wide else "word"
        for one, path in zip(shown, paths, strict=True)
    ]
    titles = [column.title for column in shown]
    widths = widths_for(titles, texts, kinds, console.width - len(GAP) * (len(kept) - 1))
    if not widths:
        _write_stacked(console, shown, texts, paths, breaks)
        return
    table = Table(box=None, pad_edge=False, padding=(0, len(GAP), 0, 0), header_style="bold")
    for column, width in zip(shown, widths, strict=True):
        table.add_column(
            folded(Text(column.title), width, path=False),
            justify="right" if column.right else "left",
            style=column.style or None,
            no_wrap=True,  # what is too long is folded already
            overflow="fold",
        )
    for number, row in enumerate(texts):
        if number and number in breaks:
            table.add_row()
        cells = zip(row, widths, paths, strict=True)
        table.add_row(*(folded(cell, width, path=path) for cell, width, path in cells))
    console.print(table)


def _write_stacked(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Text]],
    paths: Sequence[bool],
    breaks: frozenset[int],
) -> None:
    """Where no table fits: the name of each row, below it the rest with its headings, line by line."""
    from rich.text import Text

    from clipcli.render.folding import folded

    named = next((i for i, column in enumerate(columns) if column.title), len(columns))
    named += named < len(columns) and not columns[named].right
    room = console.width - len(GAP)
    for number, row in enumerate(rows):
        if number and number in breaks:
            console.print()
        head = Text(GAP).join(cell for cell in row[:named] if cell.plain)
        head.stylize("bold")
        if head.plain:
            console.print(folded(head, console.width, path=any(paths[:named])), soft_wrap=True)
        lines: list[Text] = []
        for column, cell, path in zip(columns[named:], row[named:], paths[named:], strict=True):
            if not cell.plain:
                continue
            item = Text(f"{column.title} " if column.title else "")
            item.append_text(cell)
            if column.style:
                item.stylize(column.style, len(item) - len(cell))
            if lines and lines[-1].cell_len + len("; ") + item.cell_len <= room and "\n" not in lines[-1].plain:
                lines[-1].append("; ").append_text(item)
            else:
                lines.append(folded(item, room, path=path))
        for line in lines:
            for part in line.split("\n"):
                console.print(Text(GAP) + part, soft_wrap=True)


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
