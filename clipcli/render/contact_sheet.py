"""A gallery as a sheet of small pictures with their names: one picture, or a PDF of pages in A4."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from clipcli.errors import ImageError, UsageError
from clipcli.render.gallery import Gallery, Tile
from clipcli.render.lettering import Lettering
from clipcli.render.made_files import MAKER, check_replaceable, new_file
from clipcli.render.notes import say_missing_letters
from clipcli.render.text import printable

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from clipcli.render.gallery import Pictures

__all__ = ["MOST_ON_A_SHEET", "check_sheet", "sheet_side", "write_sheet"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".pdf")
MOST_ON_A_SHEET = 2000
MOST_MEGAPIXELS = 120  # of one picture: 360 MB of memory
MOST_ENLARGED = 2
MOST_PIXELS_HIGH = 65_000  # JPEG counts to 65,535
INK, FAINT, PAPER, FRAME = (27, 27, 27), (89, 89, 89), (255, 255, 255), (150, 150, 150)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measures:
    """Pixels. `page` is the height of a page, None for one picture that is as high as it has to be."""

    across: int
    tile: int
    letters: int
    gap: int
    page: int | None = None
    dots_per_inch: int = 96

    @property
    def box(self) -> tuple[int, int]:
        return self.tile, self.tile * 3 // 4

    @property
    def width(self) -> int:
        return self.across * (self.tile + self.gap) + self.gap

    @property
    def room(self) -> int:
        """Of a page, what is left between its margins above its number."""
        return (self.page or 0) - 2 * self.gap - 2 * self.letters


# A4 at 200 dots an inch is 1654 x 2339. Names are in 8 points there.
_PAGE = _Measures(across=4, tile=373, letters=22, gap=32, page=2339, dots_per_inch=200)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """A line of text that goes across."""

    text: str
    letters: Lettering
    colour: tuple[int, int, int]
    above: int = 0

    @property
    def height(self) -> int:
        return self.above + self.letters.line_height


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """Tiles beside each other, each with the lines below it."""

    tiles: tuple[Tile, ...]
    lines: tuple[tuple[str, ...], ...]
    height: int


_Block = _Line | _Row


def check_sheet(path: Path) -> None:
    """Raises UsageError for an ending that is none of ours or a file that is not, NotFoundError for no such folder."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--sheet {path.name}: a sheet's name ends in one of {', '.join(SUFFIXES)}")
    check_replaceable(path)


def sheet_side(gallery: Gallery, path: Path) -> int:
    """How large the pictures of the sheet should come, in pixels of their longer side."""
    return _measures(gallery, path).tile


def write_sheet(gallery: Gallery, pictures: Pictures, path: Path) -> int:
    """Write the sheet, of `MOST_ON_A_SHEET` tiles at most; how many there are on it.

    A PDF is written page by page. Raises UsageError for more than one picture can hold, and as `made_files.new_file`.
    """
    shown = gallery.first(MOST_ON_A_SHEET)
    measures = _measures(shown, path)
    blocks = list(_blocks(shown, measures))
    pages = list(_paged(blocks, measures))
    height = measures.page or max(sum(block.height for block in blocks) + 2 * measures.gap, 1)
    if height > MOST_PIXELS_HIGH or measures.width * height > MOST_MEGAPIXELS * 1e6:
        raise UsageError(f"{len(shown.paths):,} are too many for one picture; a sheet that ends in .pdf has pages")
    coming = iter(pictures)
    with new_file(path) as file:
        for number, page in enumerate(pages):
            sheet = _drawn(page, coming, measures, height)
            if len(pages) > 1:
                _number(sheet, f"{number + 1} / {len(pages)}", measures)
            _save(sheet, file, path.suffix.lower(), measures, more=number > 0)
    say_missing_letters()
    return len(shown.paths)


def _measures(gallery: Gallery, path: Path) -> _Measures:
    """Fewer pictures are shown larger."""
    if path.suffix.lower() == ".pdf":
        return _PAGE
    count = len(gallery.paths)
    across, tile = next(
        (a, t) for most, a, t in ((12, 4, 360), (60, 6, 280), (200, 10, 220), (1e9, 16, 180)) if count <= most
    )
    across = max(2, min(across, max((len(section.tiles) for section in gallery.sections), default=1)))
    return _Measures(across=across, tile=tile, letters=15, gap=20)


def _blocks(gallery: Gallery, measures: _Measures) -> Iterator[_Block]:
    """Everything from top to bottom, with its height: all text is measured before a picture is there."""
    title, small = Lettering(round(measures.letters * 1.6)), Lettering(measures.letters)
    heading = Lettering(round(measures.letters * 1.25))
    across = measures.width - 2 * measures.gap
    for line in title.wrapped(printable(gallery.title), across):
        yield _Line(text=line, letters=title, colour=INK)
    told = (gallery.remark, gallery.legend) if gallery.sections else (gallery.nothing,)
    for line in [line for each in told if each for line in small.wrapped(printable(each), across)]:
        yield _Line(text=line, letters=small, colour=FAINT)
    for section in gallery.sections:
        for number, line in enumerate(heading.wrapped(printable(section.heading), across) if section.heading else ()):
            yield _Line(text=line, letters=heading, colour=INK, above=0 if number else measures.gap)
        for start in range(0, len(section.tiles), measures.across):
            yield _row(section.tiles[start : start + measures.across], small, measures)


