"""How much memory an index run needs, and whether it grows with the number of pictures.

    python -m benchmarks.index_memory [--counts 1000 20000] [--side 320]

`clip embed` as a whole process over folders of JPEGs; the largest sum of the resident memory of that process and the
ones it starts, looked at fifty times a second (pages that several of them share are counted in each). Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import describe

__all__ = ["high_water", "made_pictures", "peak_bytes"]

_LOOK_EVERY_S = 0.02


def made_pictures(folder: Path, count: int, side: int) -> None:
    """JPEGs that differ, cheap to make."""
    folder.mkdir(parents=True)
    luck = np.random.default_rng(0)
    for number in range(count):
        small = luck.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((side, side * 3 // 4), Image.Resampling.BICUBIC).save(
            folder / f"{number:06d}.jpg"
        )


def peak_bytes(folder: Path, library: Path) -> tuple[int, int, float]:
    """Peak of all processes together, of the run's own process alone, and the seconds it took."""
    command = [sys.executable, "-m", "clipcli", "embed", os.fspath(folder), "--db", os.fspath(library)]
    began = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    together = own = 0
    while process.poll() is None:
        together = max(together, sum(_resident(number) for number in (process.pid, *_children(process.pid))))
        own = max(own, high_water(process.pid))
        time.sleep(_LOOK_EVERY_S)
    if process.returncode:
        raise SystemExit(f"clip embed ended with code {process.returncode}")
    return together, own, time.monotonic() - began


def _children(number: int) -> list[int]:
    found = []
    try:
        for task in os.listdir(f"/proc/{number}/task"):
            children = map(int, Path(f"/proc/{number}/task/{task}/children").read_text().split())
            # One that is only just being started is still the run's own memory, seen twice.
            found += [child for child in children if _command(child) != _command(number)]
    except OSError:
        return found
    return found


def _command(number: int) -> bytes:
    return Path(f"/proc/{number}/cmdline").read_bytes()


def _resident(number: int) -> int:
    return _status(number, "VmRSS")


def high_water(number: int) -> int:
    """The most memory a process has held so far."""
    return _status(number, "VmHWM")


def _status(number: int, name: str) -> int:
    try:
        for line in Path(f"/proc/{number}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of 'clip embed' over few and over many pictures.")
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 20_000])
    parser.add_argument("--side", type=int, default=320)
    chosen = parser.parse_args()
    peaks = []
    for count in chosen.counts:
        with tempfile.TemporaryDirectory(prefix="clip-memory-") as name:
            made_pictures(Path(name) / "photos", count, chosen.side)
            together, own, seconds = peak_bytes(Path(name) / "photos", Path(name) / "library.db")
        peaks.append(together)
        print(
            f"{count:7,} pictures: {together / 1e6:.0f} MB together, {own / 1e6:.0f} MB the run itself; {seconds:.0f} s"
        )
    print(f"the largest against the smallest: {100 * (max(peaks) / min(peaks) - 1):+.1f} %")
    for line in describe():
        print(line)


if __name__ == "__main__":
    main()
