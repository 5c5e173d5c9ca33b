"""What a run folder says of its run: whether it is through, and how good what it kept is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from trainer import checkpoints
from trainer.options import TrainOptions
from trainer.resolution import enlarged_at

__all__ = ["best_metrics", "is_finished"]


def is_finished(run: Path) -> bool:
    """Whether `run` holds a run whose last epoch was measured. Raises DataError where its options are damaged."""
    if not (run / "options.json").is_file():
        return False
    lines = checkpoints.read_metrics(run)
    epochs = [line["epoch"] for line in lines if "epoch" in line]
    if TrainOptions.load(run).final_resolution:
        begin = enlarged_at(checkpoints.read_facts(run))
        return bool(begin) and any(line["step"] > begin for line in lines)
    if any(line.get("stopped_early") for line in lines):
        return True
    return bool(epochs) and max(epochs) >= math.ceil(TrainOptions.load(run).epochs)


def best_metrics(run: Path) -> dict[str, Any]:
    """The line of the epoch whose weights were kept; the later of equals, as the loop keeps them.

    Where they went back towards the start, the figures are those of what came of it.
    """
    begin = enlarged_at(checkpoints.read_facts(run)) if (run / checkpoints.FACTS).exists() else 0
    lines = [line for line in checkpoints.read_metrics(run) if "score" in line and (not begin or line["step"] > begin)]
    best = dict(max(reversed(lines), key=lambda line: float(line["score"]))) if lines else {}
    walked = checkpoints.read_walk(run)
    row = next((row for row in walked.get("rows", []) if row["anchor"] == walked["chosen"] and row["anchor"]), None)
    return best if row is None else {**best, **row["metrics"], "score": row["score"], "anchor": row["anchor"]}
