"""A terminal's screen, as far as previews need one: text, the cursor, and every kind of picture decoded again.

Lines are counted from the first one ever written; what has scrolled away is kept. The cursor cannot go back above what
is visible, as on a real one.
"""

from __future__ import annotations

import base64
import io
import re
import unicodedata
from dataclasses import dataclass, field

from PIL import Image

__all__ = ["Cell", "Placed", "Screen", "decode_sixel"]

Colour = tuple[int, int, int]

_TOKEN = re.compile(
    rb"\x1b_G(?P<kitty>[^\x1b]*)\x1b\\"
    rb"|\x1b\](?P<osc>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    rb"|\x1bP(?P<dcs>[^\x1b]*)\x1b\\"
    rb"|\x1b\[(?P<csi>[?>=]?[\d;]*)(?P<final>[A-Za-z])"
    rb"|\x1b(?P<esc>[78\\])"
    rb"|(?P<control>[\r\n])"
    rb"|(?P<text>[^\x1b\r\n]+)"
)


@dataclass(frozen=True)
class Cell:
    """A character with its colours."""

    character: str
    ink: Colour | None
    paper: Colour | None
    link: str = ""


@dataclass(frozen=True)
class Placed:
    """A picture drawn at a place."""

    line: int
    column: int
    way: str
    image: Image.Image
    keys: dict[str, str] = field(default_factory=dict)


class Screen:
    """`folds`: text beyond the last column goes on below, as on a terminal; otherwise it is an error of the test."""

    def __init__(self, columns: int, rows: int, *, folds: bool = False) -> None:
        self.folds = folds
        self.columns, self.rows = columns, rows
        self.cells: dict[tuple[int, int], Cell] = {}
        self.pictures: list[Placed] = []
        self.line = self.column = 0
        self.last_line = 0
        self.saved = (0, 0)
        self.ink: Colour | None = None
        self.paper: Colour | None = None
        self.link = ""
        self.unknown: list[bytes] = []
        self._kitty: tuple[dict[str, str], bytes] | None = None

    def feed(self, data: bytes) -> Screen:
        at = 0
        while at < len(data):
            match = _TOKEN.match(data, at)
            if match is None:
                self.unknown.append(data[at : at + 20])
                at += 1
                continue
            at = match.end()
            self._take(match)
        return self

    def text(self) -> list[str]:
        """Each line without its colours."""
        lines = [[" "] * self.columns for _ in range(self.last_line + 1)]
        for (line, column), cell in self.cells.items():
            lines[line][column] = cell.character
        return ["".join(line).rstrip() for line in lines]

    def block_picture(self, line: int, column: int) -> Image.Image:
        """The picture of half blocks whose first cell this is."""
        wide = 0
        while self._block(line, column + wide):
            wide += 1
        high = 0
        while self._block(line + high, column):
            high += 1
        picture = Image.new("RGB", (wide, 2 * high))
        for y in range(high):
            for x in range(wide):
                cell = self.cells[line + y, column + x]
                assert cell.ink is not None
                picture.putpixel((x, 2 * y), cell.ink)
                picture.putpixel((x, 2 * y + 1), cell.paper or cell.ink)
        return picture

    def first_blocks(self) -> list[tuple[int, int]]:
        """The left top of every picture of half blocks."""
        return sorted(
            place
            for place in self.cells
            if self._block(*place)
            and not self._block(place[0], place[1] - 1)
            and not self._block(place[0] - 1, place[1])
        )

    def _block(self, line: int, column: int) -> bool:
        return (line, column) in self.cells and self.cells[line, column].character == "▀"

    def _take(self, match: re.Match[bytes]) -> None:
        if match["text"] is not None:
            self._write(match["text"].decode())
        elif match["control"] is not None:
            if match["control"] == b"\r":
                self.column = 0
            else:
                self.line += 1
                self.last_line = max(self.last_line, self.line)
        elif match["esc"] is not None:
            if match["esc"] == b"7":
                self.saved = self.line, self.column
            elif match["esc"] == b"8":
                self.line, self.column = self.saved
        elif match["final"] is not None:
            self._control(match["csi"].decode(), match["final"].decode())
        elif match["kitty"] is not None:
            self._take_kitty(match["kitty"])
        elif match["osc"] is not None:
            self._take_osc(match["osc"])
        elif b"q" in match["dcs"]:
            self.pictures.append(Placed(self.line, self.column, "sixel", decode_sixel(match["dcs"])))
            self.line += 1  # as terminals do; whoever draws has to have made room
            self.last_line = max(self.last_line, self.line)

    def _write(self, text: str) -> None:
        for character in text:
            if unicodedata.combining(character):
                continue
            if self.folds and self.column >= self.columns:
                self.column, self.line = 0, self.line + 1
                self.last_line = max(self.last_line, self.line)
            assert self.column < self.columns, f"written beyond the last column: {text!r}"
            self.cells[self.line, self.column] = Cell(character, self.ink, self.paper, self.link)
            self.column += 2 if unicodedata.east_asian_width(character) in "WF" else 1

    def _control(self, given: str, final: str) -> None:
        number = int(given) if given.isdigit() else 1
        if final == "A":
            top = max(0, self.last_line - self.rows + 1)
            assert self.line - number >= top, "the cursor goes above the screen"
            self.line -= number
        elif final == "C":
            self.column += number
        elif final == "m":
            self._colour([int(part or 0) for part in given.split(";")])
        elif final not in "Kqtc" and not (given.startswith("?") and final == "S"):
            self.unknown.append(f"CSI {given}{final}".encode())

    def _colour(self, parts: list[int]) -> None:
        while parts:
            first = parts.pop(0)
            if first in (38, 48):
                kind = parts.pop(0)
                colour = (parts.pop(0), parts.pop(0), parts.pop(0)) if kind == 2 else _of_256(parts.pop(0))
                if first == 38:
                    self.ink = colour
                else:
                    self.paper = colour
            elif first == 49:
                self.paper = None
            elif first == 0:
                self.ink = self.paper = None

    def _take_kitty(self, content: bytes) -> None:
        head, _, data = content.partition(b";")
        keys = dict(part.split("=", 1) for part in head.decode().split(",") if part)
        if keys.get("a") == "q":
            return
        assert len(data) <= 4096
        if self._kitty is not None:
            keys, data = {**self._kitty[0], "m": keys["m"]}, self._kitty[1] + data
        if keys.get("m") == "1":
            self._kitty = keys, data
            return
        self._kitty = None
        assert (keys["a"], keys["f"], keys["q"], keys["C"]) == ("T", "100", "2", "1")
        image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
        self.pictures.append(Placed(self.line, self.column, "kitty", image.convert("RGB"), keys))

    def _take_osc(self, content: bytes) -> None:
        if content.startswith(b"8;;"):
            self.link = content[3:].decode()
        elif content.startswith(b"1337;File="):
            head, _, data = content.removeprefix(b"1337;File=").partition(b":")
            keys = dict(part.split("=", 1) for part in head.decode().split(";"))
            raw = base64.b64decode(data, validate=True)
            assert keys["inline"] == "1"
            assert int(keys["size"]) == len(raw)
            image = Image.open(io.BytesIO(raw)).convert("RGB")
            self.pictures.append(Placed(self.line, self.column, "iterm2", image, keys))


