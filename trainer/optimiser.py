"""AdamW, its two groups of parameters, and the learning rate over time (Radford et al. 2021, sections 2.5 and F)."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import nn

from trainer.half_precision import HalfAdamW
from trainer.options import TrainOptions
from trainer.processes import Processes
from trainer.tuning import layer_scales

__all__ = ["LearningRate", "forget", "make_optimiser", "state_of_optimiser"]

GAINS = (nn.LayerNorm, nn.modules.batchnorm._BatchNorm)  # the public classes of batch norm share only this parent


def make_optimiser(
    modules: list[nn.Module], options: TrainOptions, processes: Processes | None = None
) -> torch.optim.Optimizer:
    """Decoupled weight decay "on all weights that are not gains or biases" (section 2.5); a group for each rate.

    With `shard_optimiser` each of several processes keeps the moments of its share of the weights, updates these, and
    sends them to the others (ZeRO stage 1, Rajbhandari et al. 2020).
    """
    sorted_out: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, False): [], (1.0, True): []}
    for module in modules:
        scales = layer_scales([name for name, _ in module.named_parameters()], options.layer_decay)
        gains = {id(p) for part in module.modules() if isinstance(part, GAINS) for p in part.parameters(recurse=False)}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            is_plain = id(parameter) in gains or name.endswith("bias") or name in ("logit_scale", "logit_bias")
            sorted_out.setdefault((scales[name], is_plain), []).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": 0.0 if is_plain else options.weight_decay, "lr_scale": scale}
        for (scale, is_plain), parameters in sorted_out.items()
    ]
    # Table 18 of the paper: beta1 0.9, epsilon 1e-6 for Vision Transformers.
    chosen: dict[str, Any] = {"lr": options.lr, "betas": (0.9, options.beta2), "eps": 1e-6}
    kind: type[torch.optim.Optimizer] = torch.optim.AdamW
    if options.half_moments or options.half_text:
        kind = HalfAdamW
        chosen |= {"half_moments": options.half_moments, "seed": options.seed}
    else:
        chosen["fused"] = True
    if options.shard_optimiser and processes is not None and processes.world > 1:
        made: torch.optim.Optimizer = _sharded()([group for group in groups if group["params"]], kind, **chosen)
        return made
    make: Any = kind
    made = make(groups, **chosen)
    return made


def _sharded() -> Any:
    """Imported where it is used: its neighbours warn of what they use themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from torch.distributed.optim import ZeroRedundancyOptimizer
    return ZeroRedundancyOptimizer


def state_of_optimiser(optimiser: Any, processes: Processes) -> dict[str, Any]:
    """As `state_dict`, whole in the lead, also where each process has a share of it."""
    if hasattr(optimiser, "consolidate_state_dict"):
        optimiser.consolidate_state_dict(to=0)
        if not processes.lead:
            return {}
    return dict(optimiser.state_dict())


def forget(optimiser: Any) -> None:
    """As if no step had been taken."""
    getattr(optimiser, "optim", optimiser).state.clear()


class LearningRate:
    """Linear warm-up to the peak, then half a cosine down to zero."""

    def __init__(self, *, peak: float, steps: int, warmup: float) -> None:
        self.peak, self.steps, self.warmup_steps = peak, steps, round(warmup * steps)

    def __call__(self, step: int) -> float:
        """The rate of step `step`, which counts from 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.peak * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
