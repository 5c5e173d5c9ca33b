"""The ratios of docs/benchmarks.md as one picture: how many times as fast as the first row of its table each row is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import Table
from clipcli.render.figure_style import LABEL, LIGHT, TITLE, new_figure, save_figure, styled

__all__ = ["draw_ratios"]

WIDTH, ROW_HEIGHT, ROOM = 7.2, 0.30, 1.1  # inches


def draw_ratios(tables: Sequence[Table], path: Path) -> None:
    """Write the figure. Memory is drawn the same way: how many times less."""
    bars = [
        (table.title, [(row.name, 1 / row.ratio) for row in table.rows[1:] if row.name.startswith("clip")])
        for table in tables
    ]
    lines = sum(1 + len(rows) for _, rows in bars)
    figure = new_figure(LIGHT, width=WIDTH, height=ROOM + ROW_HEIGHT * lines)
    axes = figure.subplots()
    styled(axes, LIGHT)
    names, place, places = [], 0.0, []
    for title, rows in bars:
        box = {"facecolor": LIGHT.paper, "edgecolor": "none", "pad": 1.0}  # the line at 1 does not cross letters
        axes.text(0.02, place, title, va="center", fontsize=LABEL - 2, fontweight="bold", color=LIGHT.ink, bbox=box)
        for name, ratio in rows:
            place += 1
            axes.barh(
                place, ratio, height=0.68, color=LIGHT.series[0 if "fp32" in name else 1 if "int8" in name else 2]
            )
            axes.text(ratio, place, f" {ratio:.1f} ×", va="center", fontsize=LABEL - 3, color=LIGHT.ink)
            names.append(name)
            places.append(place)
        place += 1
    axes.axvline(1, color=LIGHT.ink, linewidth=1.4)
    axes.set_yticks(places, names, fontsize=LABEL - 3)
    axes.set_ylim(place - 0.4, -0.6)
    axes.set_xlim(0, 1.12 * max(ratio for _, rows in bars for _, ratio in rows))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("times as fast as rclip, or as little memory", fontsize=LABEL, color=LIGHT.ink)
    figure.suptitle("clip beside rclip, the same ViT-B/32", fontsize=TITLE, color=LIGHT.ink, x=0.02, ha="left")
    figure.tight_layout(rect=(0, 0, 1, 0.99))
    save_figure(figure, path)
