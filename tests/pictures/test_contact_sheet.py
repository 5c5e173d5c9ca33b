"""`--sheet`: every picture with its whole name, on one picture or on pages."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont
from PIL.PdfParser import PdfParser

from clipcli.errors import ImageError, UsageError
from clipcli.render import contact_sheet, fonts, lettering
from clipcli.render.contact_sheet import check_sheet, sheet_side, write_sheet
from clipcli.render.fonts import spelled_out
from clipcli.render.gallery import Gallery, Section, Tile
from clipcli.render.lettering import Lettering
from tests.pictures.conftest import drawn

COLOURS = [(220, 30, 30), (30, 180, 60), (40, 60, 220), (230, 220, 40), (200, 60, 200)]
LONG = "a_very_long_name_that_goes_on_and_on_" * 6 + "until the end.jpg"


def gallery(count: int, *, sections: int = 1, name: str = "{}.jpg") -> Gallery:
    tiles = [Tile(path=f"/photos/{name.format(i)}".encode(), figures=(str(i), "0.3")) for i in range(count)]
    per = max(1, -(-count // sections))
    parts = [tuple(tiles[start : start + per]) for start in range(0, count, per)]
    headed = tuple(Section(tiles=part, heading=f"part {n}" if sections > 1 else "") for n, part in enumerate(parts))
    return Gallery(title="red", sections=headed, remark="5 of 5")


def flat(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (80, 60), colour)


def pages_of(path: Path) -> int:
    with PdfParser(str(path)) as parsed:
        return len(parsed.pages)


def colours_on(sheet: Image.Image) -> list[int]:
    """How many pixels are near each of COLOURS."""
    pixels = np.asarray(sheet.convert("RGB"), dtype=np.int64)
    return [int((np.abs(pixels - colour).max(axis=2) < 24).sum()) for colour in np.array(COLOURS)]


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "png", "pdf"])
def test_every_picture_is_on_it_and_it_may_be_made_again(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"sheet.{ending}"
    for _ in range(2):
        check_sheet(path)
        assert write_sheet(gallery(5), [flat(colour) for colour in COLOURS], path) == 5
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    if ending == "pdf":
        assert pages_of(path) == 1
    else:
        twice = 4 * 80 * 60  # pixels: small pictures are shown twice as large
        assert all(0.9 * twice < count < 1.1 * twice for count in colours_on(Image.open(path)))


@pytest.mark.parametrize(
    ("came", "shown"),
    [((2000, 100), (360, 18)), ((360, 270), (360, 270)), ((160, 160), (270, 270)), ((50, 40), (100, 80))],
)
def test_pictures_of_all_sizes_fill_their_boxes_and_small_ones_are_enlarged_to_twice(
    came: tuple[int, int], shown: tuple[int, int]
) -> None:
    measures = contact_sheet._measures(gallery(4), Path("sheet.png"))
    assert measures.box == (360, 270)
    fitted = contact_sheet._fitted(Image.new("RGB", came), measures)
    assert isinstance(fitted, Image.Image)
    assert fitted.size == shown


def test_a_pdf_has_as_many_pages_as_it_takes(tmp_path: Path) -> None:
    write_sheet(gallery(50), [flat(COLOURS[0])] * 50, tmp_path / "sheet.pdf")
    assert pages_of(tmp_path / "sheet.pdf") == 3


def test_a_heading_is_never_the_last_thing_on_a_page() -> None:
    measures = contact_sheet._PAGE
    blocks = list(contact_sheet._blocks(gallery(60, sections=30), measures))
    pages = list(contact_sheet._paged(blocks, measures))
    assert len(pages) > 3
    assert [block for page in pages for block in page] == blocks
    assert all(isinstance(page[-1], contact_sheet._Row) for page in pages)
    assert all(sum(block.height for block in page) <= measures.room for page in pages)
    assert measures.page is not None
    assert measures.room < measures.page - 2 * measures.gap - Lettering(measures.letters).line_height  # the number


@pytest.mark.parametrize("sizes", [[(80, 60)], [(300, 30)] * 3, [(60, 300), (30, 30)], [(30, 20)] * 6])
def test_no_white_is_left_beside_or_below(sizes: list[tuple[int, int]], tmp_path: Path) -> None:
    """All around stands the same margin, whatever shapes came; a row is as high as its highest picture."""
    pictures = [Image.new("RGB", size, COLOURS[0]) for size in sizes]
    shown = Gallery(title="", sections=(gallery(len(sizes)).sections[0],))
    write_sheet(shown, pictures, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    inked = np.argwhere(sheet < 200)
    below, beside = np.array(sheet.shape) - 1 - inked.max(axis=0)
    assert beside <= 24
    assert below <= 30  # a line of letters is higher than its ink
    assert inked.min(axis=0)[1] == 20
    title = 15 * 1.6 * 1.35
    assert inked.min(axis=0)[0] <= 2 * 20 + title + 2


def test_pages_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[str] = []
    monkeypatch.setattr(contact_sheet, "_number", lambda page, text, measures: numbers.append(text))
    write_sheet(gallery(50), [flat(COLOURS[0])] * 50, tmp_path / "sheet.pdf")
    assert numbers == ["1 / 3", "2 / 3", "3 / 3"]
    write_sheet(gallery(5), [flat(COLOURS[0])] * 5, tmp_path / "one.pdf")
    assert len(numbers) == 3


def test_nothing_of_a_long_name_is_left_out_or_runs_into_another() -> None:
    letters = Lettering(15)
    lines = letters.wrapped(LONG, 180)
    assert "".join(line if line.endswith("_") else line + " " for line in lines).strip() == LONG
    assert all(letters.length(line) <= 180 for line in lines)
    shown = contact_sheet._blocks(gallery(3, name="{} " + LONG), contact_sheet._measures(gallery(3), Path("a.png")))
    row = next(block for block in shown if isinstance(block, contact_sheet._Row))
    assert row.height >= max(len(lines) for lines in row.lines) * letters.line_height


def test_what_cannot_be_read_is_a_frame(tmp_path: Path) -> None:
    write_sheet(gallery(2), [ImageError("cut short"), flat(COLOURS[1])], tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"), dtype=np.int64)
    assert (np.abs(sheet - contact_sheet.FRAME).max(axis=2) == 0).sum() > 1000


def test_nothing_found_is_a_sheet_that_says_so(tmp_path: Path) -> None:
    assert write_sheet(Gallery(title="red", sections=()), [], tmp_path / "sheet.png") == 0
    assert np.asarray(Image.open(tmp_path / "sheet.png").convert("L")).min() < 100


def test_fewer_pictures_are_larger() -> None:
    sides = [sheet_side(gallery(count), Path("a.jpg")) for count in (5, 50, 150, 1000)]
    assert sides == sorted(sides, reverse=True)
    assert len(set(sides)) == 4


def test_too_many_for_one_picture(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.pdf has pages"):
        write_sheet(gallery(1000, sections=1000), [flat(COLOURS[0])] * 1000, tmp_path / "sheet.jpg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sheet.gif", "sheet", "sheet.html"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ends in one of"):
        check_sheet(tmp_path / name)


@pytest.mark.parametrize("ending", ["jpg", "png", "pdf"])
def test_a_photograph_is_never_replaced(ending: str, tmp_path: Path) -> None:
    drawn((200, 30, 30), (640, 480)).save(tmp_path / f"holiday.{ending}")
    with pytest.raises(UsageError, match="was not made by clip"):
        check_sheet(tmp_path / f"holiday.{ending}")


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer without any of the fonts that are looked for."""
    monkeypatch.setattr(fonts, "font_files", dict)
    monkeypatch.setattr(lettering, "font_files", dict)


