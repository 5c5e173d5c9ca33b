"""How the cost of a search grows with the vectors, as one picture: each candidate a line, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import Table
from benchmarks.page import FAMILIES, grown
from clipcli.render.figure_style import LABEL, LIGHT, LINE_WIDTH, MARKER, TICK, TITLE, new_figure, save_figure, styled

__all__ = ["draw_growth"]

WIDTH, HEIGHT = 12.4, 5.4  # inches


def draw_growth(tables: Sequence[Table], path: Path) -> bool:
    """Write the figure; False where no question was asked of two sizes."""
    families = [(said, *grown(tables, family)) for family, said in FAMILIES.items()]
    families = [(said, sizes, curves) for said, sizes, curves in families if len(sizes) > 1]
    if not families:
        return False
    figure = new_figure(LIGHT, width=WIDTH * len(families) / 2, height=HEIGHT)
    for axes, (said, sizes, curves) in zip(figure.subplots(1, len(families), squeeze=False)[0], families, strict=True):
        styled(axes, LIGHT)
        for place, (name, seconds) in enumerate(curves.items()):
            style = place % len(LIGHT.series)
            axes.plot(
                sizes,
                [one * 1000 for one in seconds],
                color=LIGHT.series[style],
                marker=LIGHT.markers[style],
                linestyle=LIGHT.dashes[style],
                linewidth=LINE_WIDTH,
                markersize=MARKER,
                label=name,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        low, high = axes.get_ylim()
        marks = [one for one in (0.1, 1, 10, 100, 1000, 10_000, 100_000) if low <= one <= high]
        axes.set_yticks(marks, [f"{mark:,g}" for mark in marks], fontsize=TICK)
        axes.set_xlabel("vectors", fontsize=LABEL, color=LIGHT.ink)
        axes.set_ylabel("ms a search", fontsize=LABEL, color=LIGHT.ink)
        axes.set_title(said, fontsize=LABEL, color=LIGHT.ink, loc="left")
        axes.legend(
            fontsize=LABEL - 3,
            frameon=False,
            labelcolor=LIGHT.ink,
            ncols=2,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.17),
        )
    figure.suptitle("How the cost of a search grows", fontsize=TITLE, color=LIGHT.ink, x=0.02, ha="left")
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    save_figure(figure, path)
    return True
