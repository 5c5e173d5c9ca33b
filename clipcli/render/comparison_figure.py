"""Models side by side: a panel of figures with intervals for each set of data, then what the models cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipcli.errors import UsageError
from clipcli.render.figure_style import (
    LABEL,
    LIGHT,
    LINE_WIDTH,
    MARKER,
    TICK,
    TITLE,
    Look,
    check_figure,
    letters_for,
    new_figure,
    save_figure,
    styled,
)
from clipcli.render.figure_texts import shortened
from clipcli.render.made_files import check_replaceable

__all__ = ["Panel", "Row", "check_comparison", "draw_comparison"]

MOST_MODELS = len(LIGHT.series)
WIDTH, LEFT, RIGHT, MARGIN = 7.6, 2.25, 0.75, 0.25  # inches
HEAD, NAME_LINE, HEADING, BELOW = 0.62, 0.27, 0.42, 0.62
STEP, BETWEEN = 0.235, 0.2  # a model's line, and the space to the next figure
BAR, NUMBER = 0.3, 1.0  # a bar's line, and the room for the number behind it


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A figure: share, lower and upper end of its interval, of each model; from 0 to 1."""

    label: str
    points: Sequence[tuple[float, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """What was measured on one set of data."""

    title: str
    rows: Sequence[Row]


def check_comparison(path: Path, *, models: int) -> None:
    """Before anything is measured. Raises UsageError for more models than can be told apart, and as `check_figure`."""
    if models > MOST_MODELS:
        raise UsageError(f"a chart tells at most {MOST_MODELS} models apart, not {models}")
    check_figure(path, "drawing models side by side")
    check_replaceable(path)


def draw_comparison(
    panels: Sequence[Panel],
    names: Sequence[str],
    path: Path,
    *,
    sizes: Sequence[int] = (),  # bytes
    rates: Sequence[float | None] = (),  # images per second
    title: str = "Models side by side, with 95 % intervals",
    look: Look = LIGHT,
) -> None:
    """Write the figure to `path`, without what models cost where no sizes are given. Raises as `save_figure`."""
    models = len(names)
    tall = [len(panel.rows) * (models * STEP + BETWEEN) for panel in panels]
    head = HEAD + models * NAME_LINE + 0.15
    cost = models * BAR + 0.1
    height = head + sum(HEADING + each + BELOW for each in tall) + (HEADING + cost if sizes else 0) + MARGIN
    figure = new_figure(look, width=WIDTH, height=height)
    _head(figure, title, names, height, look)
    top = head
    for panel, each in zip(panels, tall, strict=True):
        _heading(figure, panel.title, top, height, look)
        axes = figure.add_axes(_place(LEFT, top + HEADING, WIDTH - LEFT - RIGHT, each, height))
        _dots(axes, panel, models, look)
        top += HEADING + each + BELOW
    half = (WIDTH - 3 * MARGIN) / 2
    costs: list[tuple[str, Sequence[float | None], str]] = []
    if sizes:
        costs.append(("megabytes to run", [size / 1e6 for size in sizes], "MB"))
    if any(rate is not None for rate in rates):
        costs.append(("images per second, image tower alone", rates, "/s"))
    for place, (heading, values, unit) in enumerate(costs):
        left = MARGIN + place * (half + MARGIN)
        _heading(figure, heading, top, height, look, left=left)
        axes = figure.add_axes(_place(left, top + HEADING, half - NUMBER, cost, height))
        _bars(axes, values, unit, look)
    save_figure(figure, path)


def _place(left: float, top: float, width: float, tall: float, height: float) -> tuple[float, float, float, float]:
    return left / WIDTH, 1 - (top + tall) / height, width / WIDTH, tall / height


def _head(figure: Any, title: str, names: Sequence[str], height: float, look: Look) -> None:
    """The title, and the models by marker and colour."""
    figure.text(MARGIN / WIDTH, 1 - 0.18 / height, title, fontsize=TITLE, color=look.ink, va="top")
    axes = figure.add_axes(_place(MARGIN, HEAD, 0.3, len(names) * NAME_LINE, height))
    axes.axis("off")
    axes.set_xlim(-1, 1)
    axes.set_ylim(len(names) - 0.5, -0.5)
    for place, name in enumerate(names):
        shown = shortened(figure, name, width=WIDTH - 2 * MARGIN - 0.4, size=LABEL)
        axes.plot([0], [place], color=look.series[place], marker=look.markers[place], markersize=MARKER, clip_on=False)
        down = 1 - (HEAD + (place + 0.5) * NAME_LINE) / height
        figure.text(
            (MARGIN + 0.4) / WIDTH, down, shown, fontsize=LABEL, color=look.ink, va="center", **letters_for(shown)
        )


def _heading(figure: Any, text: str, top: float, height: float, look: Look, *, left: float = MARGIN) -> None:
    shown = shortened(figure, text, width=WIDTH - left - MARGIN, size=LABEL)
    figure.text(
        left / WIDTH,
        1 - (top + HEADING / 2) / height,
        shown,
        fontsize=LABEL,
        color=look.faint,
        va="center",
        **letters_for(shown),
    )


def _dots(axes: Any, panel: Panel, models: int, look: Look) -> None:
    styled(axes, look)
    axes.grid(visible=False, axis="y")
    group = models * STEP + BETWEEN
    most = 0.0
    for number, row in enumerate(panel.rows):
        for place, (value, low, high) in enumerate(row.points):
            y = number * group + BETWEEN / 2 + (place + 0.5) * STEP
            colour = look.series[place]
            if low < high:
                axes.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=LINE_WIDTH, solid_capstyle="butt")
            axes.plot([100 * value], [y], color=colour, marker=look.markers[place], markersize=MARKER, clip_on=False)
            most = max(most, 100 * high)
            axes.annotate(
                f"{100 * value:.1f}",
                (1, y),
                xycoords=("axes fraction", "data"),
                xytext=(6, 0),
                textcoords="offset points",
                fontsize=TICK - 1,
                color=look.ink,
                va="center",
            )
        if number:
            axes.axhline(number * group, color=look.grid, linewidth=0.8)
    centres = [number * group + group / 2 for number in range(len(panel.rows))]
    axes.set_yticks(centres, [row.label for row in panel.rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(panel.rows) * group, 0)
    axes.set_xlim(0, min(100.0, max(most * 1.06, 1.0)))
    axes.set_xlabel("%", fontsize=LABEL, color=look.ink, labelpad=1)


def _bars(axes: Any, values: Sequence[float | None], unit: str, look: Look) -> None:
    axes.set_facecolor(look.paper)
    axes.axis("off")
    axes.set_xlim(0, max([value for value in values if value is not None], default=1.0) or 1.0)
    axes.set_ylim(len(values) - 0.5, -0.5)
    for place, value in enumerate(values):
        axes.barh([place], [value or 0.0], height=0.62, color=look.series[place])
        digits = 1 if (value or 0) < 100 else 0
        shown = "not measured" if value is None else f"{value:,.{digits}f} {unit}"
        axes.annotate(
            shown,
            (value or 0.0, place),
            xytext=(5, 0),
            textcoords="offset points",
            fontsize=TICK - 1,
            color=look.ink,
            va="center",
        )
