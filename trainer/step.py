"""One update: the gradient of an objective on a batch, its length limited, then the optimiser.

What is learnt (`Objective`), how the gradient of it is got (`Gradient`) and which parameters move (those of the
optimiser's groups) are three things; none knows the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trainer.sampling import Batch

__all__ = ["Gradient", "Loss", "NotFinite", "Objective", "Step", "Update", "plain_gradient"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """Scalars."""

    total: Tensor  # what is made smaller
    shown: Tensor  # what a person is told: without side terms, so that runs with and without them compare


class Objective(Protocol):
    """What is computed from a batch."""

    @property
    def extra(self) -> nn.Module:
        """Parameters beside the towers'; saved with the state of the run and dropped at its end. May have none."""

    def loss(self, batch: Batch) -> Loss: ...

    def after_update(self) -> None:
        """Called after each step of the optimiser, as for limits on parameters."""


class Gradient(Protocol):
    """Leaves the gradient of `scale(loss.total)` in the parameters, which have none before; returns the loss."""

    def __call__(self, objective: Objective, batch: Batch, scale: Callable[[Tensor], Tensor]) -> Loss: ...


def plain_gradient(objective: Objective, batch: Batch, scale: Callable[[Tensor], Tensor]) -> Loss:
    """All at once."""
    loss = objective.loss(batch)
    torch.autograd.backward(scale(loss.total))
    return loss


class NotFinite(Exception):
    """The loss or its gradient is not finite; no parameter was changed. The message says which: "loss", "gradient"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """What one step was like."""

    loss: float
    gradient_norm: float  # before its length is limited
    learning_rate: float
    logit_scale: float  # that the loss was computed with


class Step:
    """Changes parameters. A group of the optimiser may have an `lr_scale`, a factor to the learning rate."""

    def __init__(
        self,
        objective: Objective,
        optimiser: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        *,
        max_grad_norm: float,
        gradient: Gradient = plain_gradient,
        logit_scale: Tensor,
    ) -> None:
        self.objective, self.optimiser, self.scaler = objective, optimiser, scaler
        self.max_grad_norm, self.gradient, self.logit_scale = max_grad_norm, gradient, logit_scale

    def __call__(self, batch: Batch, learning_rate: float) -> Update:
        """One update.

        Raises:
            NotFinite: the loss or its gradient is not; no parameter was changed.
        """
        groups: list[dict[str, Any]] = self.optimiser.param_groups
        for group in groups:
            group["lr"] = learning_rate * group.get("lr_scale", 1.0)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.gradient(self.objective, batch, self.scaler.scale)
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(
            [parameter for group in groups for parameter in group["params"]], self.max_grad_norm
        )
        # One look at the device a step: each waits until it has done everything.
        seen = [loss.total, loss.shown, norm, self.logit_scale.exp()]
        total, shown, length, scale = torch.stack([value.detach().to(loss.total) for value in seen]).tolist()
        if not math.isfinite(total):
            raise NotFinite("loss")
        if not math.isfinite(length) and not self.scaler.is_enabled():  # the scaler knows what to do about it
            raise NotFinite("gradient")
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.objective.after_update()
        return Update(loss=shown, gradient_norm=length, learning_rate=learning_rate, logit_scale=scale)
