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
    require_finite(loss)
    torch.autograd.backward(scale(loss.total))
    return loss


class NotFinite(Exception):
    """The loss is not finite; nothing was changed."""


def require_finite(loss: Loss) -> None:
    """Raises NotFinite."""
    if not math.isfinite(loss.total.item()):
        raise NotFinite


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """What one step was like."""

    loss: float
    gradient_norm: float  # before its length is limited
    learning_rate: float


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
    ) -> None:
        self.objective, self.optimiser, self.scaler = objective, optimiser, scaler
        self.max_grad_norm, self.gradient = max_grad_norm, gradient

    def __call__(self, batch: Batch, learning_rate: float) -> Update:
        """One update.

        Raises:
            NotFinite: the loss is not; no parameter was changed.
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
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.objective.after_update()
        return Update(loss=loss.shown.item(), gradient_norm=norm.item(), learning_rate=learning_rate)
