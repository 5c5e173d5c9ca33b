"""A run killed with SIGKILL at random steps and resumed, against one left alone: are the final weights the same bits?

    python -m benchmarks.killed_training [--steps 300] [--kills 3] [--seed 0]

Each life is `clip train` as a process of its own on made-up pictures; it is killed while it computes the chosen step,
wherever that is in its cycle of saving. What is compared: every tensor of the last checkpoint, and the best weights.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

PAIRS, HELD_OUT, BATCH, SAVE_EVERY = 200, 40, 8, 7


def write_pairs(folder: Path) -> Path:
    """Pictures that all differ, each with a sentence of its own."""
    luck = np.random.default_rng(0)
    lines = ["image,caption"]
    for number in range(PAIRS + HELD_OUT):
        small = Image.fromarray(luck.integers(0, 256, size=(4, 4, 3), dtype=np.uint8))
        small.resize((64, 64)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,picture number {number} of {luck.choice(['red', 'green', 'blue'])} things")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "pairs.csv"


def start(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """`clip train` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "clipcli", "train", *arguments],
        env={**os.environ, "CLIP_MODELS": str(folder / "models")},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def last_step(run: Path) -> int:
    """Of the lines of figures, one a step."""
    try:
        lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
        return max((int(json.loads(line)["step"]) for line in lines), default=0)
    except (FileNotFoundError, ValueError):
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    at = sorted(random.Random(given.seed).sample(range(2, given.steps), given.kills))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = write_pairs(folder)
        recipe = folder / "recipe.toml"
        recipe.write_text(
            f"epochs = {given.steps * BATCH / PAIRS}\nbatch_size = {BATCH}\nsave_every_steps = {SAVE_EVERY}\n"
            f"log_every_steps = 1\nvalidation_limit = {HELD_OUT}\nvalidation_share = 0.5\nflip = true\n"
            'ema_decay = 0.99\nprecision = "fp32"\n',
            "utf-8",
        )
        begin = [
            str(pairs),
            "--scratch",
            "--arch",
            "ViT-nano-64/8",
            "--recipe",
            str(recipe),
            "--device",
            "cpu",
            "--threads",
            "1",
            "--output",
        ]
        straight, killed = folder / "straight", folder / "killed"
        if start([*begin, str(straight), "--name", "straight"], folder).wait():
            raise SystemExit("the run that was left alone failed")
        life = start([*begin, str(killed), "--name", "killed"], folder)
        found: list[int] = []
        for step in at:
            while last_step(killed) < step:
                if life.poll() is not None:
                    raise SystemExit(f"a life ended before step {step}")
                time.sleep(0.002)
            life.send_signal(signal.SIGKILL)
            life.wait()
            found.append(last_step(killed))
            life = start(["--resume", str(killed)], folder)
        if life.wait():
            raise SystemExit("the last life failed")
        one, other = (torch.load(run / "checkpoint.pt", weights_only=True) for run in (straight, killed))
        differing = [key for key in one["model"] if not torch.equal(one["model"][key], other["model"][key])]
        moments = one["optimiser"]["state"], other["optimiser"]["state"]
        alike = all(
            torch.equal(moments[0][number][key], moments[1][number][key])
            for number in moments[0]
            for key in moments[0][number]
        )
        print(
            json.dumps(
                {
                    "steps": one["step"],
                    "killed_after_steps": found,
                    "tensors": len(one["model"]),
                    "tensors_that_differ": len(differing),
                    "moments_alike": alike,
                    "best_alike": (straight / "best.safetensors").read_bytes()
                    == (killed / "best.safetensors").read_bytes(),
                }
            )
        )


if __name__ == "__main__":
    main()
