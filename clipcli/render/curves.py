"""How a training run went, as a picture: loss, how good the held-out pictures were, and the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clipcli.render.figure_style import (
    DARK,
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
from clipcli.render.figure_texts import LEGEND_LINE, legend_above, shortened, title_lines

__all__ = ["FILES", "draw_curves", "write_curves"]

FILES = {"curves.png": LIGHT, "curves-dark.png": DARK}
WIDTH, PANEL, HEAD, LEGEND = 6.4, 2.3, 0.75, 4.5  # inches
MOST_MARKED = 40  # points of a line that still get a marker each
MEASURES = {"text_to_image@10": "text→image R@10", "image_to_text@10": "image→text R@10", "top1": "top-1"}
OF_FEW = {"text_to_image@1": "text→image R@1", "image_to_text@1": "image→text R@1", "top1": "top-1"}

Line = Mapping[str, Any]
Point = tuple[float, float]


def write_curves(run: Path, metrics: Sequence[Line], *, title: str, few: frozenset[str] = frozenset()) -> list[Path]:
    """Draw the run into its folder, light and dark; nothing for a run without an epoch. Raises as `save_figure`.

    `metrics` are the lines of `metrics.jsonl`: an epoch each, the first may be what the model was before. Of the
    sets named in `few`, which have so few pictures that R@10 is mostly luck, R@1 is drawn.
    """
    if not any("loss" in line for line in metrics):
        return []
    for name, look in FILES.items():
        draw_curves(metrics, run / name, title=title, look=look, few=few)
    return [run / name for name in FILES]


def draw_curves(
    metrics: Sequence[Line], path: Path, *, title: str, look: Look, few: frozenset[str] = frozenset()
) -> None:
    """The panels one below the other over the pictures seen, the best epoch marked in all of them."""
    panels: list[tuple[str, dict[str, list[Point]]]] = [("loss", {"": _points(metrics, "loss")})]
    if shares := _shares(metrics, few):
        panels.append(("held out, %", shares))
    if rates := _points(metrics, "learning_rate"):
        panels.append(("learning rate", {"": rates}))
    tall = [PANEL + (LEGEND_LINE * len(series) if any(series) else 0) for _, series in panels]
    figure = new_figure(look, width=WIDTH, height=HEAD + sum(tall))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=tall)[:, 0]
    best = _best(metrics)
    for number, (name, series) in enumerate(panels):
        styled(axes[number], look)
        axes[number].set_ylabel(name, fontsize=LABEL, color=look.ink)
        for place, (label, points) in enumerate(series.items()):
            shown = shortened(figure, label, width=LEGEND, size=LABEL - 2)
            _draw(axes[number], points, shown, place, look)
        if name == "learning rate":
            axes[number].set_ylim(bottom=0)
        if best is not None:
            axes[number].axvline(best, color=look.faint, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1)
        if any(series):
            legend_above(axes[number], look, lines=len(series), tall=tall[number] - 0.6, most=100)
    axes[-1].set_xlabel(
        "pictures seen" + ("" if best is None else "   (dotted: the epoch that was kept)"),
        fontsize=LABEL,
        color=look.ink,
    )
    axes[-1].xaxis.set_major_formatter(_counts(max(x for x, _ in _points(metrics, "loss"))))
    shown = title_lines(figure, title, width=0.96 * WIDTH)
    figure.suptitle(shown, fontsize=TITLE, color=look.ink, x=0.02, ha="left", **letters_for(shown))
    figure.align_ylabels()
    figure.tight_layout(rect=(0, 0, 1, 0.99))
    save_figure(figure, path)


def _points(metrics: Sequence[Line], name: str) -> list[Point]:
    return [(float(line.get("images", 0)), float(line[name])) for line in metrics if name in line]


def _shares(metrics: Sequence[Line], few: frozenset[str]) -> dict[str, list[Point]]:
    """Each measure of each set of held-out pictures in per cent, by what it is called in the legend."""
    names = dict.fromkeys(name for line in metrics for name in line if "/" in name)
    sets = dict.fromkeys(name.split("/", 1)[0] for name in names)
    found = {}
    for held_out in sets:
        for measure, shown in (OF_FEW if held_out in few else MEASURES).items():
            if (name := f"{held_out}/{measure}") in names:
                label = f"{held_out}: {shown}" if len(sets) > 1 else shown
                found[label] = [(x, 100 * y) for x, y in _points(metrics, name)]
    return found


def _best(metrics: Sequence[Line]) -> float | None:
    """Where the weights that were kept are from: the best score, the later of equals, as the loop keeps them."""
    scored = [line for line in metrics if "score" in line]
    return float(max(reversed(scored), key=lambda line: float(line["score"])).get("images", 0)) if scored else None


def _draw(axes: Any, points: Sequence[Point], label: str, place: int, look: Look) -> None:
    colour = look.series[place % len(look.series)]
    axes.plot(
        *zip(*points, strict=True),
        color=colour,
        linestyle=look.dashes[place % len(look.dashes)],
        linewidth=LINE_WIDTH,
        marker=look.markers[place % len(look.markers)] if len(points) <= MOST_MARKED else None,
        markersize=MARKER,
        clip_on=False,  # a rate that ends at nothing stands on the axis: its mark is not cut in half
        label=label or None,
    )


def _counts(most: float) -> Callable[[float, int], str]:
    """Numbers of pictures, in one unit along the whole axis."""
    unit, name = (1e6, " M") if most >= 2e6 else (1e3, " k") if most >= 1e4 else (1.0, "")

    def shown(value: float, _place: int) -> str:
        return f"{value / unit:g}{name}" if value and unit > 1 else f"{value:,.0f}"

    return shown