def _row(tiles: tuple[Tile, ...], letters: Lettering, measures: _Measures) -> _Row:
    lines = []
    for tile in tiles:
        figures = "   ".join((*tile.figures, *([tile.detail] if tile.detail else [])))
        said = letters.wrapped(printable(figures), measures.tile) if figures else []
        lines.append((*said, *letters.wrapped(tile.place, measures.tile)))
    below = max(len(each) for each in lines) * letters.line_height
    return _Row(tiles=tiles, lines=tuple(lines), height=measures.gap + measures.box[1] + measures.gap // 4 + below)


def _paged(blocks: Sequence[_Block], measures: _Measures) -> Iterator[list[_Block]]:
    """The blocks of each page; a heading is never the last thing on one."""
    if measures.page is None:
        yield list(blocks)
        return
    room = measures.room
    page: list[_Block] = []
    used = 0
    for number, block in enumerate(blocks):
        needed = block.height
        for following in blocks[number + 1 :] if isinstance(block, _Line) else ():
            needed += following.height
            if isinstance(following, _Row):
                break
        if page and used + min(needed, room) > room:
            yield page
            page, used = [], 0
        page.append(block)
        used += block.height
    if page:
        yield page


def _drawn(
    blocks: Sequence[_Block], coming: Iterator[Picture | ImageError], measures: _Measures, height: int
) -> Picture:
    """A page; or one picture without the room that was kept for larger ones to the right and below."""
    from PIL import Image

    sheet = Image.new("RGB", (measures.width, height), PAPER)
    letters = Lettering(measures.letters)
    top, right = measures.gap, 0.0
    for block in blocks:
        if isinstance(block, _Line):
            block.letters.draw(sheet, (measures.gap, top + block.above), block.text, block.colour)
            right = max(right, measures.gap + block.letters.length(block.text))
            top += block.height
            continue
        fitted = [_fitted(next(coming), measures) for _ in block.tiles]
        foot = top + measures.gap + max(_high(each, measures) for each in fitted)
        for number, (picture, lines) in enumerate(zip(fitted, block.lines, strict=True)):
            left = measures.gap + number * (measures.tile + measures.gap)
            wide = _draw_picture(sheet, (left, foot), picture, letters, measures)
            for at, line in enumerate(lines):
                letters.draw(sheet, (left, foot + measures.gap // 4 + at * letters.line_height), line, INK)
            right = max(right, left + wide, *(left + letters.length(line) for line in lines))
        top += block.height - measures.box[1] + foot - top - measures.gap
    if measures.page is not None:
        return sheet
    return sheet.crop((0, 0, min(measures.width, round(right) + measures.gap), min(height, top + measures.gap)))


def _fitted(picture: Picture | ImageError, measures: _Measures) -> Picture | ImageError:
    """The picture whole in its box. A small one is enlarged a little: rows of many sizes look torn."""
    from PIL import Image

    if isinstance(picture, ImageError):
        return picture
    wide, high = measures.box
    scale = min(wide / picture.width, high / picture.height, MOST_ENLARGED)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)


def _high(picture: Picture | ImageError, measures: _Measures) -> int:
    return measures.box[1] if isinstance(picture, ImageError) else picture.height


def _draw_picture(
    sheet: Picture,
    at: tuple[int, int],
    picture: Picture | ImageError,
    letters: Lettering,
    measures: _Measures,
) -> int:
    """A picture, or a frame that says why there is none, with its left foot there; how wide it is."""
    from PIL import ImageDraw

    left, foot = at
    if not isinstance(picture, ImageError):
        sheet.paste(picture, (left, foot - picture.height))
        return picture.width
    wide, high = measures.box
    top = foot - high
    ImageDraw.Draw(sheet).rectangle((left, top, left + wide - 1, foot - 1), outline=FRAME, width=2)
    inside = letters.wrapped(f"cannot be read: {printable(str(picture))}", wide - 24)
    for number, line in enumerate(inside[: (high - 16) // letters.line_height]):
        letters.draw(sheet, (left + 12, top + 8 + number * letters.line_height), line, FAINT)
    return wide


def _number(page: Picture, text: str, measures: _Measures) -> None:
    """The page's number at its right foot."""
    letters = Lettering(measures.letters)
    left = page.width - measures.gap - round(letters.length(text))
    letters.draw(page, (left, page.height - measures.gap - letters.line_height), text, FAINT)


def _save(page: Picture, file: IO[bytes], suffix: str, measures: _Measures, *, more: bool) -> None:
    if suffix == ".pdf":
        page.save(file, "PDF", resolution=measures.dots_per_inch, quality=88, append=more, producer=MAKER)
    elif suffix == ".png":
        from PIL.PngImagePlugin import PngInfo

        notes = PngInfo()
        notes.add_text("Software", MAKER)
        page.save(file, "PNG", pnginfo=notes)
    else:
        page.save(file, "JPEG", quality=90, comment=MAKER.encode(), optimize=True)
