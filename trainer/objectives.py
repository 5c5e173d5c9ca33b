"""The contrastive objective (Radford et al. 2021, figure 3), for any number of positives, and the sigmoid one.

Shapes: B pictures, T texts, D embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["contrastive_loss", "sigmoid_loss", "soft_cross_entropy"]


def contrastive_loss(
    image_features: Tensor,  # (B, D) of length 1
    text_features: Tensor,  # (T, D) of length 1
    logit_scale: Tensor,
    positives: Tensor,  # (B, T) bool: which text belongs to which picture
    ignored: Tensor | None = None,  # (B, T) bool: pairs that are neither right nor wrong
) -> Tensor:
    """Mean of the cross-entropies picture -> text and text -> picture.

    With one positive in each row and column this is the paper's loss. Several positives share the target evenly
    (Khosla et al. 2020, "out" form). Rows or columns without a positive are candidates only.
    """
    logits = logit_scale * image_features @ text_features.T  # (B, T)
    if ignored is not None:
        logits = logits.masked_fill(ignored & ~positives, float("-inf"))
    to_text = soft_cross_entropy(logits, positives)
    to_image = soft_cross_entropy(logits.T, positives.T)
    return (to_text + to_image) / 2


def sigmoid_loss(
    image_features: Tensor,  # (B, D) of length 1
    text_features: Tensor,  # (T, D) of length 1
    logit_scale: Tensor,
    logit_bias: Tensor,
    positives: Tensor,  # (B, T) bool: which text belongs to which picture
    ignored: Tensor | None = None,  # (B, T) bool: pairs that are neither right nor wrong
) -> Tensor:
    """Every pair by itself is right or wrong (Zhai et al. 2023, "Sigmoid Loss", equation 1): a sum, per picture."""
    logits = logit_scale * image_features @ text_features.T + logit_bias  # (B, T)
    losses = -F.logsigmoid(torch.where(positives, logits, -logits))
    if ignored is not None:
        losses = losses.masked_fill(ignored & ~positives, 0.0)
    return losses.sum() / len(image_features)


def soft_cross_entropy(logits: Tensor, positives: Tensor) -> Tensor:
    """Cross-entropy over the last axis against an even share of the positives; mean over rows that have any."""
    counts = positives.sum(dim=1)  # (rows,)
    log_shares = F.log_softmax(logits, dim=1).masked_fill(~positives, 0.0)
    rows = -log_shares.sum(dim=1) / counts.clamp(min=1)
    return rows.sum() / torch.count_nonzero(counts).clamp(min=1)
