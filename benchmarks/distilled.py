"""What learning from the shipped model adds to a small one, by the weights of similarities and of features.

    clip export starter --precision fp32 --output TEACHER --no-install
    python -m benchmarks.distilled --data FOLDER --teacher TEACHER [--each 10] [--epochs 8] [--seeds 1] [--weights ...]

`FOLDER/caltech101-train.parquet` gives `--each` pictures of each class, `caltech101-dev.parquet` what is measured on:
zero-shot top-1 of a RN-nano-64-bag after the last epoch, and the loss of the pairs in that epoch.
The teacher has seen these classes in its own training. `--weights` are pairs of `distill_weight` and
`distill_features`; 0,0 is without a teacher. All runs of a seed see the same pictures in the same order.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet

from trainer.options import TrainOptions
from trainer.record import Silent
from trainer.run import train


class Through(Exception):
    """The last epoch is measured; what follows would make a bundle of it."""


class Watching(Silent):
    """Keeps what each epoch was like."""

    def __init__(self, epochs: int) -> None:
        self.epochs, self.lines = epochs, list[dict[str, Any]]()

    def epoch(self, *told: Any) -> None:
        self.lines += told
        if len(self.lines) == self.epochs:
            raise Through


def few(source: Path, each: int, target: Path) -> Path:
    """The first `each` pictures of each class."""
    table: Any = pyarrow.parquet.read_table(source)
    seen: Counter[str] = Counter()
    chosen = []
    for place, label in enumerate(table["label"].to_pylist()):
        seen[label] += 1
        if seen[label] <= each:
            chosen.append(place)
    pyarrow.parquet.write_table(table.take(chosen), target)
    return target


def measured(
    data: Path, held: Path, teacher: Path, run: Path, weights: tuple[float, float], *, epochs: int, seed: int
) -> dict[str, Any]:
    told = Watching(epochs)
    taught: dict[str, Any] = {"distill": str(teacher), "distill_weight": weights[0], "distill_features": weights[1]}
    options = TrainOptions(
        data=(str(data),), validation=(str(held),), arch="RN-nano-64-bag", epochs=float(epochs), batch_size=128,
        lr=2e-3, seed=seed, device="cpu", **(taught if any(weights) else {}),
    )  # fmt: skip
    with contextlib.suppress(Through):
        train(options, run, told)
    top1 = [round(next(value for name, value in line.items() if name.endswith("/top1")), 4) for line in told.lines]
    return {"similarities": weights[0], "features": weights[1], "seed": seed, "top1": top1,
            "loss_of_pairs": round(told.lines[-1]["loss"], 3)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--weights", nargs="+", default=["0,0", "1,1", "1,0", "0,1", "10,1"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pairs = few(given.data / "caltech101-train.parquet", given.each, Path(folder) / "pairs.parquet")
        for seed in range(given.seeds):
            for text in given.weights:
                one, other = map(float, text.split(","))
                run = Path(folder) / f"{text}-{seed}"
                held = given.data / "caltech101-dev.parquet"
                found = measured(pairs, held, given.teacher, run, (one, other), epochs=given.epochs, seed=seed)
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
