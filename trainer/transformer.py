"""The residual attention block both transformers of CLIP are made of.

Pre-norm (Radford et al. 2019): x + attention(norm(x)), then x + mlp(norm(x)), the hidden layer wider, mostly by four.
Parameter names follow the original release, so that its weights load without renaming.

Shapes: B batch, L positions, C width.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainer.activations import make_activation
from trainer.config import Activation

__all__ = ["Transformer", "feed_forward"]


def feed_forward(width: int, hidden: int, activation: Activation) -> nn.Sequential:
    """(…, C) -> (…, C) through `hidden` numbers."""
    return nn.Sequential(
        OrderedDict(
            [
                ("c_fc", nn.Linear(width, hidden)),
                ("gelu", make_activation(activation)),
                ("c_proj", nn.Linear(hidden, width)),
            ]
        )
    )


class Attention(nn.Module):
    """Multi-head self-attention, causal or not, with the three input projections in one matrix."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        projected = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # (B, L, 3C)
        heads = projected.view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)  # each (B, heads, L, C / heads)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return out


class ResidualAttentionBlock(nn.Module):
    def __init__(
        self, width: int, heads: int, activation: Activation, causal: bool, hidden: int | None = None, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.attn = Attention(width, heads, causal)
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.mlp = feed_forward(width, hidden or 4 * width, activation)
        self.ln_2 = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Transformer(nn.Module):
    """A stack of blocks over (B, L, C). `hidden` None is four times the width.

    `recompute` keeps only what goes into each block, and computes the block again for its gradient ("gradient
    checkpointing", Chen et al. 2016): less memory, a third more work, the same numbers.
    """

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        heads: int,
        activation: Activation,
        causal: bool,
        hidden: int | None = None,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.width = width
        self.recompute = False
        self.resblocks = nn.Sequential(
            *(ResidualAttentionBlock(width, heads, activation, causal, hidden, eps) for _ in range(layers))
        )
        self.initialise()

    def initialise(self) -> None:
        """Standard deviations of the original release: residual projections shrink with depth (GPT-2, section 2.3)."""
        layers = len(self.resblocks)
        residual_std = self.width**-0.5 * (2 * layers) ** -0.5
        for block in self.resblocks:
            assert isinstance(block, ResidualAttentionBlock)  # narrows the type; Sequential only promises modules
            nn.init.normal_(block.attn.in_proj_weight, std=self.width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=residual_std)
            nn.init.zeros_(block.attn.out_proj.bias)
            nn.init.normal_(block.mlp.get_parameter("c_fc.weight"), std=(2 * self.width) ** -0.5)
            nn.init.normal_(block.mlp.get_parameter("c_proj.weight"), std=residual_std)

    def forward(self, x: Tensor) -> Tensor:
        if not (self.recompute and torch.is_grad_enabled()):
            out: Tensor = self.resblocks(x)
            return out
        for block in self.resblocks:
            x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False)
        return x
