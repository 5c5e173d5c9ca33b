"""Low-rank adaptation (Hu et al. 2021): a matrix W stays as it is, and what is learnt is the product of two thin ones.

W + B A with A (r, inputs) and B (outputs, r): B begins at zero, so that the first step starts from the model as it was.
Here W is parametrised in place: no forward pass has to know of it, and merging is writing the sum where W stood. It
saves the optimiser's memory and what has to be learnt, not the time of a step.

Hu et al. adapt attention's projections. Everything that is a product with a matrix is adapted here: attention,
feed-forward layers, projections into the shared space, and convolutions, whose kernels of (outputs, inputs, k, k) are
matrices of (outputs, inputs k k). A convolution by groups has one small kernel a channel, and the first one sees three
channels: nothing in them is of low rank, and they stay as they are, as do embeddings, positions, gains and biases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainer.towers import Clip

__all__ = ["LowRank", "adapt", "is_low_rank", "merged"]

MATRICES = ("in_proj_weight", "proj", "text_projection")  # parameters that are matrices without a module of their own
ORIGINAL, STEP = ".original", "parametrizations."


class LowRank(nn.Module):
    """(outputs, …) to the same with the product of two thin matrices added."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        outputs, inputs = weight.shape[0], weight[0].numel()
        rank = min(rank, outputs, inputs)
        # The deviation of A keeps (A x) as large as x; the paper draws A from a normal distribution too (section 4.1).
        self.a = nn.Parameter(torch.randn(rank, inputs, device=weight.device) * inputs**-0.5)
        self.b = nn.Parameter(torch.zeros(outputs, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):  # so that merging gives the very same sum
            return weight + (self.b @ self.a).view_as(weight)


def adapt(model: Clip, rank: int) -> None:
    """Parametrise every matrix named above, and let nothing but the thin ones and the logit scale be trained."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for module, name in list(_matrices(model)):
        weight = module.get_parameter(name)
        parametrize.register_parametrization(module, name, LowRank(weight, rank))
    model.logit_scale.requires_grad_(True)
    if model.logit_bias is not None:
        model.logit_bias.requires_grad_(True)


def _matrices(model: Clip) -> Iterator[tuple[nn.Module, str]]:
    for module in model.modules():
        is_dense = isinstance(module, nn.Conv2d) and module.groups == 1 and module.in_channels > 3
        if is_dense or isinstance(module, nn.Linear):
            yield module, "weight"
        for name, _ in module.named_parameters(recurse=False):
            if name in MATRICES:
                yield module, name


def is_low_rank(model: nn.Module) -> bool:
    return any(parametrize.is_parametrized(module) for module in model.modules())


@torch.no_grad()
def merged(model: nn.Module, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The state of `model`, or one of the same names such as a mean over steps, as that of ordinary towers."""
    found = dict(model.state_dict() if state is None else state)
    for name in [name for name in found if STEP in name and name.endswith(ORIGINAL)]:
        thin = name.removesuffix(ORIGINAL)
        weight, a, b = found.pop(name), found.pop(f"{thin}.0.a"), found.pop(f"{thin}.0.b")
        found[thin.replace(STEP, "")] = weight + (b.to(weight) @ a.to(weight)).view_as(weight)
    return found
