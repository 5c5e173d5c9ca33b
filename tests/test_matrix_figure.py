"""The cosine matrix as a picture: nothing cut, figures legible, written whole or not at all."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clipcli.errors import ClipError, MissingExtraError, NoSpaceError, NotFoundError, UsageError
from clipcli.render import matrix
from clipcli.render.figure_style import DARK, check_figure
from clipcli.render.made_files import check_replaceable
from clipcli.render.matrix import check_size, draw_matrix
from clipcli.render.matrix_layout import LABEL_CHARACTERS, Layout, wrapped

SENTENCES = [
    "a cat",
    "W" * 60 + " is a wide word that has to be broken, and the sentence goes on for several lines after it",
    "it costs $5 and $6, 100 % ^_{x}",
    "Übergröße, кириллица, 日本語 🐈\x1b[2J\u202e",
]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures made during a test, as matplotlib has them just before they are written."""
    figures: list[Any] = []
    save = matrix.save_figure

    def keep(figure: Any, path: Path) -> None:
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(matrix, "save_figure", keep)
    return figures


def pictures(*shapes: tuple[int, int]) -> list[Image.Image]:
    return [Image.new("RGB", shape, (200, 40 * i % 256, 90)) for i, shape in enumerate(shapes)]


def some_cosines(sentences: int, count: int) -> NDArray[np.float64]:
    return np.random.default_rng(1).uniform(-0.2, 0.4, (sentences, count))


@pytest.mark.parametrize(
    ("shapes", "sentences"),
    [([(640, 480)], SENTENCES[:1]), ([(640, 480), (300, 900), (5000, 100), (1, 1)], SENTENCES)],
    ids=["smallest", "mixed"],
)
def test_no_text_is_cut_and_none_runs_into_another(
    shapes: list[tuple[int, int]], sentences: list[str], tmp_path: Path, drawn: list[Any]
) -> None:
    draw_matrix(pictures(*shapes), sentences, some_cosines(len(sentences), len(shapes)), tmp_path / "m.png", model="m")
    (figure,) = drawn
    renderer = figure.canvas.get_renderer()
    texts = [text for axes in figure.axes for text in axes.texts]
    assert len(texts) == len(shapes) * len(sentences) + len(sentences) + 1
    boxes = [text.get_window_extent(renderer) for text in texts]
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
    for i, box in enumerate(boxes):
        for other in boxes[i + 1 :]:
            assert not box.overlaps(other)
    pictured = [axes.get_window_extent(renderer) for axes in figure.axes if axes.images]
    assert len(pictured) == len(shapes)
    for place, (width, height) in zip(pictured, shapes, strict=True):
        assert place.width / place.height == pytest.approx(width / height, rel=1e-6)
        assert not any(place.overlaps(box) for box in boxes)


def test_the_numbers_stand_in_their_cells(tmp_path: Path, drawn: list[Any]) -> None:
    cosines = np.array([[0.314, -0.052], [0.1, 0.2]])
    draw_matrix(pictures((4, 3), (4, 3)), ["one", "two"], cosines, tmp_path / "m.png")
    texts = {text.get_text(): text for axes in drawn[0].axes for text in axes.texts}
    across = {name: texts[name].get_position()[0] for name in ("0.31", "-0.05", "0.10", "0.20")}
    down = {name: texts[name].get_position()[1] for name in ("0.31", "-0.05", "0.10", "0.20", "one", "two")}
    assert across["0.31"] == across["0.10"] < across["-0.05"] == across["0.20"]
    assert down["0.31"] == down["-0.05"] == down["one"] < down["0.10"] == down["0.20"] == down["two"]
    bold = {name for name, text in texts.items() if text.get_fontweight() == "bold"}
    assert bold == {"0.31", "0.20"}  # the best sentence of each picture
    assert "colours from -0.05 to 0.31" in " ".join(next(name for name in texts if "Cosine" in name).split())


def test_what_rounds_to_nothing_has_no_sign(tmp_path: Path, drawn: list[Any]) -> None:
    draw_matrix(pictures((4, 3), (4, 3)), ["one"], np.array([[-0.0049, -0.001]]), tmp_path / "m.png")
    texts = [text.get_text() for axes in drawn[0].axes for text in axes.texts]
    assert texts.count("0.00") == 2
    assert not any("-0.00" in text for text in texts)


