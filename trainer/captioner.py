"""Predicting a text token by token from its picture (Desai & Johnson 2021, VirTex; one direction instead of two).

A transformer decoder whose tokens see those before them and all places of the picture's last feature map: the
"transformer language model" that figure 2 of Radford et al. 2021 compares with.

Shapes: B pictures, C classes, L tokens, P places of a picture, M channels of its map, W width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.config import Activation, TextConfig
from trainer.transformer import feed_forward

__all__ = ["Captioner"]


class DecoderBlock(nn.Module):
    """Self-attention, attention to the picture, two layers; each on the normed and added to what came in."""

    def __init__(self, width: int, heads: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.ln_1, self.ln_2, self.ln_3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.look = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = feed_forward(width, hidden, activation)

    def forward(self, x: Tensor, places: Tensor, later: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, attn_mask=later, need_weights=False)[0]
        x = x + self.look(self.ln_2(x), places, places, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.ln_3(x))
        return out


class Captioner(nn.Module):
    """Tokens (B, L) and maps (B, P, M) to logits (B, L, V) of the token that follows each.

    Width, layers and heads are those the text tower would have; entries are embedded and predicted by one matrix.
    """

    def __init__(self, channels: int, places: int, config: TextConfig, activation: Activation) -> None:
        super().__init__()
        self.context_length = config.context_length
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, config.width))
        self.from_map = nn.Linear(channels, config.width)
        self.place_embedding = nn.Parameter(torch.empty(places, config.width))
        self.ln_map = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(
            DecoderBlock(config.width, config.heads, config.hidden_width, activation) for _ in range(config.layers)
        )
        self.ln_final = nn.LayerNorm(config.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        for embedding in (self.positional_embedding, self.place_embedding):
            nn.init.normal_(embedding, std=0.01)

    def forward(self, tokens: Tensor, grid: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = self.token_embedding(tokens) + self.positional_embedding[:length]  # (B, L, W)
        later = torch.ones(length, length, dtype=torch.bool, device=tokens.device).triu(1)
        places = self.ln_map(self.from_map(grid) + self.place_embedding)  # (B, P, W)
        for block in self.blocks:
            x = block(x, places, later)
        out: Tensor = self.ln_final(x) @ self.token_embedding.weight.T
        return out

    def token_losses(self, grid: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """(B, L - 1): minus the log-probability of each token but the first; 0 behind the end marker."""
        tokens = tokens[:, : int(lengths.max())]
        logits = self(tokens[:, :-1], grid)
        losses = F.cross_entropy(logits.float().transpose(1, 2), tokens[:, 1:], reduction="none")
        behind = torch.arange(1, tokens.shape[1], device=tokens.device) >= lengths[:, None]
        return losses.masked_fill(behind, 0.0)

    def loss(self, grid: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Mean over all tokens of all texts, the end markers counted."""
        return self.token_losses(grid, tokens, lengths).sum() / (lengths - 1).sum()

    def scores(self, grid: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """(B, C): the log-probability of each of the texts (C, L), for each picture."""
        pictures, classes = len(grid), len(tokens)
        losses = self.token_losses(
            grid.repeat_interleave(classes, dim=0), tokens.repeat(pictures, 1), lengths.repeat(pictures)
        )
        return -losses.sum(dim=1).view(pictures, classes)

    def write(self, grid: Tensor, *, start_id: int, end_id: int) -> list[list[int]]:
        """A text for each picture, without its markers: the likeliest next token, until the end or the context's."""
        tokens = torch.full((len(grid), 1), start_id, device=grid.device)
        ended = torch.zeros(len(grid), dtype=torch.bool, device=grid.device)
        while tokens.shape[1] < self.context_length and not bool(ended.all()):
            following = self(tokens, grid)[:, -1]  # (B, V)
            following[:, start_id] = float("-inf")  # a text begins once
            chosen = following.argmax(dim=1).masked_fill(ended, end_id)
            ended |= chosen == end_id
            tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        return [[number for number in row[1:] if number != end_id] for row in tokens.tolist()]