def _of_256(number: int) -> Colour:
    if number >= 232:
        return (8 + 10 * (number - 232),) * 3
    levels = (0, 95, 135, 175, 215, 255)
    number -= 16
    return levels[number // 36], levels[number // 6 % 6], levels[number % 6]


def decode_sixel(content: bytes) -> Image.Image:
    """What stands between DCS and ST as a picture (DEC STD 070); every pixel has to be painted."""
    _, _, body = content.partition(b"q")
    size = re.match(rb'"1;1;(\d+);(\d+)', body)
    assert size
    width, height = int(size[1]), int(size[2])
    image = Image.new("RGB", (width, height))
    painted = set()
    palette: dict[int, Colour] = {}
    colour, x, y = 0, 0, 0
    for part in re.finditer(rb'"[\d;]+|#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)(.)|([$-])|([?-~])', body):
        number, red, green, blue, count, repeated, move, single = part.groups()
        if number is not None:
            colour = int(number)
            if red is not None:
                palette[colour] = tuple(round(int(c) * 255 / 100) for c in (red, green, blue))
        elif move is not None:
            x, y = 0, y + (6 if move == b"-" else 0)
        elif single is not None or repeated is not None:
            bits = ord(single or repeated) - 63
            for place in range(x, x + int(count or 1)):
                for row in range(6):
                    if bits >> row & 1:
                        assert (place, y + row) not in painted
                        painted.add((place, y + row))
                        image.putpixel((place, y + row), palette[colour])
            x += int(count or 1)
    assert len(painted) == width * height
    assert len(palette) <= 256
    return image
