"""What the terminal can show, found out by asking it: kitty's pictures, iTerm2's, sixels, or coloured half blocks.

Everything is asked at once; the last question is one that every terminal since the VT100 answers (device attributes),
so that nobody waits for answers that do not come. Sources: ctlseqs of xterm (DA1, XTVERSION, XTWINOPS, XTSMGRAPHICS),
the kitty graphics protocol, iTerm2's inline images protocol.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
import time
from dataclasses import dataclass
from enum import StrEnum

from clipcli.errors import UsageError

__all__ = ["Terminal", "Way", "find_terminal"]


class Way(StrEnum):
    """How pictures get onto the screen, the best first."""

    kitty = "kitty"
    iterm2 = "iterm2"
    sixel = "sixel"
    blocks = "blocks"


USUAL_CELL = (10, 20)  # pixels, of the VT340, where the terminal does not tell
SMALLEST = (6, 5)  # columns and rows in which a picture and its name have room
MOST_REGISTERS = 256
ANSWER_WITHIN_S = 1.0  # for terminals far away; one that is near answers within milliseconds

_QUESTIONS = (
    b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"  # kitty: would you take this pixel?
    b"\x1b]1337;ReportCellSize\x07"  # iTerm2, WezTerm
    b"\x1b[>0q"  # name and version
    b"\x1b[16t"  # size of a cell in pixels
    b"\x1b[?1;1;0S"  # number of colours of a sixel picture
    b"\x1b[c"  # device attributes
)
_CLEAN = b"\r\x1b[K"  # what a terminal may have printed of a question that it did not understand
_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")
_KITTY = re.compile(rb"\x1b_Gi=31[^;\x1b]*;OK\x1b\\")
_ITERM2 = re.compile(rb"\x1b\]1337;ReportCellSize=([\d.]+);([\d.]+)(?:;([\d.]+))?(?:\x07|\x1b\\)")
_VERSION = re.compile(rb"\x1bP>\|([^\x1b]*)\x1b\\")
_CELL = re.compile(rb"\x1b\[6;(\d+);(\d+)t")
_REGISTERS = re.compile(rb"\x1b\[\?1;0;(\d+)[;\d]*S")
_UNDERSTANDS_ITERM2 = ("iterm2", "wezterm", "mintty")
_SIXEL_ATTRIBUTE = "4"


@dataclass(frozen=True, kw_only=True, slots=True)
class Terminal:
    """How to show pictures, and in what space. `cell` is the width and height of a character in pixels, if told."""

    way: Way
    columns: int
    rows: int
    cell: tuple[int, int] | None = None
    registers: int = MOST_REGISTERS  # colours of a sixel picture
    true_colour: bool = False  # of half blocks; otherwise the 256 of xterm

    def __post_init__(self) -> None:
        if min(self.columns, self.rows, *self.cell_or_usual, self.registers) < 1:
            raise ValueError(f"a terminal without extent: {self}")

    @property
    def cell_or_usual(self) -> tuple[int, int]:
        """The size of a cell, as told or as it usually is."""
        return self.cell or USUAL_CELL


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answers:
    way: Way = Way.blocks
    cell: tuple[int, int] | None = None
    registers: int = MOST_REGISTERS
    version: str = ""


def find_terminal(forced: Way | None = None) -> Terminal | None:
    """What stdout is; None where it is no terminal, or one that is too small or shows nothing but letters.

    `forced` skips the decision, not the measuring. Raises UsageError for what tmux and screen do not let through.
    """
    name = os.environ.get("TERM", "")
    if not sys.stdout.isatty() or name == "dumb" or not sys.stdout.encoding.lower().startswith("utf"):
        return None
    columns, rows = shutil.get_terminal_size()
    if columns < SMALLEST[0] or rows < SMALLEST[1]:
        return None
    inside = _multiplexer(name)
    if inside and forced in (Way.kitty, Way.iterm2):
        raise UsageError(f"{inside} lets no pictures of {forced.value} through; leave --preview-as out")
    answers = _Answers()
    if not inside and forced is not Way.blocks and _may_ask(name):
        answers = _read(_asked(sys.stdin.fileno(), sys.stdout.fileno(), ANSWER_WITHIN_S))
    return Terminal(
        way=forced or answers.way,
        columns=columns,
        rows=rows,
        cell=_told_cell() or answers.cell,
        registers=answers.registers,
        true_colour=_true_colour(inside, answers.version),
    )


def _multiplexer(name: str) -> str:
    if os.environ.get("TMUX") or name.startswith("tmux"):
        return "tmux"
    return "screen" if os.environ.get("STY") or name.startswith("screen") else ""


def _may_ask(name: str) -> bool:
    """Whether somebody is there to answer, who would not print the questions instead, and this is the foreground."""
    if sys.platform == "win32":
        return False
    if name == "linux" or os.environ.get("TERM_PROGRAM") == "Apple_Terminal":
        return False
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


def _asked(reading: int, writing: int, timeout_s: float) -> bytes:
    """Put the questions and collect what comes back, up to the device attributes or the end of the time.

    Nothing is asked where somebody has typed ahead: their keys are for the shell. The terminal is left as it was.
    """
    if sys.platform == "win32":
        return b""
    import termios

    try:
        before = termios.tcgetattr(reading)
    except termios.error:
        return b""
    raw = [*before[:6], list(before[6])]
    raw[3] &= ~(termios.ICANON | termios.ECHO)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 0, 0
    got = b""
    try:
        termios.tcsetattr(reading, termios.TCSANOW, raw)
        if select.select([reading], [], [], 0)[0]:
            return b""
        sys.stdout.flush()
        _write_all(writing, _QUESTIONS)
        until = time.monotonic() + timeout_s
        while not _ATTRIBUTES.search(got) and (left := until - time.monotonic()) > 0:
            if select.select([reading], [], [], left)[0]:
                part = os.read(reading, 4096)
                if not part:
                    break
                got += part
        _write_all(writing, _CLEAN)
    except OSError:
        return b""
    finally:
        complete = _ATTRIBUTES.search(got) is not None
        termios.tcsetattr(reading, termios.TCSADRAIN if complete or not got else termios.TCSAFLUSH, before)
    return got


def _write_all(writing: int, data: bytes) -> None:
    while data:
        data = data[os.write(writing, data) :]


def _read(got: bytes) -> _Answers:
    """The answers in plain terms. What was cut off by the end of the time counts as not answered."""
    attributes = _ATTRIBUTES.search(got)
    version = _VERSION.search(got)
    name = version[1].decode("ascii", "replace") if version else ""
    own = _ITERM2.search(got)
    if _KITTY.search(got):
        way = Way.kitty
    elif own or name.lower().startswith(_UNDERSTANDS_ITERM2):
        way = Way.iterm2
    elif attributes and _SIXEL_ATTRIBUTE in attributes[1].decode().split(";")[1:]:
        way = Way.sixel
    else:
        way = Way.blocks
    cell = None
    if measured := _CELL.search(got):
        cell = int(measured[2]), int(measured[1])
    elif own:
        scale = float(own[3] or 1)
        cell = round(float(own[2]) * scale), round(float(own[1]) * scale)
    registers = _REGISTERS.search(got)
    return _Answers(
        way=way,
        cell=_plausible(*cell) if cell else None,
        registers=max(2, min(MOST_REGISTERS, int(registers[1]))) if registers else MOST_REGISTERS,
        version=name,
    )


def _told_cell() -> tuple[int, int] | None:
    """The size of a cell where the terminal's driver knows it without asking."""
    if sys.platform == "win32":
        return None
    import fcntl
    import struct
    import termios

    try:
        answer = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, b"\0" * 8)
    except OSError:
        return None
    rows, columns, width, height = struct.unpack("HHHH", answer)
    if not (rows and columns and width // columns and height // rows):
        return None
    return _plausible(width // columns, height // rows)


def _plausible(width: int, height: int) -> tuple[int, int] | None:
    """The size of a cell, or nothing where it is told what no letter could be read in, or what fills a screen."""
    return (width, height) if 3 <= width <= 100 and 6 <= height <= 200 else None


def _true_colour(inside: str, version: str) -> bool:
    """tmux makes of 24 bits what the terminal around it can show, screen does not."""
    if inside:
        return inside == "tmux"
    return bool(version) or os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit")
