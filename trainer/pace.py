"""What is told of a run while it goes: loss, rates, and how long it will still take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Pace", "Progress"]

WINDOW = 50  # steps that a rate is the mean of


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How things stand after a step."""

    loss: float
    images_per_s: float  # of the last steps; measuring and saving not counted
    logit_scale: float
    learning_rate: float
    gradient_norm: float  # before its length is limited
    seconds_left: float


class Pace:
    """Pictures a second over the last steps. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.took, self.images = clock, deque[float](maxlen=WINDOW), deque[int](maxlen=WINDOW)
        self.since = clock()

    def go_on(self) -> None:
        """What was done since the last step is not part of the next one."""
        self.since = self.clock()

    def step(self, images: int) -> None:
        """A step with so many pictures is done."""
        now = self.clock()
        self.took.append(max(now - self.since, 1e-9))
        self.images.append(images)
        self.since = now

    @property
    def images_per_s(self) -> float:
        return sum(self.images) / sum(self.took) if self.took else 0.0

    def seconds_left(self, steps: int) -> float:
        """For so many further steps; epochs' ends are not counted."""
        return steps * sum(self.took) / len(self.took) if self.took else 0.0