def test_numbers_are_readable_on_their_colours(tmp_path: Path, drawn: list[Any]) -> None:
    """WCAG 2.1 asks for a contrast of 4.5 for text of this size; every colour there can be is tried."""
    cosines = np.linspace(0, 1, 100)[:, None]
    draw_matrix(pictures((4, 3)), [f"row {i}" for i in range(100)], cosines, tmp_path / "m.png")
    axes = next(axes for axes in drawn[0].axes if axes.patches)
    cells = [patch for patch in axes.patches if patch.get_fill()]
    assert len(cells) == len(axes.texts) == 100
    for cell, text in zip(cells, axes.texts, strict=True):
        below = matrix._luminance(cell.get_facecolor())
        above = 0.0 if text.get_color() == "black" else 1.0
        assert (max(below, above) + 0.05) / (min(below, above) + 0.05) >= 4.5


def test_in_the_dark_the_letters_are_light(tmp_path: Path, drawn: list[Any]) -> None:
    draw_matrix(pictures((4, 3)), ["one"], np.array([[0.5]]), tmp_path / "m.png", look=DARK)
    label = next(text for axes in drawn[0].axes for text in axes.texts if text.get_text() == "one")
    assert label.get_color() == DARK.ink
    with Image.open(tmp_path / "m.png") as figure:
        assert figure.convert("RGB").getpixel((0, 0)) == (0x16, 0x16, 0x16)


def test_equal_cosines_are_drawn(tmp_path: Path) -> None:
    draw_matrix(pictures((4, 3)), ["a", "b"], np.full((2, 1), 0.25), tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as figure:
        assert figure.format == "PNG"


@pytest.mark.parametrize(
    ("ending", "begins"),
    [
        (".png", b"\x89PNG"),
        (".JPG", b"\xff\xd8"),
        (".webp", b"RIFF"),
        (".pdf", b"%PDF"),
        (".svg", b"<?xml"),
    ],
)
def test_the_ending_decides_the_format(ending: str, begins: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"m{ending}"
    draw_matrix(pictures((4, 3)), ["$a$ <b>"], np.array([[0.5]]), path)
    assert path.read_bytes().startswith(begins)
    check_replaceable(path)  # known again as ours
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    path = tmp_path / "m.png"
    path.write_bytes(b"the old one")

    def fail(figure: Figure, file: Any, **options: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(NoSpaceError, match="no space left"):
        draw_matrix(pictures((4, 3)), ["a"], np.array([[0.5]]), path)
    assert path.read_bytes() == b"the old one"
    assert [file.name for file in tmp_path.iterdir()] == ["m.png"]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such folder"):
        draw_matrix(pictures((4, 3)), ["a"], np.array([[0.5]]), tmp_path / "nowhere" / "m.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ClipError, match=r"folder\.png cannot be written"):
        draw_matrix(pictures((4, 3)), ["a"], np.array([[0.5]]), tmp_path / "folder.png")
    with pytest.raises(UsageError, match=r"m\.bmp"):
        check_figure(tmp_path / "m.bmp", "drawing")
    with pytest.raises(UsageError, match="61 pictures"):
        check_size(61, 1)
    with pytest.raises(ValueError, match=r"expected \(2, 1\)"):
        draw_matrix(pictures((4, 3)), ["a", "b"], np.array([[0.5]]), tmp_path / "m.png")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[plot\]'"):
        check_figure(tmp_path / "m.png", "drawing")


def test_letters_no_font_has_are_no_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_matrix(pictures((4, 3)), ["\U000e0041 \u0fd9"], np.array([[0.5]]), tmp_path / "m.png")


def test_sentences_are_wrapped_whole() -> None:
    text = " ".join(f"word{i}" for i in range(50))
    lines = wrapped(text).split("\n")
    assert " ".join(lines) == text
    assert all(len(line) <= LABEL_CHARACTERS for line in lines)
    assert wrapped("日" * 40) == "日" * 17 + "\n" + "日" * 17 + "\n" + "日" * 6  # twice as wide as other letters
    assert wrapped("W" * 40 + " a") == "W" * 34 + "\n" + "W" * 6 + " a"
    layout = Layout(shapes=((1, 1),), labels=(wrapped(text), "a"), foot="x")
    assert layout.rows[0] > layout.rows[1]
