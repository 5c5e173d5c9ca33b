"""Measures this machine and writes docs/benchmarks.md with its pictures. `make bench` runs it; on a quiet machine.

    python -m benchmarks.run [--rclip PYTHON] [--torch PYTHON] [--quick] [--only PART ...] [--output FILE]
        [--folder FOLDER] [--rounds N] [--prepare]

The two interpreters are of the environments that `benchmarks.environments` makes. A part whose peer is not there is
left out with a line, and so is one that fails. All of it takes about forty minutes on two cores, 12 GB of disk and 8 of
memory (libraries of a million pictures); `--quick` takes eight. Models, photographs and vectors are made first,
in FOLDER where one is given (and found there the next time), else in one that is removed at the end. The figures are
kept beside the page (`docs/benchmarks.json`): a part that is measured again replaces its own and leaves the others.
Nothing here is part of the tests: times depend on the machine and on what else it is doing.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.growth_figure import draw_growth
from benchmarks.machine import describe
from benchmarks.measured import Part, of_this_machine, read_parts, write_parts
from benchmarks.page import report
from benchmarks.parts import OWN, PARTS, Bench, parts_of, prepare_parts
from benchmarks.ratios_figure import draw_ratios

ROOT = Path(__file__).resolve().parents[1]


def write(parts: Mapping[str, Part], output: Path) -> str:
    """The page, its figures as numbers and as pictures, beside each other; the page as it was written."""
    parts = {name: parts[name] for name in PARTS if name in parts}
    write_parts(parts, output.with_suffix(".json"))
    figures = []
    tables = [table for part in parts.values() for table in part.tables]
    ratios, growth = output.with_suffix(".png"), output.with_name(f"{output.stem}-growth.png")
    if draw_ratios([table for name, part in parts.items() if name != OWN for table in part.tables], ratios):
        figures.append(("Ratios", ratios.name))
    if draw_growth(tables, growth):
        figures.append(("How the cost of a search grows with the vectors", growth.name))
    page = report(parts, figures=figures)
    output.write_text(page, encoding="utf-8")
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure this machine and write docs/benchmarks.md.")
    environments = (("--rclip", ".peers", "that has rclip"), ("--torch", ".peers-torch", "that has the other peers"))
    for option, place, has in environments:
        default = ROOT / place / "bin" / "python"
        parser.add_argument(option, type=Path, default=default, metavar="PYTHON", help=f"of the environment {has}")
    parser.add_argument("--quick", action="store_true", help="few rounds on little material: shows that it works")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some of the questions")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--folder", type=Path, help="where to keep what is made, for the next time")
    parser.add_argument("--rounds", type=int, metavar="N", help="default: 5, and 3 with --quick")
    parser.add_argument("--prepare", action="store_true", help="only make what is measured on, in --folder")
    chosen = parser.parse_args()
    if chosen.prepare and not chosen.folder:
        parser.error("--prepare needs --folder, or what it makes would be gone")
    with ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clip-bench-")))
        bench = Bench(
            folder=folder.absolute(),
            rclip_python=chosen.rclip.absolute(),
            peers=chosen.torch.absolute(),
            rounds=chosen.rounds or (3 if chosen.quick else 5),
            quick=chosen.quick,
        )
        if chosen.prepare:
            prepare_parts(bench, chosen.only)
            return 0
        return _measure(bench, [name for name in PARTS if name in chosen.only], chosen.output)


def _measure(bench: Bench, names: list[str], output: Path) -> int:
    """The page is written after each part: a later one that fails loses nothing. 1 when no part could be measured."""
    machine = tuple(describe())
    parts, others = of_this_machine(read_parts(output.with_suffix(".json")), machine)
    if others:
        _say(f"{', '.join(others)}: the figures of another machine are dropped")
    load, page = _load(), ""
    questions = parts_of(bench)
    for name in names:
        try:
            found = questions[name]()
        except (RuntimeError, OSError) as error:  # a peer that is not there, a command that failed
            _say(f"{name} is left out: {' '.join(str(error).split())}")
            continue
        for line in found.left_out:
            _say(f"{name}: left out: {line}")
        parts[name] = Part(
            date=datetime.date.today().isoformat(),
            rounds=f"{bench.rounds} rounds{' on little material' if bench.quick else ''}{_priority()}",
            load=load,
            machine=machine,
            peers=found.peers,
            left_out=found.left_out,
            tables=found.tables,
        )
        page = write(parts, output)
    print(page, end="")
    return 0 if page else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _priority() -> str:
    """With `chrt -r 1` a busy machine gives the times of a quiet one."""
    real_time = hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) in (os.SCHED_RR, os.SCHED_FIFO)
    return ", real-time priority, since others work on the machine" if real_time else ""


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


if __name__ == "__main__":
    sys.exit(main())
