"""The modified ResNet of CLIP (Radford et al. 2021, section 2.4): the image tower for small data and small machines.

Three changes against ResNet-50 (He et al. 2016), each named by the paper:
- a stem of three 3x3 convolutions instead of one 7x7, followed by average instead of max pooling;
- anti-aliased strided convolutions (Zhang 2019, "rect-2" blur): average pooling stands before each convolution that
  would have a stride, on the main path and on the shortcut (ResNet-D, He et al. 2019);
- attention pooling instead of global average pooling: one query, the mean of all positions, attends to all of them.

Shapes: B batch, C channels, H W pixels or positions, P = H * W positions, D embedding.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.attention import attend
from trainer.config import ResNetConfig

__all__ = ["AttentionPool", "Bottleneck", "ModifiedResNet"]


class Bottleneck(nn.Module):
    """1x1 down, 3x3, average pooling where strided, 1x1 up by four; the sum with the shortcut goes through ReLU."""

    expansion = 4

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        channels_out = channels * self.expansion
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.avgpool: nn.Module = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(channels, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module | None = None
        if stride > 1 or channels_in != channels_out:
            # Named as in the original weights, "-1" for the pooling, so that those load without renaming.
            self.downsample = nn.Sequential(
                OrderedDict(
                    [
                        ("-1", nn.AvgPool2d(stride) if stride > 1 else nn.Identity()),
                        ("0", nn.Conv2d(channels_in, channels_out, 1, bias=False)),
                        ("1", nn.BatchNorm2d(channels_out)),
                    ]
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)  # (B, 4C, H', W')
        x = F.relu(self.bn1(self.conv1(x)))  # (B, C, H, W)
        x = F.relu(self.bn2(self.conv2(x)))  # (B, C, H, W)
        x = self.bn3(self.conv3(self.avgpool(x)))  # (B, 4C, H', W')
        return F.relu(x + shortcut)


class AttentionPool(nn.Module):
    """Multi-head attention with the mean over positions as the one query (section 2.4); also projects to D."""

    def __init__(self, side: int, channels: int, heads: int, embedding_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(side * side + 1, channels) / channels**0.5)
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.c_proj = nn.Linear(channels, embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        x = x.flatten(2).transpose(1, 2)  # (B, P, C)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)  # (B, P + 1, C)
        x = x + self.positional_embedding.to(x.dtype)
        query = self.q_proj(x[:, :1]).view(batch, 1, self.heads, -1).transpose(1, 2)
        key = self.k_proj(x).view(batch, x.shape[1], self.heads, -1).transpose(1, 2)
        value = self.v_proj(x).view(batch, x.shape[1], self.heads, -1).transpose(1, 2)
        pooled = attend(query, key, value)  # (B, heads, 1, C / heads)
        return cast(Tensor, self.c_proj(pooled.transpose(1, 2).reshape(batch, -1)))  # (B, D)


class ModifiedResNet(nn.Module):
    """Pixels (B, 3, S, S), normalised, to embeddings (B, D), not normalised."""

    def __init__(self, config: ResNetConfig, embedding_dim: int) -> None:
        super().__init__()
        width = config.width
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool: nn.Module = nn.AvgPool2d(2) if config.stem_pool else nn.Identity()

        self.stages = len(config.layers)
        channels = width
        for stage, blocks in enumerate(config.layers):
            made = []
            for block in range(blocks):
                made.append(Bottleneck(channels, width * 2**stage, stride=2 if stage and not block else 1))
                channels = width * 2**stage * Bottleneck.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*made))
        self.attnpool = AttentionPool(config.final_side, channels, config.heads, embedding_dim)
        self.initialise()

    def initialise(self) -> None:
        """Fan-in normal attention pool, and residual branches that begin at zero (Goyal et al. 2017)."""
        std = self.attnpool.c_proj.in_features**-0.5
        for projection in (self.attnpool.q_proj, self.attnpool.k_proj, self.attnpool.v_proj, self.attnpool.c_proj):
            nn.init.normal_(projection.weight, std=std)
        for module in self.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        return cast(Tensor, self.attnpool(self.maps(pixels)))

    def maps(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W): the last ones, before they are pooled."""
        x = F.relu(self.bn1(self.conv1(pixels)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.bn3(self.conv3(x)))
        x = self.avgpool(x)
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return cast(Tensor, x)
