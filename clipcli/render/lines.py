"""Sentences on a terminal: lines end between words, not in the middle of one as the terminal itself would end them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TextIO

__all__ = ["columns_of", "worded"]

# What stays together where a line has room for it: a command to copy, quoted or at the end; a number and its per cent.
_TOGETHER = re.compile(r"(?<!\w)'clip [^']*'|(?<=: )clip .*$|[\d.,]+ %|\S+")


def columns_of(stream: TextIO) -> int:
    """How many cells wide the terminal behind `stream` is, as COLUMNS or the terminal says; 0 where it is none."""
    try:
        if not stream.isatty():
            return 0
        told = os.environ.get("COLUMNS", "")
        return int(told) if told.isdecimal() else os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        return 0


def worded(line: str, width: int) -> str:
    """`line` with line ends in place of blanks, so that no line is wider than `width` cells; as it is where that is 0.

    Further lines are indented as the first is. A word wider than all of a line, a path as a rule, is left to the
    terminal to break: copied, it is whole.
    """
    if not width or (line.isascii() and len(line) <= width):
        return line
    measured = _measure(line)
    if measured(line) <= width:
        return line
    margin = line[: len(line) - len(line.lstrip())]
    room = max(1, width - len(margin))
    lines, shown = [margin], 0  # cells of the last line behind its margin
    end = len(margin)
    for start, stop in _parts(line, room, measured):
        gap, part = start - end, line[start:stop]
        if shown and shown + gap + measured(part) > room and measured(part) <= room:
            lines.append(margin)
            gap = shown = 0
        lines[-1] += " " * gap + part
        shown = (shown + gap + measured(part)) % width if measured(part) > room else shown + gap + measured(part)
        end = stop
    return "\n".join(lines)


def _parts(line: str, room: int, measured: Callable[[str], int]) -> list[tuple[int, int]]:
    """Where words begin and end; what is to stay together is one where it has room on a line."""
    parts: list[tuple[int, int]] = []
    for found in _TOGETHER.finditer(line):
        if measured(found[0]) <= room:
            parts.append(found.span())
        else:
            parts += [
                (found.start() + word.start(), found.start() + word.end()) for word in re.finditer(r"\S+", found[0])
            ]
    return parts


def _measure(line: str) -> Callable[[str], int]:
    if line.isascii():
        return len
    from rich.cells import cell_len  # counts the cells that wide and combining characters take

    return cell_len
