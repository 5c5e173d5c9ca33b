"""The few-shot curve: how a linear probe gains with the pictures of each class, beside zero-shot."""

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

__all__ = ["draw_shots"]

WIDTH, HEIGHT = 6.4, 4.4  # inches


def draw_shots(
    points: Sequence[tuple[int, float]],  # pictures of each class, share right
    path: Path,
    *,
    zero_shot: float,
    whole: float,
    title: str,
    look: Look = LIGHT,
) -> None:
    """Write the figure to `path`. `whole` is the share with all pictures. Raises as `save_figure`."""
    figure = new_figure(look, width=WIDTH, height=HEIGHT)
    axes = figure.subplots()
    styled(axes, look)
    axes.set_xscale("log", base=2)
    counts = [count for count, _ in points]
    axes.plot(
        counts,
        [100 * share for _, share in points],
        color=look.series[0],
        linewidth=LINE_WIDTH,
        marker=look.markers[0],
        markersize=MARKER,
        label="linear probe",
    )
    for share, name, place in ((zero_shot, "zero-shot", 1), (whole, "linear probe, all pictures", 2)):
        axes.axhline(
            100 * share, color=look.series[place], linestyle=look.dashes[place], linewidth=LINE_WIDTH, label=name
        )
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.set_xticks([], minor=True)
    axes.set_ylim(bottom=0, top=max(100 * max(zero_shot, whole, *(share for _, share in points)) * 1.1, 1))
    axes.set_xlabel("pictures of each class", fontsize=LABEL, color=look.ink)
    axes.set_ylabel("top-1, %", fontsize=LABEL, color=look.ink)
    legend_above(axes, look, lines=3, tall=HEIGHT * 0.75, most=100)
    shown = title_lines(figure, title, width=0.96 * WIDTH)
    figure.suptitle(shown, fontsize=TITLE, color=look.ink, x=0.02, ha="left", **letters_for(shown))
    figure.tight_layout(rect=(0, 0, 1, 0.99))
    save_figure(figure, path)
