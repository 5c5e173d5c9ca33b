"""The figures of a run while it goes: told to the person, written to `metrics.jsonl`, drawn by TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from trainer.checkpoints import append_metrics, trim_metrics
from trainer.curves import write_curves
from trainer.pace import Pace, Progress
from trainer.step import Update

__all__ = ["Record", "Reporter", "Silent"]


class Reporter(Protocol):
    """How a run tells a person where it stands."""

    def say(self, line: str) -> None: ...

    def step(self, done: int, total: int, now: Progress) -> None: ...

    def epoch(self, metrics: dict[str, Any]) -> None: ...


class Silent:
    """The reporter of a process that is not the one to speak."""

    def begin(self, *_: object) -> Callable[[int], None]:
        return self.summary

    def summary(self, *_: object) -> None: ...

    def say(self, *_: object) -> None: ...

    def step(self, *_: object) -> None: ...

    def epoch(self, *_: object) -> None: ...

    def walked(self, *_: object) -> None: ...


class Record:
    """Sums up steps. Only the `lead` of several processes writes and tells."""

    def __init__(self, run: Path, reporter: Reporter, *, every: int, lead: bool = True) -> None:
        self.folder, self.reporter, self.every, self.lead = run, reporter, every, lead
        self.losses: list[float] = []  # of this epoch
        self.recent: list[Update] = []  # since the last line of steps
        self.unseen: list[dict[str, Any]] = []  # lines that TensorBoard has not got yet
        self.pace = Pace()

    def say(self, line: str) -> None:
        if self.lead:
            self.reporter.say(line)

    def step(self, update: Update, *, step: int, steps: int, images: int) -> None:
        """Step `step` of `steps` with so many pictures is done."""
        self.losses.append(update.loss)
        self.recent.append(update)
        self.pace.step(images)
        now = Progress(
            loss=update.loss,
            images_per_s=self.pace.images_per_s,
            logit_scale=update.logit_scale,
            learning_rate=update.learning_rate,
            gradient_norm=update.gradient_norm,
            seconds_left=self.pace.seconds_left(steps - step),
        )
        if self.every and step % self.every == 0:
            self._write_steps(now, step, images)
        if self.lead:
            self.reporter.step(step, steps, now)

    def _write_steps(self, now: Progress, step: int, images: int) -> None:
        """A line for the steps since the last one: means, and where things stand."""
        # In fp16 a step whose gradient overflows is left out, and has no length.
        lengths = [update.gradient_norm for update in self.recent if math.isfinite(update.gradient_norm)]
        line = {
            "step": step,
            "of_steps": len(self.recent),
            "images": step * images,
            "loss": sum(update.loss for update in self.recent) / len(self.recent),
            "gradient_norm": sum(lengths) / max(1, len(lengths)),
            "learning_rate": now.learning_rate,
            "logit_scale": now.logit_scale,
            "images_per_s": round(now.images_per_s, 1),
        }
        self.recent = []
        self._write(line)

    def epoch(self, line: dict[str, Any]) -> None:
        """An epoch is done and measured."""
        self.losses = []
        self._write(line)
        if self.lead:
            self.reporter.epoch(line)

    def _write(self, line: dict[str, Any]) -> None:
        if self.lead:
            self.unseen.append(line)
            append_metrics(self.folder, line)

    def saved(self) -> None:
        """What is recorded so far belongs to a state that is on disk."""
        write_curves(self.folder, self.unseen)
        self.unseen = []

    def back_to(self, step: int) -> None:
        """What came after `step` did not happen."""
        self.unseen = [line for line in self.unseen if line["step"] <= step]
        if self.lead:
            trim_metrics(self.folder, step)

    def state(self) -> dict[str, Any]:
        return {"losses": list(self.losses), "recent": [asdict(update) for update in self.recent]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`; earlier versions had no lines of steps. Raises KeyError, TypeError."""
        self.losses = list(state["losses"])
        self.recent = [Update(**values) for values in state.get("recent", ())]
