"""The residual attention block both transformers of CLIP are made of.

Pre-norm (Radford et al. 2019): x + attention(norm(x)), then x + mlp(norm(x)), the hidden layer wider, mostly by four.
Parameter names follow the original release, so that its weights load without renaming.

Shapes: B batch, L positions, C width. Inside, the positions of all of a batch stand one below the other, (B * L, C).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainer.activations import make_activation
from trainer.attention import attend
from trainer.config import Activation

__all__ = ["Transformer", "feed_forward", "pick"]


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

    def forward(self, rows: Tensor, length: int, at: Tensor | None = None) -> Tensor:
        """(B * L, C) -> the same shape; with `at` (B,) only for the position that it names of each, (B, C)."""
        width = rows.shape[1]
        if at is None:
            query, key, value = F.linear(rows, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        else:
            one_weight, pair_weight = torch.split(self.in_proj_weight, [width, 2 * width])
            one_bias, pair_bias = torch.split(self.in_proj_bias, [width, 2 * width])
            query = F.linear(pick(rows, length, at), one_weight, one_bias)  # (B, C)
            key, value = F.linear(rows, pair_weight, pair_bias).chunk(2, dim=-1)
        shape = (self.heads, width // self.heads)
        mixed = self._mixed(
            query.reshape(-1, length if at is None else 1, *shape).transpose(1, 2),
            key.reshape(-1, length, *shape).transpose(1, 2),
            value.reshape(-1, length, *shape).transpose(1, 2),
            at,
        )  # (B, heads, L or 1, C / heads)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(-1, width))
        return out

    def _mixed(self, query: Tensor, key: Tensor, value: Tensor, at: Tensor | None) -> Tensor:
        exporting = torch.compiler.is_exporting()
        later = None
        if self.causal and (at is not None or exporting):
            places = torch.arange(key.shape[2], device=key.device)
            last = places[:, None] if at is None else at[:, None, None, None]
            later = places > last  # (L, L) or (B, 1, 1, L)
        if exporting:  # as plain operations, which ONNX Runtime fuses: what the exporter makes of the call it does not
            scores = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
            weights = (scores if later is None else scores.masked_fill(later, float("-inf"))).softmax(dim=-1)
            mixed: Tensor = weights @ value
            return mixed
        return attend(query, key, value, later, causal=self.causal)


def pick(rows: Tensor, length: int, at: Tensor) -> Tensor:
    """(B * L, C) and (B,) places -> (B, C)."""
    return rows[at + torch.arange(at.shape[0], device=at.device) * length]


class ResidualAttentionBlock(nn.Module):
    def __init__(
        self, width: int, heads: int, activation: Activation, causal: bool, hidden: int | None = None, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.attn = Attention(width, heads, causal)
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.mlp = feed_forward(width, hidden or 4 * width, activation)
        self.ln_2 = nn.LayerNorm(width, eps=eps)

    def forward(self, rows: Tensor, length: int, at: Tensor | None = None) -> Tensor:
        """(B * L, C) -> the same shape; with `at` (B,) only for the position that it names of each, (B, C)."""
        mixed = self.attn(self.ln_1(rows), length, at)
        rows = (rows if at is None else pick(rows, length, at)) + mixed
        out: Tensor = rows + self.mlp(self.ln_2(rows))
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

    def forward(self, x: Tensor, at: Tensor | None = None) -> Tensor:
        """(B, L, C) -> the same shape; with `at` (B,) only for the position that it names of each, (B, C).

        Nothing else needs the last block's other positions then, and they are not computed.
        """
        batch, length, width = x.shape
        rows = x.reshape(-1, width)  # in two dimensions ONNX Runtime adds the bias within the product
        last = len(self.resblocks) - 1
        for number, block in enumerate(self.resblocks):
            wanted = at if number == last else None
            if self.recompute and torch.is_grad_enabled():
                rows = checkpoint(block, rows, length, wanted, use_reentrant=False, preserve_rng_state=False)
            else:
                rows = block(rows, length, wanted)
        return rows if at is not None else rows.view(batch, length, width)
