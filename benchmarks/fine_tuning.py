"""Does fine-tuning with the usual values improve what it is for, and how much of the rest does it cost.

    python -m benchmarks.fine_tuning BASE --data FOLDER --work FOLDER
    python -m benchmarks.fine_tuning BASE --data FOLDER --work FOLDER --photos 300 --seeds 1 -- --tune lora

BASE is a bundle that never saw Flickr8k: the shipped model's recipe without it. For each number of photographs and each
seed, so many are drawn from flickr8k-train, `clip train` runs on them in a process of its own, with no option but what
stands behind `--`, and the installed model is measured as `benchmarks.dev_figures` does it: Flickr8k dev, which it was
tuned for, and tiny-imagenet and Caltech-101 dev, which it knew. A run whose model is there already is only measured.

The last lines say whether the wanted was reached: recall in the mean up by more than the standard deviation over seeds,
both ways of retrieval, and tiny-imagenet down by no more than two points with any seed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet

from benchmarks.dev_figures import figures
from clipcli.bundle.encoder import Model

LOSS = 2.0  # points of tiny-imagenet that may be lost
COLUMNS = {
    "R@10 text": ("flickr8k-dev", "text_to_image R@10"),
    "R@10 image": ("flickr8k-dev", "image_to_text R@10"),
    "tiny-imagenet": ("tinyimagenet-dev", "top-1"),
    "Caltech-101": ("caltech101-dev", "top-1"),
}


def draw(data: Path, photos: int, seed: int, into: Path) -> Path:
    """A file of so many photographs with all their captions."""
    path = into / f"flickr-{photos}-{seed}.parquet"
    if not path.exists():
        table = pyarrow.parquet.read_table(data / "flickr8k-train.parquet")
        rows = np.random.default_rng((seed, photos)).permutation(table.num_rows)[:photos]
        pyarrow.parquet.write_table(table.take(np.sort(rows)), path)
    return path


def tune(base: Path, pairs: Path, work: Path, seed: int, extra: Sequence[str]) -> tuple[Path, float]:
    """The installed model, and the seconds that `clip train` took; 0 where the model was there."""
    name = pairs.stem + (f"-{hashlib.sha256(repr(extra).encode()).hexdigest()[:8]}" if extra else "")
    bundle, models = work / "models" / name, work / "models"
    if bundle.exists():
        return bundle, 0.0
    models.mkdir(parents=True, exist_ok=True)
    linked = models / "base"
    if not linked.exists():
        linked.symlink_to(base.resolve())
    line = [
        *(sys.executable, "-m", "clipcli", "train", str(pairs), "--from", "base", "--name", name),
        *("--output", str(work / "runs" / name), "--seed", str(seed), *extra),
    ]
    began = time.monotonic()
    with (work / f"{name}.log").open("w") as log:
        subprocess.run(line, check=True, env={**os.environ, "CLIP_MODELS": str(models)}, stdout=log, stderr=log)
    return bundle, time.monotonic() - began


def measure(bundle: Path, data: Path) -> dict[str, float]:
    """Per cent by column, in float32; kept beside the bundle."""
    kept = bundle.with_name(f"{bundle.name}.figures.json")
    if not kept.exists():
        model = Model.load(bundle, device="cpu", precision="fp32")
        files = dict.fromkeys(file for file, _ in COLUMNS.values())
        found: dict[str, Any] = {file: figures(model, data / f"{file}.parquet") for file in files}
        kept.write_text(json.dumps({name: 100 * found[file][key] for name, (file, key) in COLUMNS.items()}))
    values: dict[str, float] = json.loads(kept.read_text())
    return values


def row(head: str, values: Sequence[str]) -> None:
    print(f"| {head} | {' | '.join(values)} |", flush=True)


def judged(before: dict[str, float], after: Sequence[dict[str, float]]) -> bool:
    """In the mean more than the spread of the seeds in both recalls, and little lost with any seed."""
    gained = all(
        statistics.mean(each[name] for each in after) > before[name] + spread(after, name) for name in list(COLUMNS)[:2]
    )
    return gained and min(each["tiny-imagenet"] for each in after) >= before["tiny-imagenet"] - LOSS


def spread(runs: Sequence[dict[str, float]], name: str) -> float:
    """Standard deviation over seeds; 0 of one run."""
    return statistics.stdev(each[name] for each in runs) if len(runs) > 1 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of flickr8k-train.parquet and the dev files")
    parser.add_argument("--work", type=Path, required=True, help="folder for runs and models; can be gone on with")
    parser.add_argument("--photos", type=int, nargs="+", default=[300, 3000])
    parser.add_argument("--seeds", type=int, default=3)
    line, extra = sys.argv[1:], []
    if "--" in line:
        at = line.index("--")
        line, extra = line[:at], line[at + 1 :]
    chosen = parser.parse_args(line)
    chosen.work.mkdir(parents=True, exist_ok=True)
    link = chosen.work / "start"
    if not link.exists():
        link.symlink_to(chosen.base.resolve())
    before = measure(link, chosen.data)
    row("photographs, seed", [*COLUMNS, "seconds"])
    row("---", ["---:"] * (len(COLUMNS) + 1))
    row("start", [*(f"{before[name]:.2f}" for name in COLUMNS), ""])
    verdicts = []
    for photos in chosen.photos:
        runs = []
        for seed in range(chosen.seeds):
            bundle, seconds = tune(chosen.base, draw(chosen.data, photos, seed, chosen.work), chosen.work, seed, extra)
            runs.append(measure(bundle, chosen.data))
            row(f"{photos:,}, {seed}", [*(f"{runs[-1][name]:.2f}" for name in COLUMNS), f"{seconds:.0f}"])
        means = [f"{statistics.mean(each[name] for each in runs):.2f} ± {spread(runs, name):.2f}" for name in COLUMNS]
        row(f"{photos:,}, mean", [*means, ""])
        verdicts.append(f"{photos:,} photographs: {'reached' if judged(before, runs) else 'not reached'}")
    print("\n".join(verdicts))


if __name__ == "__main__":
    main()
