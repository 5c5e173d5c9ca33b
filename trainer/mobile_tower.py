"""The image tower of MobileCLIP-S (Vasu et al. 2024; FastViT, Vasu et al. 2023): convolutions, at the end attention.

In training each convolution has branches with batch norms of their own. Here they are what the papers' own inference
makes of them, one convolution with a bias (Ding et al. 2021, "RepVGG"), and layer scales are part of the weights behind
them: `trainer.reading.mobile` folds published weights so.

Shapes: B batch, C channels, H W positions, P = H * W, D embedding.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.activations import GELU
from trainer.attention import attend
from trainer.config import MobileConfig

__all__ = ["MobileTower"]

HEAD = 32  # numbers per head


class Gate(nn.Module):
    """Squeeze and excitation (Hu et al. 2018): each channel times what its mean and the others' say."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class ConvolutionalMlp(nn.Module):
    """Depthwise 7 x 7, then three times as many channels and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.fc1 = nn.Conv2d(channels, 3 * channels, 1)
        self.fc2 = nn.Conv2d(3 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(F.gelu(self.fc1(self.conv(x)))))


class MixingBlock(nn.Module):
    """Positions are mixed by one depthwise convolution, its residual included."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixer = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.mlp = ConvolutionalMlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixer(x)
        return x + cast(Tensor, self.mlp(x))


class AttentionBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.mlp = ConvolutionalMlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        rows = x.flatten(2).transpose(1, 2)  # (B, P, C)
        split = self.qkv(rows).view(batch, height * width, 3, channels // HEAD, HEAD).permute(2, 0, 3, 1, 4)
        mixed = attend(*split.unbind(0))  # (B, heads, P, C / heads)
        out = self.proj(mixed.transpose(1, 2).reshape(batch, height * width, channels))
        x = x + out.transpose(1, 2).reshape(batch, channels, height, width)
        return x + cast(Tensor, self.mlp(x))


class Stage(nn.Module):
    """Half the side and other channels, but in the first; then the blocks, attention in the last."""

    def __init__(self, channels_in: int, channels: int, blocks: int, *, number: int, last: bool) -> None:
        super().__init__()
        self.down: nn.Module | None = None
        if number:
            parts: list[tuple[str, nn.Module]] = [
                ("large", nn.Conv2d(channels_in, channels, 7, stride=2, padding=3, groups=channels_in))
            ]
            if number >= 2:
                parts.append(("gate", Gate(channels, channels // 4)))
            parts += [("act", GELU()), ("point", nn.Conv2d(channels, channels, 1)), ("act2", GELU())]
            self.down = nn.Sequential(OrderedDict(parts))
        self.positions = nn.Conv2d(channels, channels, 7, padding=3, groups=channels) if last else None
        kind = AttentionBlock if last else MixingBlock
        self.blocks = nn.Sequential(*(kind(channels) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.down is None else self.down(x)
        x = x if self.positions is None else self.positions(x)
        return cast(Tensor, self.blocks(x))


class MobileTower(nn.Module):
    """Pixels (B, 3, S, S), normalised, to embeddings (B, D), not normalised."""

    def __init__(self, config: MobileConfig, embedding_dim: int) -> None:
        super().__init__()
        first, last = config.widths[0], config.widths[-1]
        self.stem = nn.ModuleList(
            [
                nn.Conv2d(3, first, 3, stride=2, padding=1),
                nn.Conv2d(first, first, 3, stride=2, padding=1, groups=first),
                nn.Conv2d(first, first, 1),
            ]
        )
        channels, stages = first, []
        for number, (width, blocks) in enumerate(zip(config.widths, config.layers, strict=True)):
            stages.append(Stage(channels, width, blocks, number=number, last=number == len(config.widths) - 1))
            channels = width
        self.stages = nn.Sequential(*stages)
        self.final = nn.Conv2d(last, 2 * last, 3, padding=1, groups=last)
        self.gate = Gate(2 * last, 2 * last // 16)
        self.head = nn.Linear(2 * last, embedding_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        x = pixels
        for convolution in self.stem:
            x = F.gelu(convolution(x))
        x = F.gelu(self.gate(self.final(self.stages(x))))  # (B, 2C, H, W)
        return cast(Tensor, self.head(x.mean((2, 3))))  # (B, D)
