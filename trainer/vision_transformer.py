"""The Vision Transformer of CLIP and of SigLIP.

CLIP's (Radford et al. 2021, section 2.4) differs from the original (Dosovitskiy et al. 2020) by one more layer norm, on
patches and positions together, before the transformer. SigLIP's (Zhai et al. 2023) has the original's norms, no class
token, and a pooling head that attends (Zhai et al. 2022, section 3.2).

Shapes: B batch, S image side, P patches, C width, D embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.activations import GELU
from trainer.attention import attend
from trainer.config import Activation, ViTConfig
from trainer.transformer import Transformer, feed_forward

__all__ = ["PoolingHead", "VisionTransformer"]

SMALL_EPS = 1e-6


class PoolingHead(nn.Module):
    """(B, P, C) -> (B, C): one learnt query attends to all positions, then a feed-forward layer with a residual."""

    def __init__(self, width: int, heads: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.heads = heads
        self.probe = nn.Parameter(width**-0.5 * torch.randn(1, 1, width))
        self.in_proj_weight = nn.Parameter(width**-0.5 * torch.randn(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=SMALL_EPS)
        self.mlp = feed_forward(width, hidden, activation)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        query_weight, pair_weight = torch.split(self.in_proj_weight, [width, 2 * width])
        query_bias, pair_bias = torch.split(self.in_proj_bias, [width, 2 * width])
        query = F.linear(self.probe.to(x.dtype), query_weight, query_bias)  # (1, 1, C)
        query = query.view(1, 1, self.heads, -1).transpose(1, 2).expand(batch, -1, -1, -1)  # (B, heads, 1, C / heads)
        pair = F.linear(x, pair_weight, pair_bias).view(batch, length, 2, self.heads, width // self.heads)
        key, value = pair.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, P, C / heads)
        pooled = attend(query, key, value)  # (B, heads, 1, C / heads)
        x = self.out_proj(pooled.transpose(1, 2).reshape(batch, width))  # (B, C)
        out: Tensor = x + self.mlp(self.norm(x))
        return out


class VisionTransformer(nn.Module):
    """Pixels (B, 3, S, S), normalised, to embeddings (B, D), not normalised."""

    def __init__(self, config: ViTConfig, embedding_dim: int, activation: Activation) -> None:
        super().__init__()
        self.form, self.side, self.width = config.form, config.side, config.width
        width, patch = config.width, config.patch_size
        scale, eps = width**-0.5, 1e-5 if config.form == "clip" else SMALL_EPS
        if config.form == "mobile":
            self.stem = _stem(width, patch)
        else:
            self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=config.form == "siglip")
        positions = config.side**2 + (1 if config.form == "clip" else 0)
        self.positional_embedding = nn.Parameter(scale * torch.randn(positions, width))
        self.transformer = Transformer(
            width=width,
            layers=config.layers,
            heads=config.heads,
            activation=activation,
            causal=False,
            hidden=config.hidden_width,
            eps=eps,
        )
        self.ln_post = nn.LayerNorm(width, eps=eps)
        if config.form == "siglip":
            self.head = PoolingHead(width, config.heads, config.hidden_width, activation)
            return
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.proj = nn.Parameter(scale * torch.randn(width, embedding_dim))
        self.ln_pre = nn.LayerNorm(width, eps=eps) if config.form == "clip" else None
        self.projection_bias = nn.Parameter(torch.zeros(embedding_dim)) if config.form == "mobile" else None

    def forward(self, pixels: Tensor) -> Tensor:
        x = self._patches(pixels)  # (B, P, C)
        positions = self.positional_embedding.to(x.dtype)
        if self.form == "siglip":
            x = self.transformer(x + positions)
            pooled: Tensor = self.head(self.ln_post(x))
            return pooled  # (B, D)
        start = self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
        if self.ln_pre is None:
            x = torch.cat([start, x + positions], dim=1)  # (B, P + 1, C)
        else:
            x = self.ln_pre(torch.cat([start, x], dim=1) + positions)  # (B, P + 1, C)
        first = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)
        out: Tensor = self.ln_post(self.transformer(x, first)) @ self.proj  # (B, D)
        return out if self.projection_bias is None else out + self.projection_bias

    def _patches(self, pixels: Tensor) -> Tensor:
        """(B, P, C): each patch seen by the convolution, as one product where it is one, which is faster."""
        if self.form == "mobile":
            maps: Tensor = self.stem(pixels)
            return maps.flatten(2).transpose(1, 2)
        patch, side = self.conv1.kernel_size[0], self.side
        x = pixels[:, :, : side * patch, : side * patch].reshape(-1, 3, side, patch, side, patch)
        x = x.permute(0, 2, 4, 1, 3, 5).reshape(-1, 3 * patch * patch)  # (B * P, 3 * patch * patch)
        return F.linear(x, self.conv1.weight.flatten(1), self.conv1.bias).reshape(-1, side * side, self.width)


def _stem(width: int, patch: int) -> nn.Sequential:
    """Patches in three steps: a quarter of their side, then halves. The batch norms of training are folded in."""
    return nn.Sequential(
        nn.Conv2d(3, width // 4, patch // 4, stride=patch // 4),
        GELU(),
        nn.Conv2d(width // 4, width // 4, 2, stride=2),
        GELU(),
        nn.Conv2d(width // 4, width, 2, stride=2),
    )
