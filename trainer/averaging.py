"""An exponential moving average of the weights: smoother than the last ones, and what is measured and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """average <- d average + (1 - d) weights after each step, in float32. Counts and other whole numbers are copied.

    d begins small, (1 + t) / (10 + t) at step t, so that the weights a run began with are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay, self.updates = model, decay, 0
        self.values = {name: _exact(tensor) for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """After a step of the optimiser."""
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point():
                self.values[name].lerp_(tensor.to(self.values[name].dtype), weight)
            else:
                self.values[name].copy_(tensor)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the model has the averaged weights."""
        before = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(self.values)
        try:
            yield
        finally:
            self.model.load_state_dict(before)

    def state(self) -> dict[str, object]:
        return {"updates": self.updates, "values": self.values}

    def restore(self, state: Mapping[str, object]) -> None:
        """The inverse of `state`.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError: it is of another model.
        """
        values = state["values"]
        if not isinstance(values, dict) or values.keys() != self.values.keys():
            raise KeyError("average")
        for name, tensor in self.values.items():
            tensor.copy_(values[name])
        self.updates = int(str(state["updates"]))


def _exact(tensor: Tensor) -> Tensor:
    copy = tensor.detach().clone()
    return copy.float() if copy.dtype in (torch.bfloat16, torch.float16) else copy
