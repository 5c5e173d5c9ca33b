"""A step of `clip train` beside one of open_clip's own loop: `openclip_best` runs both, in the peers' environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cases import Table, compared
from benchmarks.stages import ROOT, THREAD_VARIABLES, Absent
from benchmarks.timing import Times

__all__ = ["as_table", "training_beside"]

ARCH, BATCH = "ViT-S/32", 32
THEIRS, OURS = "open_clip, {}", "clip train, {}"


def training_beside(peers: Path, *, rounds: int) -> tuple[Table, list[str], list[str]]:
    """The table, the version of the peer, nobody left out. Raises Absent when the peers' environment cannot run it."""
    line = [str(peers), "-m", "benchmarks.torchvision_stub", "benchmarks.openclip_best"]
    line += ["--arch", ARCH, "--batch", str(BATCH), "--turn", "1", "--rounds", str(rounds)]
    environment = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    try:
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Absent(f"{peers} cannot be run ({error.strerror})") from error
    if done.returncode:
        raise Absent((done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1])
    found = json.loads(done.stdout)
    return as_table(found), [found["peer"]], []


def as_table(found: Mapping[str, Any]) -> Table:
    """Of what `openclip_best` prints: milliseconds a step, both in both precisions, ratios to open_clip in fp32."""
    rates: Mapping[str, list[float]] = found["rates"]
    steps = {
        (THEIRS if who.startswith("theirs") else OURS).format(who.split(" ", 1)[1]): Times(
            seconds=tuple(found["batch"] / rate for rate in turns)
        )
        for who, turns in sorted(rates.items(), key=lambda pair: not pair[0].startswith("theirs"))
    }

    def told(key: str) -> str:
        ratio = found[key]
        return f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"

    note = (
        f"One step of {found['arch']}, {found['batch']} made pairs with texts as long as Flickr8k's, the same weights "
        "on both sides; open_clip's is its own `train_one_epoch`. How many times as fast clip is, medians of the "
        f"rounds' ratios (least to most): both in fp32 {told('fp32')}, both in bf16 {told('bf16')}, each at its best "
        f"{told('each at its best')}, its best to open_clip's fp32 {told('our best to their fp32')}."
    )
    rows = compared(steps, count=found["batch"], unit="images/s")
    return Table(title="A training step", note=note, rows=rows)
