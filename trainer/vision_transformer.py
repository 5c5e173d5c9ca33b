"""The Vision Transformer of CLIP (Radford et al. 2021, section 2.4; Dosovitskiy et al. 2020).

Differs from the original by one more layer norm, on patches and positions together, before the transformer.

Shapes: B batch, S image side, P patches, C width, D embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.config import Activation, ViTConfig
from trainer.transformer import Transformer

__all__ = ["VisionTransformer"]


class VisionTransformer(nn.Module):
    """Pixels (B, 3, S, S), normalised, to embeddings (B, D), not normalised."""

    def __init__(self, config: ViTConfig, embedding_dim: int, activation: Activation) -> None:
        super().__init__()
        width, side = config.width, config.image_size // config.patch_size
        scale = width**-0.5
        self.conv1 = nn.Conv2d(3, width, kernel_size=config.patch_size, stride=config.patch_size, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(side * side + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(
            width=width, layers=config.layers, heads=config.heads, activation=activation, causal=False
        )
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, embedding_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv1(pixels).flatten(2).transpose(1, 2)  # (B, P, C)
        start = self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
        x = torch.cat([start, x], dim=1) + self.positional_embedding.to(x.dtype)  # (B, P + 1, C)
        x = self.transformer(self.ln_pre(x))
        out: Tensor = self.ln_post(x[:, 0]) @ self.proj  # (B, D)
        return out
