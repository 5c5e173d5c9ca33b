"""Text on a picture drawn with Pillow: measured, wrapped, in as many fonts as it takes. Lengths are pixels."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.render.fonts import (
    COLOURED,
    FIRST,
    FURTHER,
    font_files,
    font_with,
    spelled_out,
    stays_with_the_one_before,
)

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageFont import FreeTypeFont

__all__ = ["Lettering", "symbol"]

_NOWHERE = "\U0010ffff"  # a character that no font has: what comes out for it stands for all that are missing
_BITMAP_SIZES = (109, 160)  # the only sizes that emoji fonts made of pixels have
_AFTER = re.compile(r"(?<=[\s/\\_.,;:\-–—&+])")  # where a name may be broken before it has to be


@dataclass(frozen=True, eq=False)  # no slots: a cached property needs a place
class _Face:
    """A font; `scale` is what its pixels are multiplied by. Colours are its own."""

    font: FreeTypeFont
    scale: float = 1.0
    coloured: bool = False

    @functools.cached_property
    def _missing(self) -> tuple[tuple[int, int], bytes]:
        mask = self.font.getmask(_NOWHERE)
        return mask.size, bytes(mask)

    def has(self, character: str) -> bool:
        mask = self.font.getmask(character, mode="RGBA" if self.coloured else "")
        return mask.getbbox() is not None and (self.coloured or (mask.size, bytes(mask)) != self._missing)


class Lettering:
    """Text of one size. What no installed font has comes out spelled."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.line_height = round(size * 1.35)
        self._faces = [_first(size)]
        self._complete = False
        self._known: dict[str, _Face | None] = {}

    def wrapped(self, text: str, width: int) -> list[str]:
        """The text on as many lines as it needs, broken after a separator where there is one; nothing is left out."""
        lines, line = [], ""
        for part in _AFTER.split(self._writable(text)):
            if line and self.length((line + part).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            for character in part:
                if line and not stays_with_the_one_before(character) and self.length(line + character) > width:
                    lines.append(line)
                    line = ""
                line += character
        return [*lines, line.rstrip()] if line.strip() or not lines else lines

    def length(self, text: str) -> float:
        return sum(face.font.getlength(run) * face.scale for face, run in self._runs(text))

    def draw(self, picture: Picture, at: tuple[int, int], text: str, colour: tuple[int, int, int]) -> None:
        """Write one line; `at` is its left top."""
        from PIL import ImageDraw

        left, top = float(at[0]), at[1]
        baseline = top + round(self.size * 1.05)
        pen = ImageDraw.Draw(picture)
        for face, run in self._runs(self._writable(text)):
            if face.coloured:
                self._draw_coloured(picture, (round(left), top), face, run)
            else:
                pen.text((left, baseline), run, font=face.font, fill=colour, anchor="ls")
            left += face.font.getlength(run) * face.scale

    def _draw_coloured(self, picture: Picture, at: tuple[int, int], face: _Face, run: str) -> None:
        small = _in_colours(face, run)
        picture.paste(small, at, small)

    def _writable(self, text: str) -> str:
        return spelled_out(text, lambda each: self._face_of(each) is not None)

    def _runs(self, text: str) -> list[tuple[_Face, str]]:
        """The text in pieces of one font each."""
        runs: list[tuple[_Face, str]] = []
        for character in text:
            if runs and (stays_with_the_one_before(character) or (character == " " and not runs[-1][0].coloured)):
                face = runs[-1][0]  # the space of a font of symbols is as wide as a symbol
            else:
                face = self._face_of(character) or self._faces[0]
            if runs and runs[-1][0] is face:
                runs[-1] = (face, runs[-1][1] + character)
            else:
                runs.append((face, character))
        return runs

    def _face_of(self, character: str) -> _Face | None:
        if character not in self._known:
            face = next((face for face in self._faces if face.has(character)), None)
            if face is None and not character.isspace() and not self._complete:
                self._complete = True  # other fonts are looked for when the first one lacks something, not before
                self._faces += _further(self.size)
                face = next((face for face in self._faces if face.has(character)), None)
            if face is None and not character.isspace() and (other := _face_with(character, self.size)):
                self._faces.append(other)
                face = other
            self._known[character] = face
        return self._known[character]


def symbol(text: str, size: int) -> Picture | None:
    """Symbols by a font of coloured ones, on nothing, so many pixels high; None where there is no such font."""
    face = _coloured_face(size)
    letters = [each for each in text if not stays_with_the_one_before(each)]
    if face is None or not letters or not all(map(face.has, letters)):
        return None
    return _in_colours(face, text)


@functools.lru_cache(maxsize=32)
def _coloured_face(size: int) -> _Face | None:
    files = font_files()
    return next((face for name in COLOURED if name in files and (face := _coloured(files[name], size))), None)


def _in_colours(face: _Face, run: str) -> Picture:
    from PIL import Image, ImageDraw

    box = face.font.getbbox(run)
    large = Image.new("RGBA", (max(1, round(box[2])), max(1, round(box[3]))), (0, 0, 0, 0))
    ImageDraw.Draw(large).text((0, 0), run, font=face.font, embedded_color=True)
    size = max(1, round(large.width * face.scale)), max(1, round(large.height * face.scale))
    return large.resize(size, Image.Resampling.LANCZOS)


def _first(size: int) -> _Face:
    from PIL import ImageFont

    files = font_files()
    for name in FIRST:
        if name in files:
            return _Face(ImageFont.truetype(str(files[name]), size))
    built_in = ImageFont.load_default(size)
    assert isinstance(built_in, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return _Face(built_in)


def _further(size: int) -> list[_Face]:
    from PIL import ImageFont

    files = font_files()
    faces = [_coloured(files[name], size) for name in COLOURED if name in files]
    faces += [_Face(ImageFont.truetype(str(files[name]), size)) for name in FURTHER if name in files]
    return [face for face in faces if face is not None]


def _face_with(character: str, size: int) -> _Face | None:
    """A face of whatever other font this computer has the character in."""
    from PIL import ImageFont

    file = font_with(character)
    try:
        face = _Face(ImageFont.truetype(str(file), size)) if file else None
    except OSError:
        return None
    return face if face and face.has(character) else None


def _coloured(path: Path, size: int) -> _Face | None:
    """A font of coloured symbols, at the one size it has if it is made of pixels."""
    from PIL import ImageFont

    for given in (size, *_BITMAP_SIZES):
        try:
            return _Face(
                ImageFont.truetype(str(path), given), size * 1.1 / given if given != size else 1.0, coloured=True
            )
        except OSError:
            continue
    return None
