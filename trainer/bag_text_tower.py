"""The text tower as continuous bag of words, which the paper considered beside the transformer (section 2.4).

The mean of the embeddings of a text's tokens, in whatever order they stand, projected linearly (Mikolov et al. 2013).

Shapes: B batch, L tokens (at most the context length), C width, D embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.config import TextConfig

__all__ = ["BagTextTower"]


class BagTextTower(nn.Module):
    """Token ids (B, L) to embeddings (B, D), not normalised.

    The mean is over the tokens up to and with the end token, the largest id of the vocabulary: nothing behind it
    counts, so L may be less than the context length, and an empty text still has its two markers.
    """

    def __init__(self, config: TextConfig, embedding_dim: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.ln_final = nn.LayerNorm(config.width)
        self.text_projection = nn.Parameter(torch.empty(config.width, embedding_dim))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.text_projection, std=config.width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)  # (L,)
        counted = places <= tokens.argmax(dim=1, keepdim=True)  # (B, L) up to the first place of the largest id
        share = counted.to(self.ln_final.weight.dtype) / counted.sum(dim=1, keepdim=True)
        x = self.token_embedding(tokens).to(share.dtype)  # (B, L, C)
        mean = (x * share[:, :, None]).sum(dim=1)  # (B, C)
        out: Tensor = self.ln_final(mean) @ self.text_projection  # (B, D)
        return out
