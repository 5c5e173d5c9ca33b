"""The convolutional block before and behind MobileCLIP-S0's text transformer ("Text-RepMixer", Vasu et al. 2024).

Neighbouring tokens are mixed by one depthwise convolution, its residual included. As in `mobile_tower.py`, branches and
layer scales of training are folded into what runs (`trainer.reading.apple`).

Shapes: B batch, L tokens, C width.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from trainer.config import Activation
from trainer.transformer import feed_forward

__all__ = ["TextMixingBlock"]

REACH = 5  # tokens to either side


class TextMixingBlock(nn.Module):
    """(B, L, C) -> (B, L, C)."""

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.mixer = _depthwise(width)
        self.conv = _depthwise(width)
        self.mlp = feed_forward(width, hidden, activation)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mixer(x.transpose(1, 2))  # (B, C, L)
        return cast(Tensor, mixed.transpose(1, 2) + self.mlp(self.conv(mixed).transpose(1, 2)))


def _depthwise(width: int) -> nn.Conv1d:
    return nn.Conv1d(width, width, 2 * REACH + 1, padding=REACH, groups=width)
