"""Peak memory of one real step of a large batch.

    python -m benchmarks.large_batch_memory [--arch ViT-S/32] [--pairs 4096] [--chunk 32]

Pictures of noise are written, `trainer.run.train` is run on them for one step from nothing, and what the process held
at most is printed: decoded pictures, the batch, both towers, gradients and the optimiser's moments.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from trainer.allocation import keep_freed_memory
from trainer.options import TrainOptions
from trainer.run import train

HELD_OUT = 16
WORDS = ("red", "green", "blue", "small", "large", "round", "old", "new", "near", "far", "wooden", "metal", "bright")


class Quiet:
    """A reporter that only notes when the step was done."""

    def __init__(self) -> None:
        self.begun = time.monotonic()

    def begin(self, *_: object) -> Callable[[int], None]:
        return self.epoch

    def summary(self, *_: object) -> None: ...

    def say(self, line: str) -> None:
        print(line, flush=True)

    def step(self, *_: object) -> None:
        print(f"step done after {time.monotonic() - self.begun:.0f} s, peak {peak_gib():.2f} GiB", flush=True)

    def epoch(self, *_: object) -> None: ...


def peak_gib() -> float:
    """Of this process; of the largest of its children where that is more."""
    kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kib / 2**20


def write_pairs(folder: Path, count: int) -> Path:
    """`count` different pictures of 256 pixels, each with a sentence of its own."""
    random = np.random.default_rng(0)
    lines = ["image,caption"]
    for number in range(count):
        small = Image.fromarray(random.integers(0, 256, size=(16, 16, 3), dtype=np.uint8))
        small.resize((256, 256)).save(folder / f"{number}.jpg", quality=80)
        said = " ".join(WORDS[at] for at in random.integers(len(WORDS), size=int(random.integers(6, 16))))
        lines.append(f"{number}.jpg,{said} {number}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "pairs.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="ViT-S/32")
    parser.add_argument("--pairs", type=int, default=4096)
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    keep_freed_memory()  # as `clip train` does
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_pairs(folder, given.pairs + HELD_OUT)
        options = TrainOptions(
            data=(str(data),), arch=given.arch, epochs=1.0, batch_size=given.pairs, chunk_size=given.chunk,
            precision=given.precision, device="cpu", validation_limit=HELD_OUT, validation_share=0.5, lr=1e-4,
        )  # fmt: skip
        begun = time.monotonic()
        train(options, folder / "run", Quiet())
        found = vars(given) | {
            "peak_gib": round(peak_gib(), 2),
            "seconds": round(time.monotonic() - begun),
            "threads": torch.get_num_threads(),
        }
        print(json.dumps(found))


if __name__ == "__main__":
    main()
