"""Accuracy against pictures seen, of several objectives: the figure, and how many times as many pictures one needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clipcli.render.figure_style import LABEL, LIGHT, LINE_WIDTH, MARKER, TITLE, new_figure, save_figure, styled

__all__ = ["Curve", "draw_objectives", "mean_of_seeds", "ratios", "reached"]

WIDTH, HEIGHT = 6.4, 4.4  # inches


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One run: share of right answers by pictures seen, which grow."""

    objective: str
    seed: int
    top1: Mapping[int, float]


def mean_of_seeds(curves: Sequence[Curve], objective: str) -> dict[int, float]:
    """The mean over the seeds, where all of them were measured."""
    own = [curve.top1 for curve in curves if curve.objective == objective]
    shared = sorted(set[int]().union(*own).intersection(*own)) if own else []
    return {images: sum(top1[images] for top1 in own) / len(own) for images in shared}


def reached(top1: Mapping[int, float], wanted: float) -> float | None:
    """Pictures after which `wanted` is first reached, between two points by the logarithm; None where it is not.

    Below what the first point has there is no telling: 0.
    """
    before: tuple[int, float] | None = None
    for images, share in top1.items():
        if share >= wanted:
            if before is None:
                return float(images) if share == wanted else 0.0
            part = (wanted - before[1]) / (share - before[1])
            return math.exp(math.log(before[0]) + part * math.log(images / before[0]))
        before = (images, share)
    return None


def ratios(first: Mapping[int, float], other: Mapping[int, float]) -> list[str]:
    """A line for each point of `first`: how many times as many pictures `other` needs for as much."""
    lines = []
    for images, share in first.items():
        found = reached(other, share)
        if found is None and max(other) < images:
            continue  # not trained that far
        if found is None:
            said = f"more than {max(other) / images:.2f}"
        elif not found:
            said = f"less than {min(other) / images:.2f}"
        else:
            said = f"{found / images:.2f}"
        lines.append(f"{100 * share:.1f} % (contrastive after {images:,}): {said}")
    return lines


def draw_objectives(curves: Sequence[Curve], objectives: Sequence[str], path: Path) -> None:
    """Write the figure: the mean over seeds as a line, from the least to the most of them as a band."""
    figure = new_figure(LIGHT, width=WIDTH, height=HEIGHT)
    axes = figure.subplots()
    styled(axes, LIGHT)
    ticks: list[int] = []
    for place, name in enumerate(objectives):
        mean = mean_of_seeds(curves, name)
        if not mean:
            continue
        own = [curve.top1 for curve in curves if curve.objective == name]
        colour = LIGHT.series[place]
        if len(own) > 1:
            low, high = ([100 * pick(top1[x] for top1 in own) for x in mean] for pick in (min, max))
            axes.fill_between(list(mean), low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            list(mean), [100 * share for share in mean.values()], color=colour, linestyle=LIGHT.dashes[place],
            marker=LIGHT.markers[place], markersize=MARKER, linewidth=LINE_WIDTH, label=name,
        )  # fmt: skip
        ticks = max(ticks, list(mean)[::2], key=len)
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{images / 1000:.0f} k" for images in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("pictures seen", fontsize=LABEL, color=LIGHT.ink)
    axes.set_ylabel("zero-shot top-1, %", fontsize=LABEL, color=LIGHT.ink)
    axes.legend(fontsize=LABEL - 1, frameon=False, labelcolor=LIGHT.ink)
    figure.suptitle("Three objectives, the same pictures", fontsize=TITLE, color=LIGHT.ink, x=0.02, ha="left")
    figure.tight_layout(rect=(0, 0, 1, 0.99))
    save_figure(figure, path)
