"""Training beside OpenCLIP's own loop in fp32 and in bf16, all four in turns: which is each one's best, and the ratios.

    python -m benchmarks.openclip_best [--arch ViT-S/32] [--batch 32] [--turn 4] [--rounds 6] [--compile]

`--compile` adds OpenCLIP in bf16 with its own `--torchcompile`, which takes a minute to begin with.

For the environment and with the material of `benchmarks.openclip_training`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.openclip_training import DEVICE, Ours, Theirs, made_batch
from trainer.architectures import architecture
from trainer.towers import Clip

SIDES = ("ours", "theirs")


def best(name: str, count: int, turn: int, rounds: int, *, compile: bool = False) -> dict[str, Any]:
    """Pictures a second of both in fp32 and in bf16, all in turns, and the ratios of ours to theirs."""
    config = dataclasses.replace(architecture(name), activation="gelu")
    batches = [made_batch(config, count, step) for step in range(turn)]
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, Any] = {}
        for precision in ("fp32", "bf16"):
            torch.manual_seed(0)
            model = Clip(config)
            runs[f"theirs {precision}"] = Theirs(model, batches, 1e-4, precision).run
            (Path(folder) / precision).mkdir()
            if compile and precision == "bf16":
                compiled = Theirs(model, batches, 1e-4, precision)
                compiled.model = torch.compile(compiled.model)
                runs[f"theirs {precision} compiled"] = compiled.run
            runs[f"ours {precision}"] = Ours(model, batches, 1e-4, precision, Path(folder) / precision).run
        for number in range(rounds + 1):
            for who, run in runs.items():
                begun = time.perf_counter()
                run()
                if DEVICE != "cpu":
                    torch.cuda.synchronize()
                if number:  # the first warms up
                    rates.setdefault(who, []).append(count * len(batches) / (time.perf_counter() - begun))

    def ratios(ours: str, theirs: str) -> dict[str, float]:
        found = [one / other for one, other in zip(rates[ours], rates[theirs], strict=True)]
        return {
            "median": round(statistics.median(found), 3),
            "least": round(min(found), 3),
            "most": round(max(found), 3),
        }

    medians = {who: statistics.median(found) for who, found in rates.items()}
    fastest = {side: max((who for who in medians if who.startswith(side)), key=medians.__getitem__) for side in SIDES}
    return {
        "peer": f"open_clip_torch {version('open_clip_torch')}",
        "arch": name, "batch": count, "device": DEVICE, "threads": torch.get_num_threads(), "rounds": rounds,
        "images_per_s": {who: round(rate, 1) for who, rate in medians.items()},
        "rates": {who: [round(rate, 3) for rate in found] for who, found in rates.items()},
        "fp32": ratios("ours fp32", "theirs fp32"), "bf16": ratios("ours bf16", "theirs bf16"),
        "best": fastest, "each at its best": ratios(fastest["ours"], fastest["theirs"]),
        "our best to their fp32": ratios(fastest["ours"], "theirs fp32"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", default="ViT-S/32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turn", type=int, default=4, help="steps a turn")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.INFO)
    print(json.dumps(best(given.arch, given.batch, given.turn, given.rounds, compile=given.compile), indent=1))


if __name__ == "__main__":
    main()
