"""How much memory a command holds at its peak, the processes it starts included. Linux only.

Each page is counted once, however many of the processes share it (PSS, proc(5)).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["peak_of"]

_LOOK_EVERY_S = 0.05


def peak_of(command: Sequence[str], environment: Mapping[str, str], *, folder: Path | None = None) -> int:
    """Bytes. Raises RuntimeError where the command fails."""
    running = subprocess.Popen(
        command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    peak = 0
    while running.poll() is None:
        peak = max(peak, sum(_share(number) for number in _family(running.pid)))
        time.sleep(_LOOK_EVERY_S)
    if running.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} ended with {running.returncode}")
    return peak


def _family(number: int) -> list[int]:
    found = [number]
    try:
        for task in os.listdir(f"/proc/{number}/task"):
            for child in Path(f"/proc/{number}/task/{task}/children").read_text().split():
                found += _family(int(child))
    except OSError:  # it has ended in the meantime
        return found
    return found


def _share(number: int) -> int:
    try:
        for line in Path(f"/proc/{number}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0
