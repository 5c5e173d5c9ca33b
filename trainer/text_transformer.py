"""The text towers of CLIP (Radford et al. 2021, section 2.4) and of SigLIP (Zhai et al. 2023).

CLIP's feature is the activation of the highest layer at the end token, layer-normalised and projected linearly. In
SigLIP's every token sees every other, and the feature stands at the last position, padding or not. MobileCLIP-S0 has a
convolutional block before and behind the transformer.

Shapes: B batch, L tokens (at most the context length), C width, D embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.config import Activation, TextConfig
from trainer.text_mixing import TextMixingBlock
from trainer.transformer import Transformer, pick

__all__ = ["TextTransformer"]


class TextTransformer(nn.Module):
    """Token ids (B, L) to embeddings (B, D), not normalised.

    L may be less than the context length where the tower is causal: nothing after the end token reaches it, so cutting
    the padding changes no result. In CLIP's form the end token's id is the largest of the vocabulary, as in the
    original release.
    """

    def __init__(self, config: TextConfig, embedding_dim: int, activation: Activation) -> None:
        super().__init__()
        self.siglip = config.form == "siglip"
        eps = 1e-6 if self.siglip else 1e-5
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context_length, config.width))
        self.before = self._mixing(config, activation)
        self.transformer = Transformer(
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            activation=activation,
            causal=config.causal,
            hidden=config.hidden_width,
            eps=eps,
        )
        self.behind = self._mixing(config, activation)
        self.ln_final = nn.LayerNorm(config.width, eps=eps)
        self.text_projection = nn.Parameter(torch.empty(config.width, embedding_dim))
        self.projection_bias = nn.Parameter(torch.zeros(embedding_dim)) if self.siglip else None
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=config.width**-0.5)

    @staticmethod
    def _mixing(config: TextConfig, activation: Activation) -> TextMixingBlock | None:
        return TextMixingBlock(config.width, config.hidden_width, activation) if config.form == "mobile" else None

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]  # (B, L, C)
        x = x.to(self.ln_final.weight.dtype)  # matrices may be kept in half precision, what flows between them is not
        x = x if self.before is None else self.before(x)
        # (B,) where the feature is: the last place, or the first one of the largest id.
        at = torch.full_like(tokens[:, 0], tokens.shape[1] - 1) if self.siglip else tokens.argmax(dim=1)
        if self.behind is None:
            feature = self.transformer(x, at)  # (B, C)
        else:
            feature = pick(self.behind(self.transformer(x)).flatten(0, 1), tokens.shape[1], at)
        out: Tensor = self.ln_final(feature) @ self.text_projection  # (B, D)
        return out if self.projection_bias is None else out + self.projection_bias
