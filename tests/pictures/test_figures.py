"""The look of pictures of numbers, and the curves of a training run: told apart by everybody, nothing cut."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clipcli.errors import NotFoundError
from clipcli.render import curves, figure_style
from clipcli.render.curves import FILES, draw_curves, write_curves
from clipcli.render.figure_style import DARK, LIGHT, Look, writable

LOOKS = pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
# What is left of linear RGB with each kind of colour blindness (Machado, Oliveira, Fernandes 2009, severity 1).
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def linear(colour: str) -> NDArray[np.float64]:
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    lights = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE 1976 L*a*b* of linear RGB under D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = (
        np.cbrt(part) if part > 0.008856 else 7.787 * part + 16 / 116 for part in to_xyz @ rgb / [0.9505, 1, 1.089]
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@LOOKS
def test_letters_and_lines_stand_out(look: Look) -> None:
    assert contrast(look.ink, look.paper) >= 7
    assert contrast(look.faint, look.paper) >= 4.5
    assert all(contrast(colour, look.paper) >= 3 for colour in look.series)  # WCAG 2.1, 1.4.11


@LOOKS
@pytest.mark.parametrize("blindness", BLINDNESS)
def test_lines_are_told_apart_by_everybody(look: Look, blindness: str) -> None:
    """By colour where that can be (a difference of 10 is plain to see), and always by marker or dash."""
    seen = [lab(np.clip(BLINDNESS[blindness] @ linear(colour), 0, 1)) for colour in look.series]
    distances = {(i, j): float(np.linalg.norm(seen[i] - seen[j])) for i, j in itertools.combinations(range(6), 2)}
    assert min(distances.values()) > 10, distances
    assert len(look.series) == len(look.markers) == len(look.dashes) == len(set(look.markers))


def run_of(epochs: int, *sets: str, before: bool = True) -> list[dict[str, Any]]:
    measures = [f"{name}/{measure}" for name in sets for measure in ("text_to_image@10", "image_to_text@10", "top1")]
    lines: list[dict[str, Any]] = [{"epoch": 0, "step": 0, **dict.fromkeys(measures, 0.1)}] if before else []
    for epoch in range(1, epochs + 1):
        lines.append(
            {
                "epoch": epoch,
                "step": epoch * 10,
                "images": epoch * 5000,
                "loss": 4 * math.exp(-epoch / 5),
                "logit_scale": 100.0,
                "learning_rate": 5e-5 * (1 - epoch / epochs),
                "score": 0.5 - (0.2 if epoch == epochs and epochs > 1 else 0.0),
                **{name: 0.6 - 0.5 * math.exp(-epoch / (4 + n)) for n, name in enumerate(measures)},
            }
        )
    return lines


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    figures: list[Any] = []
    save = curves.save_figure

    def keep(figure: Any, path: Path) -> None:
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(curves, "save_figure", keep)
    return figures


@pytest.mark.parametrize(
    ("lines", "panels"),
    [
        (run_of(10, "validation"), 3),
        (run_of(1, "validation"), 3),
        (run_of(64, "flickr8k", "caltech101-dev", before=False), 3),
        (run_of(3), 2),
    ],
    ids=["usual", "one epoch", "two sets", "nothing held out"],
)
def test_curves_show_what_was_measured_and_nothing_is_cut(
    lines: list[dict[str, Any]], panels: int, tmp_path: Path, drawn: list[Any]
) -> None:
    long = "Training of a model with a very long name that has to be wrapped, Übergröße 日本語 🐈 \x1b[2J"
    assert write_curves(tmp_path, lines, title=long) == [tmp_path / name for name in FILES]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    for figure, (name, look) in zip(drawn, FILES.items(), strict=True):
        assert len(figure.axes) == panels
        renderer = figure.canvas.get_renderer()
        boxes = [text.get_window_extent(renderer) for text in [figure._suptitle, *_texts(figure)]]
        assert all(box.x0 >= -1 and box.y0 >= -1 for box in boxes)
        assert all(box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1 for box in boxes)
        assert not any(figure._suptitle.get_window_extent(renderer).overlaps(axes.bbox) for axes in figure.axes)
        loss = figure.axes[0].lines[0]
        assert list(loss.get_ydata()) == [line["loss"] for line in lines if "loss" in line]
        assert list(loss.get_xdata()) == [line["images"] for line in lines if "loss" in line]
        if panels == 3:
            first = next(key for key in lines[-1] if "/" in key)
            assert list(figure.axes[1].lines[0].get_ydata()) == pytest.approx([100 * line[first] for line in lines])
        with Image.open(tmp_path / name) as image:
            assert image.width == 1280
            assert image.convert("RGB").getpixel((0, 0)) == tuple(bytes.fromhex(look.paper[1:]))


def test_of_few_pictures_the_curves_are_of_the_first_result_alone(tmp_path: Path, drawn: list[Any]) -> None:
    lines = [
        line | {f"{name}/{way}@1": 0.3 for name in ("few", "many") for way in ("text_to_image", "image_to_text")}
        for line in run_of(4, "few", "many")
    ]
    draw_curves(lines, tmp_path / "c.png", title="t", look=LIGHT, few=frozenset({"few"}))
    told = [line.get_label() for line in drawn[0].axes[1].lines]
    assert [label for label in told if "R@" in label] == [
        "few: text→image R@1", "few: image→text R@1", "many: text→image R@10", "many: image→text R@10",
    ]  # fmt: skip


def _texts(figure: Any) -> list[Any]:
    found = []
    for axes in figure.axes:
        found += [axes.yaxis.label, axes.xaxis.label, *axes.texts]
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            found += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [text for text in found if text.get_visible() and text.get_text()]


def test_the_epoch_that_was_kept_is_marked(tmp_path: Path, drawn: list[Any]) -> None:
    draw_curves(run_of(4, "validation"), tmp_path / "c.png", title="t", look=LIGHT)
    assert [axes.lines[-1].get_xdata()[0] for axes in drawn[0].axes] == [15_000] * 3  # the last one was worse


def test_letters_are_legible_in_a_thumbnail(tmp_path: Path, drawn: list[Any]) -> None:
    draw_curves(run_of(4, "validation"), tmp_path / "c.png", title="t", look=LIGHT)
    renderer = drawn[0].canvas.get_renderer()
    small = 400 / 1280
    heights = [
        text.get_window_extent(renderer).height * small
        for text in _texts(drawn[0])
        if "held" not in text.get_text() and text.get_rotation() == 0
    ]
    assert min(heights) >= 7  # pixels


def test_a_run_without_an_epoch_leaves_nothing(tmp_path: Path) -> None:
    assert write_curves(tmp_path, [{"epoch": 0, "step": 0, "validation/top1": 0.1}], title="t") == []
    assert write_curves(tmp_path, [], title="t") == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        write_curves(tmp_path / "gone", run_of(2), title="t")


def test_what_no_font_has_is_spelled_and_lines_stay_lines() -> None:
    assert writable("a\nb\x1b") == "a\nb\\x1b"
    assert writable("\U00020000") in ("\U00020000", "\\U00020000")
    assert not figure_style._has("\U0010ffff")
