"""The lines of `metrics.jsonl` as TensorBoard events too: `tensorboard --logdir RUN/tensorboard`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["write_curves"]

PLACES = ("step", "epoch", "of_steps")  # where a line is from, and nothing to draw


def write_curves(run: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """One event a number, at the step its line names; those of steps stand by themselves, as `steps/loss`.

    A file per call: nothing stays open that a kill could cut.
    """
    written = list(lines)
    if not written:
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run / "tensorboard"), filename_suffix=f".{written[-1]['step']}") as writer:
        for line in written:
            prefix = "steps/" if "of_steps" in line else ""
            for name, value in line.items():
                if name not in PLACES and isinstance(value, int | float):
                    writer.add_scalar(prefix + name, value, int(line["step"]))
