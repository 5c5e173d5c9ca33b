"""Letters of every writing and coloured symbols in figures and on sheets."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clipcli.render import figure_style, fonts, symbols
from clipcli.render.contact_sheet import write_sheet
from clipcli.render.figure_style import DARK, LIGHT, letters_for, new_figure, save_figure, writable
from clipcli.render.fonts import font_with, missing_letters
from clipcli.render.gallery import Gallery
from clipcli.render.lettering import symbol
from clipcli.render.symbols import pieces_of

ROCKET = "\U0001f680"
RED, BLUE = np.array((220, 0, 0)), np.array((0, 0, 220))


def painted(text: str, size: int) -> Image.Image | None:
    """Instead of a font: red above, blue below, twice as wide as high."""
    if any(each < "\U0001f300" for each in text):
        return None
    drawn = Image.new("RGBA", (2 * size, size), (0, 0, 220, 255))
    drawn.paste((220, 0, 0, 255), (0, 0, 2 * size, size // 2))
    return drawn


@pytest.fixture(autouse=True)
def painted_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbols, "symbol", painted)
    monkeypatch.setattr(fonts, "_spelled_letters", {})


def centre(pixels: NDArray[np.int64], colour: NDArray[np.int64]) -> tuple[float, float]:
    """Row and column of the middle of what has that colour."""
    found = np.argwhere(np.abs(pixels - colour).max(axis=2) < 40)
    assert len(found) > 50
    row, column = found.mean(axis=0)
    return float(row), float(column)


@pytest.mark.parametrize("angle", [0, 90])
@pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
def test_a_symbol_stands_upright_in_its_line(angle: int, look: figure_style.Look, tmp_path: Path) -> None:
    figure = new_figure(look, width=4, height=4, dpi=100)
    text = writable(f"a {ROCKET} b")
    assert text == f"a {ROCKET} b"
    figure.text(
        0.5, 0.5, text, rotation=angle, ha="center", va="center", fontsize=24, color=look.ink, **letters_for(text)
    )
    save_figure(figure, tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"), dtype=np.int64)
    red, blue = centre(pixels, RED), centre(pixels, BLUE)
    across, along = (0, 1) if angle == 0 else (1, 0)
    assert red[across] < blue[across] - 5  # above; turned by a quarter, to the left
    assert red[along] == pytest.approx(blue[along], abs=1.5)
    assert red[along] == pytest.approx(200, abs=12)  # between its letters, which are equally wide
    ink = np.argwhere(np.abs(pixels - pixels[0, 0]).max(axis=2) > 60)
    extent = ink.max(axis=0) - ink.min(axis=0)
    assert extent[along] > 24 / 72 * 100 * 2 + 30  # the symbol, and a letter on each side of it


@pytest.mark.parametrize("ending", ["pdf", "svg"])
def test_among_outlines_symbols_are_spelled(ending: str, tmp_path: Path) -> None:
    figure = new_figure(LIGHT, width=3, height=3)
    axes = figure.add_axes((0.4, 0.4, 0.5, 0.5))
    axes.set_yticks([0, 1], ["cat", writable(ROCKET)])
    save_figure(figure, tmp_path / f"a.{ending}")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "[rocket]"]
    assert (tmp_path / f"a.{ending}").stat().st_size > 1000  # and no warning of letters that are missing


def test_a_text_falls_into_pieces_and_marks_stay_with_what_is_before() -> None:
    joined = "\U0001f468\u200d\U0001f680\U0001f3fd"
    assert pieces_of(f"a {joined}b", str.isascii) == [("a ", False), (joined, True), ("b", False)]
    assert pieces_of("日", str.isascii) == [("日", False)]  # painted has no such letter
    assert pieces_of("", str.isascii) == []


def test_any_font_of_the_computer_is_found_by_a_letter_it_has() -> None:
    if shutil.which("fc-list") is None:
        pytest.skip("needs fontconfig")
    found = font_with("a")
    assert found is not None
    assert found.is_file()
    assert font_with("\U0010fffd") is None


def test_a_letter_that_only_another_font_has_is_written_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DejaVu Sans stands for the font that is found; the one named first has nothing but Latin letters."""
    from matplotlib import font_manager

    dejavu = Path(font_manager.findfont("DejaVu Sans"))
    latin = Path(font_manager.findfont("cmr10"))
    opened = figure_style._opened(str(latin))
    assert opened is not None
    monkeypatch.setattr(figure_style, "_fonts", lambda: (opened,))
    monkeypatch.setattr(figure_style, "_others", [])
    monkeypatch.setattr(figure_style, "font_with", lambda character: dejavu if character == "ℵ" else None)
    figure_style._outlined.cache_clear()
    try:
        assert writable("a ℵ") == "a ℵ"
        assert letters_for("ℵ")["family"][-1] == "DejaVu Sans"
        assert writable("日") == "\\u65e5"
    finally:
        figure_style._outlined.cache_clear()


def test_what_is_spelled_out_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fonts, "font_files", dict)
    monkeypatch.setattr("clipcli.render.lettering.font_files", dict)
    monkeypatch.setattr("clipcli.render.lettering.font_with", lambda _: None)
    write_sheet(Gallery(title="日本日", sections=()), [], tmp_path / "a.png")
    assert "no font here has 日本: written as codes" in capsys.readouterr().err
    write_sheet(Gallery(title="plain", sections=()), [], tmp_path / "a.png")
    assert capsys.readouterr().err == ""
    fonts._spelled_letters.update(dict.fromkeys("abcdefghijklmnop"))
    assert missing_letters() == "abcdefghijkl and 4 more"


def test_symbols_come_from_the_font_there_is() -> None:
    drawn = symbol(ROCKET, 40)
    if drawn is None:
        pytest.skip("needs a font of coloured symbols, such as Noto Color Emoji")
    assert 36 <= drawn.height <= 60
    assert len(drawn.convert("RGB").getcolors(100_000) or []) > 20
    assert symbol("a\U0010ffff", 40) is None
