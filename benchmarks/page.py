"""docs/benchmarks.md: the tables of all parts, how the cost grows, and on what all that was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.cases import Table
from benchmarks.measured import Part

__all__ = ["FAMILIES", "grown", "report"]

FAMILIES = {
    "searching": "whole processes: from starting to answers",
    "vectors": "vectors alone: warm, in a process that is there",
}

HEAD = """\
# Benchmarks

Written by `make bench`. Medians; the spread is half the distance between the quartiles, as a share of the median. Every
candidate of a table takes its turn in every round, so that a machine that warms up or gets busy treats all alike.
The first round is not counted. The ratio is to the first row: below 1 is faster, or smaller.

Towers are ViT-B/32 with random weights at 224 pixels (rclip's own takes 256), each run by its own code.
"""


def report(parts: Mapping[str, Part], *, figures: Sequence[tuple[str, str]]) -> str:
    """The whole page; `figures` are what is said of a picture, and its file."""
    lines = [HEAD, *(f"![{said}]({file})\n" for said, file in figures)]
    newest = max(parts.values(), key=lambda part: part.date)
    lines += [f"- {line}" for line in newest.machine]
    lines.append(f"- peers: {', '.join(dict.fromkeys(peer for part in parts.values() for peer in part.peers))}")
    lines += _measured(parts)
    lines += [
        f"- left out: {line}" for line in dict.fromkeys(line for part in parts.values() for line in part.left_out)
    ]
    for table in (table for part in parts.values() for table in part.tables):
        lines += [f"\n## {table.title}\n", f"{table.note}\n"]
        lines += ["| | median | spread | ratio | |", "| --- | ---: | ---: | ---: | ---: |"]
        for row in table.rows:
            ratio = f"{row.ratio:.{2 if row.ratio >= 0.1 else 3}f}"
            lines.append(f"| {row.name} | {row.median} | ±{100 * row.spread:.0f} % | {ratio} | {row.rate} |")
    lines += _growth([table for part in parts.values() for table in part.tables])
    return "\n".join(lines) + "\n"


def _measured(parts: Mapping[str, Part]) -> list[str]:
    """When and how, a line for all parts that have it in common."""
    common: dict[tuple[str, str, str], list[str]] = {}
    for name, part in parts.items():
        common.setdefault((part.date, part.rounds, part.load), []).append(name)
    return [
        f"- {', '.join(names)}: {date}, {rounds}, load before the start {load}"
        for (date, rounds, load), names in common.items()
    ]


def grown(tables: Iterable[Table], family: str) -> tuple[list[int], dict[str, list[float]]]:
    """The sizes of a family's tables and the seconds of each candidate that is in all of them."""
    found = sorted((table for table in tables if table.family == family), key=lambda table: table.size)
    if not found:
        return [], {}
    values = [{row.name: row.value for row in table.rows} for table in found]
    names = [row.name for row in found[0].rows if all(row.name in one for one in values)]
    return [table.size for table in found], {name: [one[name] for one in values] for name in names}


def _growth(tables: Sequence[Table]) -> list[str]:
    lines = []
    for family, said in FAMILIES.items():
        sizes, curves = grown(tables, family)
        if len(sizes) < 2:
            continue
        lines += [
            f"\n{said[0].upper()}{said[1:]}.\n",
            f"| | {' | '.join(f'{size:,}' for size in sizes)} | each 100,000 beyond {sizes[-2]:,} |",
            f"| --- |{' ---: |' * len(sizes)} ---: |",
        ]
        for name, seconds in curves.items():
            further = (seconds[-1] - seconds[-2]) / (sizes[-1] - sizes[-2]) * 100_000
            cells = " | ".join(_milliseconds(one) for one in seconds)
            lines.append(f"| {name} | {cells} | {_milliseconds(max(0.0, further))} |")
    return ["\n## How the cost grows", *lines] if lines else []


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.{0 if seconds >= 0.1 else 1 if seconds >= 0.01 else 2}f} ms"
