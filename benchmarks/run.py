"""Measures this machine and writes docs/benchmarks.md. `make bench` runs it; a few minutes on a quiet machine.

    python -m benchmarks.run [--quick] [--output FILE]

Nothing here is part of the tests: times depend on the machine and on what else it is doing.
"""

from __future__ import annotations

import argparse
import datetime
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import Table, indexing, searching, starting
from benchmarks.machine import describe

ROOT = Path(__file__).resolve().parents[1]

HEAD = """\
# Benchmarks

Written by `make bench`. Medians; the spread is half the distance between the quartiles, as a share of the median. Every
candidate of a table takes its turn in every round, so that a machine that warms up or gets busy treats all alike.
The first round is not counted. The ratio is to the first row.
"""


def report(tables: Sequence[Table], *, rounds: int) -> str:
    """The whole page."""
    lines = [HEAD, f"{datetime.date.today().isoformat()}, {rounds} rounds, load before the start {_load()}:\n"]
    lines += [f"- {line}" for line in describe()]
    for table in tables:
        lines += [f"\n## {table.title}\n", f"{table.note}\n"]
        lines += ["| | median | spread | ratio | |", "| --- | ---: | ---: | ---: | ---: |"]
        for row in table.rows:
            median = f"{row.times.median_s * 1000:,.0f} ms"
            lines.append(f"| {row.name} | {median} | ±{row.times.spread:.0%} | {row.ratio:.2f} | {row.rate} |")
    return "\n".join(lines) + "\n"


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure this machine and write docs/benchmarks.md.")
    parser.add_argument("--quick", action="store_true", help="few rounds on little material: shows that it works")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    chosen = parser.parse_args()
    rounds = 3 if chosen.quick else 15
    with tempfile.TemporaryDirectory(prefix="clip-bench-") as name:
        folder = Path(name)
        tables = [
            starting(folder, rounds=rounds),
            indexing(folder, rounds=rounds, photos=32 if chosen.quick else 400),
            *searching(folder, rounds=rounds, sizes=(1_000,) if chosen.quick else (10_000, 100_000)),
        ]
    page = report(tables, rounds=rounds)
    chosen.output.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
