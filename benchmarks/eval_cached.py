"""How long `clip eval zero-shot` takes, whole process, when all embeddings are known.

    python -m benchmarks.eval_cached FOLDER [--pictures 10000] [--classes 200]

Makes that many small pictures in class folders, measures once (which fills a cache in FOLDER) and then five times more.
One line of JSON, seconds: each run, their median, and that of processor time (much the same on a busy machine).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image


def make_pictures(folder: Path, pictures: int, classes: int) -> None:
    """Noise at 8 x 8, enlarged to photographs of 256 x 192: about 10 kB each, no two alike."""
    random = np.random.default_rng(0)
    for number in range(pictures):
        file = folder / f"class {number % classes}" / f"{number}.jpg"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            small = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            small.resize((256, 192), Image.Resampling.BICUBIC).save(file, quality=90)


def seconds(folder: Path) -> tuple[float, float]:
    """One measurement, in a process of its own: by the clock, and of the processor."""
    surroundings = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "clipcli", "eval", "zero-shot", str(folder / "pictures"), "--format", "json"]
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, env=surroundings, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    taken, after = time.perf_counter() - start, os.times()
    worked = after.children_user + after.children_system - before.children_user - before.children_system
    return taken, worked


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=200)
    chosen = parser.parse_args()
    make_pictures(chosen.folder / "pictures", chosen.pictures, chosen.classes)
    first, _ = seconds(chosen.folder)
    again = [seconds(chosen.folder) for _ in range(5)]
    print(json.dumps({
        "pictures": chosen.pictures,
        "classes": chosen.classes,
        "first": round(first, 2),
        "again": [round(taken, 2) for taken, _ in again],
        "median": round(statistics.median(taken for taken, _ in again), 2),
        "processor": round(statistics.median(worked for _, worked in again), 2),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
