"""Pictures in the terminal: a grid that fits its width, each picture standing on what is said about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.errors import ImageError
from clipcli.render.gallery import Gallery, Tile
from clipcli.render.picture_codes import half_blocks, iterm2, kitty, sixel
from clipcli.render.tables import file_link
from clipcli.render.terminal import Terminal, Way
from clipcli.render.text import printable

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from clipcli.render.gallery import Pictures

__all__ = ["Grid", "long_side", "show_previews"]

GAP = 2
NARROWEST = 24  # columns of a tile
NARROWEST_OF_BLOCKS = 30  # they are the pixels, so there have to be more of them
WIDEST = 40
CAPTION_ROWS = 2
KEPT_FREE = 2  # rows: the prompt, and what was typed
_BOLD, _BOLD_GREEN, _FAINT, _PLAIN = "\x1b[1m", "\x1b[1;32m", "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """How many tiles stand in a row, and how large they are, in characters."""

    across: int
    columns: int
    rows: int

    @classmethod
    def fitting(cls, terminal: Terminal, most_in_a_row: int) -> Grid:
        """Tiles of about 4:3, as wide as the terminal allows; a row of them is never higher than the terminal."""
        narrowest = NARROWEST_OF_BLOCKS if terminal.way is Way.blocks else NARROWEST
        across = max(1, (terminal.columns + GAP) // (narrowest + GAP))
        across = min(across, max(1, most_in_a_row))
        columns = max(1, min(WIDEST, (terminal.columns + GAP) // across - GAP))
        wide, high = terminal.cell_or_usual if terminal.way is not Way.blocks else (1, 2)
        rows = max(1, min(round(columns * wide * 3 / 4 / high), terminal.rows - CAPTION_ROWS - KEPT_FREE))
        return cls(across=across, columns=columns, rows=rows)

    def box(self, terminal: Terminal) -> tuple[int, int]:
        """The room for a picture, in pixels; a half block is two of them."""
        wide, high = terminal.cell_or_usual if terminal.way is not Way.blocks else (1, 2)
        return self.columns * wide, self.rows * high


@dataclass(frozen=True, kw_only=True, slots=True)
class _Drawn:
    """A picture ready to be written: as lines of text, or as one code that covers so many rows."""

    rows: int
    columns: int = 0
    lines: Sequence[str] = ()
    code: bytes = b""


def long_side(gallery: Gallery, terminal: Terminal) -> int:
    """How large the pictures should come."""
    return max(_grid(gallery, terminal).box(terminal))


def show_previews(gallery: Gallery, pictures: Pictures, terminal: Terminal) -> None:
    """Write the gallery to stdout, which is that terminal. However it ends, the terminal is left in plain letters."""
    grid = _grid(gallery, terminal)
    coming = iter(pictures)
    whole = False
    try:
        for section in gallery.sections:
            if section.heading:
                _write(f"\n{_BOLD}{_shortened(printable(section.heading), terminal.columns)}{_PLAIN}\n")
            for start in range(0, len(section.tiles), grid.across):
                row = section.tiles[start : start + grid.across]
                _write_row(row, [_draw(next(coming), grid, terminal) for _ in row], grid)
        whole = True
    finally:
        if not whole:  # in the middle of a picture's code, perhaps
            _write(f"\x1b\\{_PLAIN}\n")


def _grid(gallery: Gallery, terminal: Terminal) -> Grid:
    return Grid.fitting(terminal, max((len(section.tiles) for section in gallery.sections), default=1))


def _draw(picture: Picture | ImageError, grid: Grid, terminal: Terminal) -> _Drawn:
    if isinstance(picture, ImageError):
        lines = _empty_frame(str(picture), grid)
        return _Drawn(rows=len(lines), lines=lines, columns=grid.columns)
    from PIL import Image

    small = picture.copy()
    small.thumbnail(grid.box(terminal), Image.Resampling.LANCZOS)
    if terminal.way is Way.blocks:
        lines = half_blocks(small, true_colour=terminal.true_colour)
        return _Drawn(rows=len(lines), lines=lines, columns=small.width)
    wide, high = terminal.cell_or_usual
    columns, rows = -(-small.width // wide), -(-small.height // high)
    if terminal.way is Way.kitty:
        code = kitty(small, columns=None if terminal.cell else columns)
    elif terminal.way is Way.iterm2:
        code = iterm2(small, columns=columns, rows=rows)
    else:
        code = sixel(small, registers=terminal.registers)
    return _Drawn(rows=rows, code=code, columns=columns)


def _write_row(tiles: Sequence[Tile], drawn: Sequence[_Drawn], grid: Grid) -> None:
    """Room is made first, so that nothing scrolls while pictures are put into it; the captions come last."""
    height = max(each.rows for each in drawn)
    for line in range(height):
        text = ""
        for each in drawn:
            above = height - each.rows
            filled = bool(each.lines) and line >= above
            text += each.lines[line - above] if filled else ""
            text += " " * (grid.columns - (each.columns if filled else 0) + GAP)
        _write(text.rstrip(" ") + "\n")
    if any(each.code for each in drawn):
        _write("\n" * (CAPTION_ROWS + 1))
        for number, each in enumerate(drawn):
            up, right = CAPTION_ROWS + 1 + each.rows, number * (grid.columns + GAP)
            if each.code:
                _write(f"\x1b7\x1b[{up}A\r" + (f"\x1b[{right}C" if right else ""))
                _write_code(each.code)
                _write("\x1b8")
        _write(f"\x1b[{CAPTION_ROWS + 1}A\r")
    for lines in zip(*(_caption(tile, grid.columns) for tile in tiles), strict=True):
        _write((" " * GAP).join(lines).rstrip(" ") + "\n")
    _write("\n")


def _caption(tile: Tile, width: int) -> list[str]:
    """Two lines of exactly that width: rank, score and the rest; the name, which leads to the file."""
    from rich.cells import cell_len

    figures = _shortened("  ".join(printable(figure) for figure in tile.figures), width)
    left = width - cell_len(figures) - GAP
    detail = " " * GAP + _shortened(printable(tile.detail), left) if tile.detail and left > 3 else ""
    rest = " " * (width - cell_len(figures) - cell_len(detail))
    name = _shortened(tile.name, width)
    link = f"\x1b]8;;{file_link(tile.path)}\x1b\\{name}\x1b]8;;\x1b\\"
    return [
        f"{_BOLD if os.environ.get('NO_COLOR') else _BOLD_GREEN}{figures}{_PLAIN}{_FAINT}{detail}{_PLAIN}{rest}",
        link + " " * (width - cell_len(name)),
    ]


def _shortened(text: str, width: int) -> str:
    """The text in so many columns, what is too much taken out of its middle, since names differ at both ends."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    if width < 3:
        return set_cell_size(text, max(0, width))
    head = set_cell_size(text, (width - 1) // 2)
    tail, room = "", width - 1 - cell_len(head)
    for character in reversed(text):
        if cell_len(character + tail) > room:
            break
        tail = character + tail
    return f"{head}…{tail}"


def _empty_frame(reason: str, grid: Grid) -> list[str]:
    """A frame that says why there is no picture in it."""
    import textwrap

    from rich.cells import cell_len, set_cell_size

    if grid.columns < 6 or grid.rows < 3:
        return [set_cell_size("no picture", grid.columns)]
    inner = grid.columns - 4
    words = ["cannot be read:", *textwrap.wrap(printable(reason), inner)][: grid.rows - 2]
    lines = [f"│ {word}{' ' * (inner - cell_len(word))} │" for word in (_shortened(each, inner) for each in words)]
    return [f"┌{'─' * (inner + 2)}┐", *lines, f"└{'─' * (inner + 2)}┘"]


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _write_code(code: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(code)
    sys.stdout.buffer.flush()
