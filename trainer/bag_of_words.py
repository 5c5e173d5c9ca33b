"""Predicting the bag of words of a text from its picture (Radford et al. 2021, section 2.3 and figure 2).

As Joulin et al. 2016 ("Learning Visual Features from Large Weakly Supervised Data", section 3.2): one softmax over the
whole vocabulary, whose target gives every word of the text the same share. They draw pictures so that all words are
equally frequent; here pictures are drawn as for the other objectives, so that these can be compared.
A word is an entry of the vocabulary: a piece of a word where it is rare.

Shapes: B pictures, T texts, C classes, L tokens, V entries, D embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["WordBag", "word_shares"]


def word_shares(tokens: Tensor, lengths: Tensor, vocab_size: int) -> Tensor:
    """Ids (T, L), of which `lengths` (T,) count with both markers, to (T, V): an even share for each different entry.

    Markers and what stands behind them are no words; a text without words has a row of zeros.
    """
    places = torch.arange(tokens.shape[1], device=tokens.device)
    rows, columns = ((places > 0) & (places < lengths[:, None] - 1)).nonzero(as_tuple=True)
    said = torch.zeros(len(tokens), vocab_size, device=tokens.device)
    said[rows, tokens[rows, columns]] = 1.0
    return said / said.sum(dim=1, keepdim=True).clamp(min=1.0)


class WordBag(nn.Module):
    """A linear classifier of words on image embeddings (B, D)."""

    def __init__(self, embedding_dim: int, vocab_size: int) -> None:
        super().__init__()
        self.words = nn.Linear(embedding_dim, vocab_size)

    def log_shares(self, features: Tensor) -> Tensor:
        """(B, V) logarithms of probabilities."""
        return F.log_softmax(self.words(features).float(), dim=1)

    def loss(self, features: Tensor, shares: Tensor) -> Tensor:
        """Cross-entropy against `shares` (B, V): the mean over the pictures whose text has words."""
        losses = -(shares * self.log_shares(features)).sum(dim=1)
        return losses.sum() / torch.count_nonzero(shares.sum(dim=1)).clamp(min=1)

    def scores(self, features: Tensor, shares: Tensor) -> Tensor:
        """(B, C): the mean log-probability of the words of each class, whose shares are (C, V)."""
        return self.log_shares(features) @ shares.T
