"""The ratios of docs/benchmarks.md as one picture: how many times as fast as the first row of its table each row is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import Table
from clipcli.render.figure_style import LABEL, LIGHT, TITLE, new_figure, save_figure, styled

__all__ = ["bars", "draw_ratios"]

WIDTH, ROW_HEIGHT, ROOM = 9.0, 0.25, 1.1  # inches
OURS = "clip"
PEER_COLOUR = "#9a9a94"
PEERS = ("open_clip", "transformers", "usearch", "faiss", "rclip", "NumPy")
MARKS = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)


def bars(tables: Sequence[Table]) -> list[tuple[str, list[tuple[str, float]]]]:
    """Of each table its title with the row that counts as 1, and how many times as fast clip and other peers are."""
    return [
        (
            f"{table.title}: {table.rows[0].name} = 1",
            [(row.name, 1 / row.ratio) for row in table.rows[1:] if _who(row.name) in (OURS, *PEERS)],
        )
        for table in tables
        if _who(table.rows[0].name) != OURS and any(_who(row.name) == OURS for row in table.rows)
    ]


def _who(name: str) -> str:
    """The program, which every row's name begins with."""
    return name.partition(",")[0].split(" ")[0]


def draw_ratios(tables: Sequence[Table], path: Path) -> bool:
    """Write the figure; False where nothing is beside anything. Memory is drawn the same way: how many times less."""
    groups = bars(tables)
    if not groups:
        return False
    lines = sum(1 + len(rows) for _, rows in groups)
    every = [ratio for _, rows in groups for _, ratio in rows]
    least, most = min(0.8, 0.8 * min(every)), 2 * max(every)
    figure = new_figure(LIGHT, width=WIDTH, height=ROOM + ROW_HEIGHT * lines)
    axes = figure.subplots()
    styled(axes, LIGHT)
    axes.set_xscale("log")
    names, place, places = [], 0.0, []
    for title, rows in groups:
        box = {"facecolor": LIGHT.paper, "edgecolor": "none", "pad": 1.0}  # the line at 1 does not cross letters
        axes.text(
            least * 1.02, place, title, va="center", fontsize=LABEL - 2, fontweight="bold", color=LIGHT.ink, bbox=box
        )
        for name, ratio in rows:
            place += 1
            ours = LIGHT.series[0 if "fp32" in name else 1 if "int8" in name else 2]
            colour = ours if _who(name) == OURS else PEER_COLOUR
            axes.barh(place, ratio - 1, left=1, height=0.68, color=colour)
            axes.text(
                max(ratio, 1), place, f" {ratio:.{2 if ratio < 1 else 1}f} ×", va="center", fontsize=LABEL - 3,
                color=LIGHT.ink,
            )  # fmt: skip
            names.append(name)
            places.append(place)
        place += 1
    axes.axvline(1, color=LIGHT.ink, linewidth=1.4)
    axes.set_yticks(places, names, fontsize=LABEL - 3)
    axes.set_ylim(place - 0.4, -0.6)
    axes.set_xlim(least, most)
    marks = [mark for mark in MARKS if least <= mark <= most]
    axes.set_xticks(marks, [f"{mark:g}" for mark in marks])
    axes.minorticks_off()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("times as fast, or as little memory (logarithmic)", fontsize=LABEL, color=LIGHT.ink)
    figure.suptitle(
        "clip (fp32 blue, int8 orange, else green) and others (grey)",
        fontsize=TITLE,
        color=LIGHT.ink,
        x=0.02,
        ha="left",
    )
    figure.tight_layout(rect=(0, 0, 1, 0.99))
    save_figure(figure, path)
    return True
