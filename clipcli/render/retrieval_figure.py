"""What a model finds for some texts among pictures it was not trained on, before the training and after it.

A row a text; in it the pictures found, the best first, those that the text belongs to in a frame. The texts are evenly
spread over the pictures, not chosen by what is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clipcli.render.figure_style import (
    DARK,
    LABEL,
    LIGHT,
    TITLE,
    Look,
    letters_for,
    new_figure,
    save_figure,
)
from clipcli.render.figure_texts import shortened, title_lines

__all__ = ["FILES", "draw_retrievals", "write_retrievals"]

FILES = {"examples.png": LIGHT, "examples-dark.png": DARK}
PICTURE, GAP, BETWEEN, TEXT = 0.8, 0.07, 0.35, 0.52  # inches: a picture, to the next, to the other half, the text above
MARGIN, HEAD, LINE, FRAME = 0.25, 0.85, 0.24, 3.0  # inches; the frame in points
FRAMED = "framed: what the text belongs to"


class Example(Protocol):
    """`trainer.finishing.Example`, which this package does not import."""

    @property
    def text(self) -> str: ...
    @property
    def right(self) -> frozenset[int]: ...
    @property
    def before(self) -> tuple[int, ...]: ...
    @property
    def after(self) -> tuple[int, ...]: ...


def write_retrievals(run: Path, examples: Sequence[Example], pixels: NDArray[np.uint8], *, title: str) -> list[Path]:
    """Draw them into the run's folder, light and dark. `pixels` (N, S, S, 3). Raises as `save_figure`."""
    for name, look in FILES.items():
        draw_retrievals(examples, pixels, run / name, title=title, look=look)
    return [run / name for name in FILES]


def draw_retrievals(
    examples: Sequence[Example], pixels: NDArray[np.uint8], path: Path, *, title: str, look: Look
) -> None:
    """One figure; without "before" where there is none."""
    halves = [name for name in ("before", "after") if any(getattr(each, name) for each in examples)]
    across = max(len(each.after) for each in examples)
    half = across * (PICTURE + GAP) - GAP
    width = max(6.4, 2 * MARGIN + len(halves) * half + (len(halves) - 1) * BETWEEN)
    shown = title_lines(new_figure(look, width=1, height=1), title, width=width - 2 * MARGIN)
    head = HEAD + LINE * shown.count("\n")
    height = head + len(examples) * (TEXT + PICTURE) + MARGIN
    figure = new_figure(look, width=width, height=height)
    figure.text(
        MARGIN / width, 1 - 0.15 / height, shown, fontsize=TITLE, color=look.ink, va="top", **letters_for(shown)
    )
    for place, name in enumerate(halves):
        left = MARGIN + place * (half + BETWEEN)
        figure.text(left / width, 1 - (head - 0.07) / height, name, fontsize=LABEL, color=look.faint, va="center")
        for row, each in enumerate(examples):
            top = head + row * (TEXT + PICTURE) + TEXT
            for column, number in enumerate(getattr(each, name)):
                _picture(
                    figure,
                    pixels[number],
                    (left + column * (PICTURE + GAP), height - top - PICTURE, width, height),
                    look.series[2] if number in each.right else None,
                )
    figure.text(
        1 - MARGIN / width,
        1 - (head - 0.07) / height,
        FRAMED,
        fontsize=LABEL - 2,
        color=look.faint,
        ha="right",
        va="center",
    )
    for row, each in enumerate(examples):
        text = shortened(figure, each.text, width=width - 2 * MARGIN, size=LABEL - 2)
        top = head + row * (TEXT + PICTURE) + TEXT - 0.08
        figure.text(
            MARGIN / width, 1 - top / height, text, fontsize=LABEL - 2, color=look.ink, va="bottom", **letters_for(text)
        )
    save_figure(figure, path)


def _picture(
    figure: Any, pixels: NDArray[np.uint8], place: tuple[float, float, float, float], frame: str | None
) -> None:
    left, bottom, width, height = place
    axes = figure.add_axes((left / width, bottom / height, PICTURE / width, PICTURE / height))
    axes.imshow(pixels)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(frame is not None)
        if frame is not None:
            spine.set_color(frame)
            spine.set_linewidth(FRAME)
