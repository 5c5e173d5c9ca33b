"""Titles, names and legends of figures, measured as they are drawn: nothing is cut off, nothing lies on a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, chop_cells

from clipcli.render.figure_style import LABEL, TITLE, Look, letters_for, writable
from clipcli.render.matrix_layout import wrapped

__all__ = ["LEGEND_LINE", "legend_above", "shortened", "title_lines", "widest"]

LEGEND_LINE = 0.235  # inches
_WIDTHS = (80, 72, 64, 58, 52, 48, 44, 38, 32, 26, 20)  # cells, tried one after the other


def title_lines(figure: Any, title: str, *, width: float, size: float = TITLE) -> str:
    """The title, safe to write, on lines that are at most `width` inches wide."""
    shown = writable(title)
    for cells in _WIDTHS:
        lines = wrapped(shown, cells)
        if widest(figure, [lines], size=size) <= width:
            break
    return lines


def widest(figure: Any, texts: Sequence[str], *, size: float) -> float:
    """The width in inches of the widest of some texts, as it is written in that figure."""
    renderer = figure.canvas.get_renderer()
    widths = []
    for text in texts:
        written = figure.text(0, 0, text, fontsize=size, **letters_for(text))
        widths.append(float(written.get_window_extent(renderer).width) / figure.dpi)
        written.remove()
    return max(widths, default=0.0)


def shortened(figure: Any, text: str, *, width: float, size: float) -> str:
    """The text, safe to write, on one line of so many inches; what is too much goes from its end, and is marked."""
    whole = shown = " ".join(writable(text).split())
    while (taken := widest(figure, [shown], size=size)) > width and (cells := cell_len(shown)) > 2:
        kept = max(1, min(cells - 2, int(cells * width / taken)))
        shown = f"{chop_cells(whole, kept)[0].rstrip()}…"
    return shown


def legend_above(axes: Any, look: Look, *, lines: int, tall: float, most: float | None = None) -> None:
    """A legend of so many lines at the top left of axes that are `tall` inches high, with all that is drawn below it.

    `most` is the end of a scale beyond which no ticks stand.
    """
    low, high = axes.get_ylim()
    share = min(0.6, (lines * LEGEND_LINE + 0.1) / tall)
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= (high if most is None else min(high, most))])
    axes.set_ylim(low, low + (high - low) / (1 - share))
    legend = axes.legend(fontsize=LABEL - 2, frameon=False, labelcolor=look.ink, loc="upper left", borderaxespad=0.2)
    for text in legend.get_texts():
        text.set(**letters_for(text.get_text()))
