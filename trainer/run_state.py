"""What a run goes on from: all that its next step depends on, as a checkpoint holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clipcli.errors import DataError
from trainer.checkpoints import Checkpoint
from trainer.optimiser import state_of_optimiser

if TYPE_CHECKING:
    from trainer.loop import Fit

__all__ = ["restore", "state_of"]


def state_of(fit: Fit) -> Checkpoint:
    """All that the next step depends on; batches depend on the step's number and the seed alone."""
    return {
        "model": fit.model.state_dict(),
        "extra": fit.objective.extra.state_dict(),
        "optimiser": state_of_optimiser(fit.optimiser, fit.processes),
        "scaler": fit.scaler.state_dict(),
        "step": fit.step_number,
        "best": fit.best,
        "waited": fit.waited,
        **fit.record.state(),
        "rows": fit.maker.plan.rows,
        "rate_factor": fit.rate_factor,
        "broken": fit.broken.state(),
        "average": fit.average and fit.average.state(),
    }


def restore(fit: Fit, state: Checkpoint) -> None:
    """The inverse of `state_of`.

    Raises:
        DataError: the state is not of this run, or the data has changed too much since.
    """
    try:
        fit.model.load_state_dict(state["model"])
        fit.objective.extra.load_state_dict(_extra(state))
        fit.optimiser.load_state_dict(state["optimiser"])
        fit.scaler.load_state_dict(state["scaler"])
        fit.record.restore(state)
        fit.step_number, fit.best = int(state["step"]), float(state["best"])
        fit.rate_factor = float(state.get("rate_factor", 1.0))
        if fit.average is not None:
            fit.average.restore(state["average"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        lines = str(error).splitlines()
        reason = lines[1 if len(lines) > 1 else 0].strip() if lines else type(error).__name__
        raise DataError(
            f"what is saved in {fit.folder} does not fit the towers and the labels of the data, "
            f"which must be those the run began with: {reason}"
        ) from error
    fit.waited = int(state.get("waited", 0))
    fit.broken.restore(state.get("broken", ()))
    rows = state.get("rows", fit.maker.plan.rows)
    if rows != fit.maker.plan.rows:
        fit.record.say(
            f"the data has {fit.maker.plan.rows:,} pairs to train on now, and had {rows:,} when this was saved: "
            "the rest of the run will not be what it would have been"
        )


def _extra(state: Checkpoint) -> dict[str, Any]:
    """Parameters beside the towers'. Earlier versions had the classifier of labels only, under its own name."""
    if "extra" not in state and "label_head" in state:
        return {f"label_head.{name}": tensor for name, tensor in state["label_head"].items()}
    return dict(state["extra"])
