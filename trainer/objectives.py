"""The contrastive objective (Radford et al. 2021, figure 3), for any number of positives, and the sigmoid one.

Shapes: B pictures, T texts, D embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ALL", "contrastive_loss", "sigmoid_loss", "soft_cross_entropy"]

ALL = slice(None)


def contrastive_loss(
    image_features: Tensor,  # (B, D) of length 1
    text_features: Tensor,  # (T, D) of length 1
    logit_scale: Tensor,
    positives: Tensor,  # (B, T) bool: which text belongs to which picture
    ignored: Tensor | None = None,  # (B, T) bool: pairs that are neither right nor wrong
    rows: slice = ALL,
    columns: slice = ALL,
) -> Tensor:
    """Mean of the cross-entropies picture -> text and text -> picture.

    With one positive in each row and column this is the paper's loss. Several positives share the target evenly
    (Khosla et al. 2020, "out" form). Rows or columns without a positive are candidates only.

    `rows` and `columns` choose pictures and texts whose part of the loss is wanted; no other similarities are computed,
    and the parts add up to the loss of all.
    """
    if (rows, columns) == (ALL, ALL):
        logits = _logits(image_features, text_features, logit_scale, positives, ignored)  # (B, T)
        return (soft_cross_entropy(logits, positives) + soft_cross_entropy(logits.T, positives.T)) / 2
    return (
        _part(image_features, text_features, logit_scale, positives, ignored, rows)
        + _part(
            text_features, image_features, logit_scale, positives.T, None if ignored is None else ignored.T, columns
        )
    ) / 2


def _logits(one: Tensor, other: Tensor, scale: Tensor, positives: Tensor, ignored: Tensor | None) -> Tensor:
    logits = scale * one @ other.T
    return logits if ignored is None else logits.masked_fill(ignored & ~positives, float("-inf"))


def _part(one: Tensor, other: Tensor, scale: Tensor, positives: Tensor, ignored: Tensor | None, rows: slice) -> Tensor:
    """The share that some rows have in the mean over all rows."""
    logits = _logits(one[rows], other, scale, positives[rows], None if ignored is None else ignored[rows])
    return soft_cross_entropy(logits, positives[rows], of=torch.count_nonzero(positives.any(dim=1)))


def sigmoid_loss(
    image_features: Tensor,  # (B, D) of length 1
    text_features: Tensor,  # (T, D) of length 1
    logit_scale: Tensor,
    logit_bias: Tensor,
    positives: Tensor,  # (B, T) bool: which text belongs to which picture
    ignored: Tensor | None = None,  # (B, T) bool: pairs that are neither right nor wrong
    rows: slice = ALL,
) -> Tensor:
    """Every pair by itself is right or wrong (Zhai et al. 2023, "Sigmoid Loss", equation 1): a sum, per picture.

    `rows` chooses pictures whose part of the loss is wanted; the parts add up to the loss of all.
    """
    logits = logit_scale * image_features[rows] @ text_features.T + logit_bias  # (B, T)
    positives = positives[rows]
    losses = -F.logsigmoid(torch.where(positives, logits, -logits))
    if ignored is not None:
        losses = losses.masked_fill(ignored[rows] & ~positives, 0.0)
    return losses.sum() / len(image_features)


def soft_cross_entropy(logits: Tensor, positives: Tensor, *, of: Tensor | None = None) -> Tensor:
    """Cross-entropy over the last axis against an even share of the positives; mean over rows that have any.

    `of` is how many rows the mean is over, where these are not all of them.
    """
    counts = positives.sum(dim=1)  # (rows,)
    log_shares = F.log_softmax(logits, dim=1).masked_fill(~positives, 0.0)
    rows = -log_shares.sum(dim=1) / counts.clamp(min=1)
    return rows.sum() / (torch.count_nonzero(counts) if of is None else of).clamp(min=1)
