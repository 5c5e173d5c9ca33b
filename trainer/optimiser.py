"""AdamW, its two groups of parameters, and the learning rate over time (Radford et al. 2021, sections 2.5 and F)."""

from __future__ import annotations

import math

import torch
from torch import nn

from trainer.half_precision import HalfAdamW
from trainer.options import TrainOptions
from trainer.tuning import layer_scales

__all__ = ["LearningRate", "make_optimiser"]

GAINS = (nn.LayerNorm, nn.modules.batchnorm._BatchNorm)  # the public classes of batch norm share only this parent


def make_optimiser(modules: list[nn.Module], options: TrainOptions) -> torch.optim.Optimizer:
    """Decoupled weight decay "on all weights that are not gains or biases" (section 2.5); a group for each rate."""
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
    betas, eps = (0.9, options.beta2), 1e-6
    if options.half_moments or options.half_text:
        return HalfAdamW(
            groups, lr=options.lr, betas=betas, eps=eps, half_moments=options.half_moments, seed=options.seed
        )
    return torch.optim.AdamW(groups, lr=options.lr, betas=betas, eps=eps, fused=True)


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