def test_letters_without_a_font_are_spelled(no_fonts: None) -> None:
    letters = Lettering(15)
    (line,) = letters.wrapped("日 🐈 x", 10_000)
    assert line == "\\u65e5 [cat] x"
    assert letters.length(line) > 0


def test_letters_of_another_font_are_taken_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """The built-in font of Pillow has no Greek, DejaVu Sans has."""
    known = fonts.font_files()
    if "DejaVuSans.ttf" not in known:
        pytest.skip("needs DejaVu Sans, which comes with the extra 'plot'")
    shutil.copy(known["DejaVuSans.ttf"], tmp_path / "wqy-microhei.ttc")
    monkeypatch.setattr(lettering, "font_files", lambda: {"wqy-microhei.ttc": tmp_path / "wqy-microhei.ttc"})
    letters = Lettering(15)
    (line,) = letters.wrapped("a ℵ", 1000)
    assert line == "a ℵ"
    sheet = Image.new("RGB", (100, 30), "white")
    letters.draw(sheet, (0, 0), line, (0, 0, 0))
    alone = Image.new("RGB", (100, 30), "white")
    letters.draw(alone, (0, 0), "a", (0, 0, 0))
    assert (np.asarray(sheet) != np.asarray(alone)).any()
    assert isinstance(ImageFont.load_default(15), ImageFont.FreeTypeFont)


def test_accents_and_joiners_never_stand_alone() -> None:
    assert spelled_out("e\u0301 \ufe0f", lambda each: each == "e") == "e "
    assert spelled_out("\u4e00", lambda _: False) == "\\u4e00"
