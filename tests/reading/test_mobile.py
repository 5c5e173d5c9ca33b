"""Folding MobileCLIP's branches: the same numbers as the branches themselves, computed one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from clipcli.errors import ModelError
from trainer.reading.mobile import _branches, fold_mobile, norm_convolution

CHANNELS = 6


def norm(channels: int = CHANNELS) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(channels).eval()
    for tensor in (made.weight, made.bias, made.running_mean):
        assert tensor is not None
        nn.init.normal_(tensor, mean=0.5)
    assert made.running_var is not None
    nn.init.uniform_(made.running_var, 0.5, 2)
    return made.requires_grad_(False)


def named(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("groups", [1, CHANNELS])
def test_branches_that_are_added_make_one_convolution(groups: int) -> None:
    torch.manual_seed(3)
    wide = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=groups, bias=False)
    narrow = nn.Conv2d(CHANNELS, CHANNELS, 1, groups=groups, bias=False)
    norms = [norm() for _ in range(3)]
    trunk = named("block.conv_kxk.0.conv", wide) | named("block.conv_kxk.0.bn", norms[0])
    trunk |= named("block.conv_scale.conv", narrow) | named("block.conv_scale.bn", norms[1])
    trunk |= named("block.identity", norms[2])
    weight, bias = _branches(trunk, "block")
    x = torch.randn(2, CHANNELS, 5, 5)
    with torch.no_grad():
        apart = norms[0](wide(x)) + norms[1](narrow(x)) + norms[2](x)
    together = nn.functional.conv2d(x.double(), weight, bias, padding=1, groups=groups)
    torch.testing.assert_close(together.float(), apart, atol=1e-5, rtol=1e-5)


def test_a_norm_behind_a_convolution_goes_into_it() -> None:
    torch.manual_seed(4)
    convolution, after = nn.Conv2d(3, CHANNELS, 4, stride=4, bias=False), norm()
    weight, bias = norm_convolution(named("stem.conv", convolution) | named("stem.bn", after), "stem")
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        apart = after(convolution(x))
    together = nn.functional.conv2d(x.double(), weight, bias, stride=4)
    torch.testing.assert_close(together.float(), apart, atol=1e-5, rtol=1e-5)


def test_a_tower_with_parts_missing_is_refused() -> None:
    with pytest.raises(ModelError, match="not as MobileCLIP's are"):
        fold_mobile({"visual.trunk.stem.0.conv_kxk.0.conv.weight": torch.zeros(4, 3, 3, 3)})
