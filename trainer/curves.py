"""The lines of `metrics.jsonl` as TensorBoard events too: `tensorboard --logdir RUN/tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["write_curves"]


def write_curves(run: Path, metrics: Mapping[str, Any]) -> None:
    """One event a number, at the step the line names. A file per call: nothing stays open that a kill could cut."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run / "tensorboard"), filename_suffix=f".{metrics['step']}") as writer:
        for name, value in metrics.items():
            if name not in ("step", "epoch") and isinstance(value, int | float):
                writer.add_scalar(name, value, int(metrics["step"]))
