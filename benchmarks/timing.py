"""Fair times: the candidates take turns, so that a machine that warms up or gets busy treats all of them alike."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Times", "interleaved", "process"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """What repeated runs of one candidate took."""

    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median."""
        if len(self.seconds) < 4:
            return (max(self.seconds) - min(self.seconds)) / 2 / self.median_s
        first, _, third = statistics.quantiles(self.seconds, n=4)
        return (third - first) / 2 / self.median_s


def interleaved(candidates: Mapping[str, Callable[[], float | None]], *, rounds: int) -> dict[str, Times]:
    """Each candidate once per round, in alternating order, after one round that is not counted.

    One that has taken its own time returns the seconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        names = list(candidates) if number % 2 else list(reversed(candidates))
        for name in names:
            begin = time.perf_counter()
            own = candidates[name]()
            if number:
                taken[name].append(time.perf_counter() - begin if own is None else own)
    return {name: Times(seconds=tuple(seconds)) for name, seconds in taken.items()}


def process(
    command: Sequence[str] | Callable[[], Sequence[str]],
    environment: Mapping[str, str] | None = None,
    *,
    folder: Path | None = None,
) -> Callable[[], None]:
    """The whole of a command, from starting its process in `folder` to its end; a failure is an error.

    A command that is not to be the same each time is asked for each time.
    """

    def run() -> None:
        line = command() if callable(command) else command
        done = subprocess.run(
            line, env=environment, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(line)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")

    return run
