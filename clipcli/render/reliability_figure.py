"""The reliability diagram: how often answers are right against how probable the model calls them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clipcli.render.figure_style import (
    LABEL,
    LIGHT,
    LINE_WIDTH,
    MARKER,
    TITLE,
    Look,
    letters_for,
    new_figure,
    save_figure,
    styled,
)
from clipcli.render.figure_texts import legend_above, title_lines

__all__ = ["draw_reliability"]

WIDTH, HEIGHT = 6.4, 6.6  # inches
TICKS = [0, 20, 40, 60, 80, 100]


def draw_reliability(
    points: Sequence[tuple[float, float]],  # mean probability and share right of each bin that has pictures
    shares: Sequence[tuple[float, float, float]],  # where each bin begins, its width, its share of all pictures
    path: Path,
    *,
    title: str,
    look: Look = LIGHT,
) -> None:
    """Write the figure to `path`; below it how many answers fall into each bin. Raises as `save_figure`."""
    figure = new_figure(look, width=WIDTH, height=HEIGHT)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for axes in (upper, lower):
        styled(axes, look)
    upper.plot([0, 100], [0, 100], color=look.faint, linestyle=(0, (2, 2)), linewidth=1.4, label="as probable as said")
    upper.plot(
        [100 * x for x, _ in points],
        [100 * y for _, y in points],
        color=look.series[0],
        linewidth=LINE_WIDTH,
        marker=look.markers[0],
        markersize=MARKER,
        clip_on=False,  # a mark on the axis is not cut in half
        label="the model",
    )
    upper.set_xlim(0, 100)
    upper.set_ylim(0, 103)
    upper.set_yticks(TICKS)
    upper.set_ylabel("answers that are right, %", fontsize=LABEL, color=look.ink)
    legend_above(upper, look, lines=2, tall=HEIGHT * 0.55)
    lower.bar(
        [100 * start for start, _, _ in shares],
        [100 * share for _, _, share in shares],
        width=[100 * width * 0.94 for _, width, _ in shares],
        align="edge",
        color=look.series[0],
    )
    lower.set_ylabel("pictures, %", fontsize=LABEL, color=look.ink)
    lower.set_xticks(TICKS)
    lower.set_xlabel("probability of the answer, %", fontsize=LABEL, color=look.ink)
    shown = title_lines(figure, title, width=0.96 * WIDTH)
    figure.suptitle(shown, fontsize=TITLE, color=look.ink, x=0.02, ha="left", **letters_for(shown))
    figure.align_ylabels()
    figure.tight_layout(rect=(0, 0, 1, 0.99))
    save_figure(figure, path)
