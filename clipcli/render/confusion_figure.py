"""The confusion matrix as a picture: a row for each true class, a column for each answer, shares as colours.

Shapes: C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipcli.render.figure_style import LABEL, LIGHT, TITLE, Look, letters_for, new_figure, save_figure
from clipcli.render.figure_texts import shortened, title_lines, widest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MOST_CLASSES", "draw_confusion", "shown_classes"]

MOST_CLASSES = 40  # more rows than that have no legible names; the rest becomes one row and one column
MOST_NUMBERED = 20
CELL, MARGIN, HEAD, NARROWEST, LONGEST_NAME = 0.36, 0.25, 0.75, 4.6, 2.6  # inches
DPI = 150


def shown_classes(counts: NDArray[np.integer]) -> list[int]:
    """All classes, or of too many the ones that most mistakes are made in or fall to, in their order."""
    import numpy as np

    if len(counts) <= MOST_CLASSES:
        return list(range(len(counts)))
    wrong = counts - np.diag(np.diag(counts))
    mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)
    return sorted(np.argsort(-mistakes, kind="stable")[: MOST_CLASSES - 1].tolist())


def draw_confusion(
    counts: NDArray[np.integer],  # (C, C) pictures of the row's class that were taken for the column's
    classes: Sequence[str],
    path: Path,
    *,
    title: str,
    look: Look = LIGHT,
) -> None:
    """Write the figure to `path`, in the format of its ending. Raises as `save_figure`."""
    import numpy as np

    if counts.shape != (len(classes), len(classes)):
        raise ValueError(f"expected ({len(classes)}, {len(classes)}) counts, got {counts.shape}")
    kept = shown_classes(counts)
    measured = new_figure(look, width=1, height=1, dpi=DPI)
    names = [shortened(measured, classes[at], width=LONGEST_NAME, size=LABEL - 1) for at in kept]
    if len(kept) < len(classes):
        rest = [at for at in range(len(classes)) if at not in set(kept)]
        order = [[at] for at in kept] + [rest]
        counts = np.asarray([[counts[np.ix_(rows, columns)].sum() for columns in order] for rows in order])
        names.append(f"{len(rest):,} other classes")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    _draw(measured, counts, shares, names, path, title=title, look=look)


def _draw(
    measured: Any,  # a figure to measure texts in
    counts: NDArray[np.integer],
    shares: NDArray[np.floating],
    names: Sequence[str],
    path: Path,
    *,
    title: str,
    look: Look,
) -> None:
    import matplotlib

    cell = CELL if len(names) > 8 else 2 * CELL
    side = cell * len(names)
    words = widest(measured, names, size=LABEL - 1) + 0.12  # inches
    bar = 1.3
    width = max(MARGIN + 0.35 + words + side + bar, NARROWEST)
    shown = title_lines(measured, title, width=width - 2 * MARGIN)
    head = HEAD + 0.26 * shown.count("\n")
    height = head + side + words + 0.35 + MARGIN
    figure = new_figure(look, width=width, height=height, dpi=DPI)
    left, top = MARGIN + 0.35 + words, head
    axes = figure.add_axes((left / width, 1 - (top + side) / height, side / width, side / height))
    axes.set_facecolor(look.paper)
    image = axes.imshow(shares, cmap=look.colours, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90)
    axes.set_yticks(places, names)
    axes.tick_params(length=0, colors=look.ink, labelsize=LABEL - 1)
    for label, name in zip([*axes.get_xticklabels(), *axes.get_yticklabels()], [*names, *names], strict=True):
        label.set(**letters_for(name))
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("predicted label", fontsize=LABEL, color=look.ink)
    axes.set_ylabel("true label", fontsize=LABEL, color=look.ink)
    if len(names) <= MOST_NUMBERED:
        colours = matplotlib.colormaps[look.colours]
        for row in places:
            for column in places:
                if counts[row, column]:
                    bright = sum(colours(float(shares[row, column]))[:3]) > 1.3
                    axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center",
                              fontsize=LABEL - 2, color="black" if bright else "white")  # fmt: skip
    _scale(figure, image, look, place=((left + side + 0.25) / width, 1 - (top + min(side, 3)) / height), size=(
        0.18 / width, min(side, 3) / height))  # fmt: skip
    figure.text(
        MARGIN / width, 1 - MARGIN / height, shown, fontsize=TITLE, color=look.ink, va="top", **letters_for(shown)
    )
    save_figure(figure, path)


def _scale(figure: Any, image: Any, look: Look, *, place: tuple[float, float], size: tuple[float, float]) -> None:
    scale = figure.colorbar(image, cax=figure.add_axes((*place, *size)), ticks=[0, 0.5, 1])
    scale.ax.set_yticklabels(["0 %", "50 %", "100 %"])
    scale.ax.tick_params(colors=look.ink, labelsize=LABEL - 1)
    scale.outline.set_visible(False)
