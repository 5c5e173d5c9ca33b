"""Every figure of training and evaluation: nothing cut, nothing on top of anything, whatever names and numbers come."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipcli.render import (
    comparison_figure,
    confusion_figure,
    curves,
    reliability_figure,
    retrieval_figure,
    shots_figure,
)
from clipcli.render.comparison_figure import Panel, Row, draw_comparison
from clipcli.render.confusion_figure import draw_confusion
from clipcli.render.curves import draw_curves
from clipcli.render.figure_style import DARK, LIGHT, Look, new_figure
from clipcli.render.figure_texts import shortened, title_lines, widest
from clipcli.render.reliability_figure import draw_reliability
from clipcli.render.retrieval_figure import draw_retrievals
from clipcli.render.shots_figure import draw_shots

LOOKS = pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
MODULES = (comparison_figure, confusion_figure, curves, reliability_figure, retrieval_figure, shots_figure)
TITLE = (
    "a model with a very long name that somebody chose for it (fp32): error 4.3 %, \u65e5\u672c\u306e\u5199\u771f "
    + "W" * 30
)
NAMES = ["cat", "\u65e5\u672c" * 20, "\u05ea\u05de\u05d5\u05e0\u05d4", "a label " * 12, "\U0001f680 rocket", "W" * 60]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    figures: list[Any] = []
    for module in MODULES:
        save: Callable[[Any, Path], None] = module.__dict__["save_figure"]

        def keep(figure: Any, path: Path, save: Callable[[Any, Path], None] = save) -> None:
            save(figure, path)
            figures.append(figure)

        monkeypatch.setattr(module, "save_figure", keep)
    return figures


def texts_of(figure: Any) -> list[Any]:
    """Every text that is to be seen, of axes only what stands within their limits."""
    found = [*figure.texts, *([figure._suptitle] if figure._suptitle else [])]
    for axes in figure.axes:
        if not axes.axison:
            found += axes.texts
            continue
        found += [axes.xaxis.label, axes.yaxis.label, *axes.texts]
        if axes.get_legend():
            found += axes.get_legend().get_texts()
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            found += [tick.label1 for tick in axis.get_major_ticks() if min(limits) <= tick.get_loc() <= max(limits)]
    return [text for text in dict.fromkeys(found) if text.get_visible() and text.get_text().strip()]


def check(figure: Any) -> None:
    renderer = figure.canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts_of(figure)]
    assert len(boxes) > 3
    for shown, box in boxes:
        assert box.x0 >= -1, shown
        assert box.y0 >= -1, shown
        assert box.x1 <= figure.bbox.width + 1, shown
        assert box.y1 <= figure.bbox.height + 1, shown
    for (shown, box), (other, another) in itertools.combinations(boxes, 2):
        apart = box.padded(-2)  # a box is a little larger than its letters
        assert not apart.overlaps(another.padded(-2)), (shown, other)
    for axes in figure.axes:
        if legend := axes.get_legend():
            covered = legend.get_window_extent(renderer).padded(-2)
            for line in axes.lines:
                places = axes.transData.transform(np.column_stack([line.get_xdata(), line.get_ydata()]).astype(float))
                inside = [x for x, y in places if covered.contains(x, y)]
                assert not inside, line.get_label()


@LOOKS
@pytest.mark.parametrize("classes", [2, 6, 42])
def test_confusion(classes: int, look: Look, tmp_path: Path, drawn: list[Any]) -> None:
    names = [f"{NAMES[at % len(NAMES)]} {at}" if at >= len(NAMES) else NAMES[at] for at in range(classes)]
    counts = np.arange(classes * classes).reshape(classes, classes) % 7
    draw_confusion(counts, names, tmp_path / "a.png", title=TITLE, look=look)
    check(drawn[0])
    side = drawn[0].axes[0].get_window_extent()
    names_wide = max(text.get_window_extent().width for text in drawn[0].axes[0].get_yticklabels())
    assert side.x0 - names_wide < 140  # pixels: no more room than the names and "true label" take


@LOOKS
def test_reliability(look: Look, tmp_path: Path, drawn: list[Any]) -> None:
    points = [(0.02, 0.99), (0.5, 1.0), (1.0, 1.0)]  # where the legend is
    shares = [(0.0, 1 / 15, 0.5), (0.5, 1 / 15, 0.5)]
    draw_reliability(points, shares, tmp_path / "a.png", title=TITLE, look=look)
    check(drawn[0])


@LOOKS
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_shots(share: float, look: Look, tmp_path: Path, drawn: list[Any]) -> None:
    points = [(1, share), (2, share), (256, 1.0)]
    draw_shots(points, zero_shot=share, whole=1.0, title=TITLE, path=tmp_path / "a.png", look=look)
    check(drawn[0])


@LOOKS
def test_comparison(look: Look, tmp_path: Path, drawn: list[Any]) -> None:
    rows = [Row(label=label, points=[(0.5, 0.45, 0.55)] * 6) for label in ("top-1", "mean per class")]
    panels = [Panel(title=title, rows=rows) for title in ("a.csv, 12 pictures", "\u65e5\u672c" * 60)]
    rates = [None, 0.4, 1234.0, 5.0, 60.0, 7.0]
    draw_comparison(panels, NAMES, tmp_path / "a.png", sizes=[10**9, 1, 2, 3, 4, 5], rates=rates, look=look)
    check(drawn[0])
    assert [text.get_text() for text in texts_of(drawn[0])].count("not measured") == 1


@LOOKS
def test_one_panel_without_costs(look: Look, tmp_path: Path, drawn: list[Any]) -> None:
    rows = [Row(label=label, points=[(0.5, 0.5, 0.5)] * 6) for label in ("as they are", "rotation", "greyscale")]
    draw_comparison([Panel(title=TITLE, rows=rows)], NAMES, tmp_path / "a.png", title="What is left", look=look)
    check(drawn[0])
    assert len(drawn[0].axes) == 2  # the models' names, and the panel


@LOOKS
@pytest.mark.parametrize("sets", [1, 3])
def test_curves(sets: int, look: Look, tmp_path: Path, drawn: list[Any]) -> None:
    names = [f"{NAMES[place][:20]}/{of}" for place in range(sets) for of in ("text_to_image@10", "image_to_text@10")]
    lines = [
        {
            "images": 5000 * at,
            "loss": 1 / at,
            "learning_rate": 1e-5,
            "score": 0.9,
            **dict.fromkeys(names, 0.9 - 0.1 / at),
        }
        for at in range(1, 9)
    ]
    draw_curves(lines, tmp_path / "a.png", title=TITLE, look=look)
    check(drawn[0])
    assert drawn[0].axes[1].bbox.height > 250  # pixels, however many lines the legend has


class Example:
    def __init__(self, text: str, before: tuple[int, ...]) -> None:
        self.text, self.right, self.before, self.after = text, frozenset({1}), before, (1, 2, 0)


@LOOKS
@pytest.mark.parametrize("before", [(), (0, 1, 2)], ids=["after", "both"])
def test_retrievals(before: tuple[int, ...], look: Look, tmp_path: Path, drawn: list[Any]) -> None:
    pixels = np.full((3, 8, 8, 3), 128, dtype=np.uint8)
    examples = [Example(text, before) for text in (*NAMES, TITLE + TITLE, "\u65e5\u672c " * 50)]
    draw_retrievals(examples, pixels, tmp_path / "a.png", title=TITLE, look=look)
    check(drawn[0])


def test_figures_have_one_paper(tmp_path: Path) -> None:
    """The colours of a look reach the corners of what is saved."""
    for look in (LIGHT, DARK):
        draw_shots([(1, 0.2), (2, 0.3)], zero_shot=0.1, whole=0.5, title="t", path=tmp_path / "a.png", look=look)
        with Image.open(tmp_path / "a.png") as image:
            corners = [image.convert("RGB").getpixel(at) for at in ((0, 0), (image.width - 1, image.height - 1))]
        assert corners == [tuple(bytes.fromhex(look.paper[1:]))] * 2


def test_texts_are_measured_and_shortened_by_their_cells() -> None:
    figure = new_figure(LIGHT, width=4, height=1)
    assert widest(figure, ["iiii"], size=12) < widest(figure, ["iiii", "WWWW"], size=12) < 1
    assert widest(figure, [], size=12) == 0
    assert figure.texts == []
    lines = title_lines(figure, "word " * 30, width=2).split("\n")
    assert len(lines) > 3
    assert " ".join(lines).split() == ["word"] * 30
    assert shortened(figure, "a\nb c", width=1, size=12) == "a b c"
    for text in ("W" * 90, "i" * 400, "\u65e5" * 50):
        short = shortened(figure, text, width=1.5, size=12)
        assert short.endswith("…")
        assert text.startswith(short[:-1]) or "\\u65e5" in short
        assert 1.0 < widest(figure, [short], size=12) <= 1.5
