"""AdamW whose moments take half the memory, and weights that do (Radford et al. 2021, section 2.5).

The paper keeps Adam's moments and the text tower's weights in 16 bits. Rounding to the nearest would lose every change
smaller than half of the last digit, which is most of them; rounded at random, up as often as the rest is large, no
change is lost on average (Dhariwal et al. 2020, section 3.1 of the appendix: "stochastic rounding"). The format is
bfloat16, which has the exponents of float32, so that squares of small gradients do not vanish.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from clipcli.errors import UsageError
from trainer.device import Compute
from trainer.options import TrainOptions
from trainer.towers import Clip
from trainer.transformer import Transformer

__all__ = ["HalfAdamW", "prepare_memory", "round_at_random"]

LOST_BITS = 16  # of a float32 that bfloat16 has no room for


def round_at_random(values: Tensor, generator: torch.Generator) -> Tensor:
    """float32 to bfloat16: one of both neighbours, so that the expected value is exact. Infinities and NaN stay."""
    bits = values.contiguous().view(torch.int32)
    noise = torch.randint(0, 1 << LOST_BITS, bits.shape, generator=generator, device=bits.device, dtype=torch.int32)
    moved = ((bits + noise) >> LOST_BITS) << LOST_BITS  # magnitudes grow with the bits, whatever the sign
    return torch.where(torch.isfinite(values), moved.view(torch.float32), values).to(torch.bfloat16)


class HalfAdamW(torch.optim.Optimizer):
    """Decoupled weight decay as `torch.optim.AdamW`; moments in bfloat16 if asked, weights in what they come in.

    All arithmetic is in float32. What is rounded follows from `seed`, the step and the order of the parameters, so that
    a resumed run repeats every bit.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-6,
        weight_decay: float = 0.1,
        *,
        half_moments: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.half_moments, self.seed = half_moments, seed

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of every parameter that has a gradient. Returns what `closure` does, as torch wants it."""
        loss = None if closure is None else closure()
        generators: dict[torch.device, torch.Generator] = {}
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group, generators)
        return loss

    def _update(
        self, parameter: nn.Parameter, group: dict[str, Any], generators: dict[torch.device, torch.Generator]
    ) -> None:
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            dtype = torch.bfloat16 if self.half_moments else torch.float32
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter, dtype=dtype)
            state["exp_avg_sq"] = torch.zeros_like(parameter, dtype=dtype)
        state["step"] += 1
        if parameter.device not in generators:
            made = torch.Generator(device=parameter.device)
            generators[parameter.device] = made.manual_seed((self.seed * 1_000_003 + state["step"]) % 2**63)
        generator = generators[parameter.device]
        gradient = parameter.grad.float()
        beta1, beta2 = group["betas"]
        first = state["exp_avg"].float().lerp_(gradient, 1 - beta1)
        second = state["exp_avg_sq"].float().mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        weights = parameter.float().mul(1 - group["lr"] * group["weight_decay"])
        root = (second / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
        weights.addcdiv_(first, root, value=-group["lr"] / (1 - beta1 ** state["step"]))
        for kept, value in ((state["exp_avg"], first), (state["exp_avg_sq"], second), (parameter, weights)):
            kept.copy_(round_at_random(value, generator) if kept.dtype == torch.bfloat16 else value)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As saved. The base class would turn moments into the parameters' format."""
        super().load_state_dict(state_dict)
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        dtype = torch.bfloat16 if self.half_moments else torch.float32
        for number, saved in state_dict["state"].items():
            for name in ("exp_avg", "exp_avg_sq"):
                moment = saved[name].to(parameters[number].device, dtype, copy=True)
                self.state[parameters[number]][name] = moment


def prepare_memory(model: Clip, options: TrainOptions, compute: Compute) -> None:
    """What `recompute` and `half_text` ask of the towers, before an optimiser is made.

    Raises:
        UsageError: weights in half precision are multiplied in half precision, and the run is in fp32.
    """
    for part in model.modules():
        if isinstance(part, Transformer):
            part.recompute = options.recompute
    if not options.half_text:
        return
    if compute.dtype == torch.float32:
        raise UsageError("half_text keeps the text tower in 16 bits, which needs --precision bf16 or fp16, not fp32")
    for parameter in model.text_tower.parameters():
        if parameter.ndim > 1:  # gains and biases, which are few, stay as they are
            parameter.data = parameter.data.to(torch.bfloat16)
