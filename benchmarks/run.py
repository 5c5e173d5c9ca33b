"""Measures this machine and writes docs/benchmarks.md with its picture. `make bench` runs it; on a quiet machine.

    python -m benchmarks.run --rclip PYTHON [--quick] [--only PART ...] [--output FILE] [--folder FOLDER]

PYTHON is the interpreter of an environment that has rclip. All of it takes about half an hour on two cores, 12 GB of
disk and 8 of memory (libraries of a million pictures); `--quick` takes four minutes. Models, photographs and vectors
are made first, in FOLDER where one is given (and found there the next time), else in one that is removed at the end.
Nothing here is part of the tests: times depend on the machine and on what else it is doing.
"""

from __future__ import annotations

import argparse
import datetime
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.beside_rclip import PHOTO_SIZES, helping, indexing_beside, remembering, searching_beside
from benchmarks.cases import Table, searching, starting
from benchmarks.machine import describe
from benchmarks.ratios_figure import draw_ratios
from benchmarks.rclip_peer import Rclip

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("help", "search", "index-small", "index-large", "memory", "alone")

HEAD = """\
# Benchmarks

Written by `make bench`. Medians; the spread is half the distance between the quartiles, as a share of the median. Every
candidate of a table takes its turn in every round, so that a machine that warms up or gets busy treats all alike.
The first round is not counted. The ratio is to the first row: below 1 is faster, or smaller.

clip and rclip run the same ViT-B/32 with random weights at 224 pixels (rclip's own takes 256), each by its own code.
"""


def report(tables: Sequence[Table], *, peer: str, rounds: int, figure: str, load: str) -> str:
    """The whole page."""
    lines = [HEAD, f"![Ratios]({figure})\n"]
    lines += [f"{datetime.date.today().isoformat()}, {rounds} rounds, load before the start {load}{_priority()}:\n"]
    lines += [f"- {line}" for line in (*describe(), f"peer: {peer}")]
    for table in tables:
        lines += [f"\n## {table.title}\n", f"{table.note}\n"]
        lines += ["| | median | spread | ratio | |", "| --- | ---: | ---: | ---: | ---: |"]
        for row in table.rows:
            lines.append(f"| {row.name} | {row.median} | ±{row.spread:.0%} | {row.ratio:.2f} | {row.rate} |")
    return "\n".join(lines) + "\n"


def _priority() -> str:
    """With `chrt -r 1` a busy machine gives the times of a quiet one."""
    real_time = hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) in (os.SCHED_RR, os.SCHED_FIFO)
    return ", real-time priority, since others work on the machine" if real_time else ""


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure this machine and write docs/benchmarks.md.")
    parser.add_argument("--rclip", type=Path, required=True, metavar="PYTHON")
    parser.add_argument("--quick", action="store_true", help="few rounds on little material: shows that it works")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of the questions")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--folder", type=Path, help="where to keep what is made, for the next time")
    parser.add_argument("--rounds", type=int, metavar="N", help="default: 5, and 3 with --quick")
    chosen = parser.parse_args()
    rounds = chosen.rounds or (3 if chosen.quick else 5)
    with ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clip-bench-")))
        bundle, rclip = _prepared(folder, chosen.rclip)
        questions: dict[str, Callable[[], list[Table]]] = {
            "help": lambda: [helping(folder, rclip, rounds=2 * rounds)],
            "search": lambda: searching_beside(
                folder, rclip, bundle, rounds=rounds, sizes=(10_000, 100_000) if chosen.quick else (100_000, 1_000_000)
            ),
            "index-small": lambda: [
                indexing_beside(folder, rclip, bundle, kind, rounds=rounds, photos=48 if chosen.quick else 384)
                for kind in list(PHOTO_SIZES)[:1]
            ],
            "index-large": lambda: [
                indexing_beside(folder, rclip, bundle, kind, rounds=rounds, photos=32 if chosen.quick else 96)
                for kind in list(PHOTO_SIZES)[1:]
            ],
            "memory": lambda: [
                remembering(
                    folder, rclip, "12-megapixel", rounds=max(1, rounds // 2), photos=32 if chosen.quick else 96
                )
            ],
            "alone": lambda: [
                starting(folder, rounds=rounds),
                *searching(folder, rounds=rounds, sizes=(1_000,) if chosen.quick else (10_000, 100_000)),
            ],
        }
        load, tables = _load(), []
        for part in chosen.only:  # the page is written after each part: a later one that fails loses nothing
            tables += [(part, table) for table in questions[part]()]
            picture = chosen.output.with_suffix(".png")
            if beside := [table for of, table in tables if of != "alone"]:
                draw_ratios(beside, picture)
            every = [table for _, table in tables]
            page = report(every, peer=rclip.version, rounds=rounds, figure=picture.name, load=load)
            chosen.output.write_text(page, encoding="utf-8")
    print(page)


def _prepared(folder: Path, python: Path) -> tuple[Path, Rclip]:
    """The model installed where every process below finds it, and rclip with the same one."""
    from benchmarks.random_model import NAME, install_random_model, place_for_rclip  # late: needs torch

    folder = folder.absolute()
    os.environ["CLIP_MODELS"] = str(folder / "models")
    bundle, data = folder / "models" / NAME, folder / "rclip"
    if not data.exists():
        work = folder / "work"
        work.mkdir(parents=True)
        install_random_model(work)
        place_for_rclip(data)
    return bundle, Rclip(python=python.absolute(), data=data)


if __name__ == "__main__":
    main()
