"""Softmax attention, with a gradient in bf16 that the processor's matrix units compute.

Shapes: B batch, H heads, Q positions that ask, L positions that answer, C width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["attend"]


def attend(query: Tensor, key: Tensor, value: Tensor, later: Tensor | None = None, *, causal: bool = False) -> Tensor:
    """(B, H, Q, C), (B, H, L, C) twice -> (B, H, Q, C).

    `later`, broadcast to (B, H, Q, L), is true where a position must not be seen; `causal` says that it is every one
    behind the position that asks.
    """
    learning = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value))
    if learning and query.dtype == torch.bfloat16 and query.device.type == "cpu":
        apply: Callable[..., Tensor] = _InProducts.apply  # the function itself has no types
        return apply(query, key, value, later, causal)
    return _attend(query, key, value, later, causal)


def _attend(query: Tensor, key: Tensor, value: Tensor, later: Tensor | None, causal: bool) -> Tensor:
    mask = None if later is None else ~later
    return F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal and mask is None)


class _InProducts(torch.autograd.Function):
    """The same with its gradient in plain products of matrices, from weights that are computed again.

    The gradient of torch's own call takes some five times as long in bf16 on a processor (2.13), a third of a whole
    step of ViT-S/32 (docs/experiments.md). Nothing more is kept for it than there, and the result has the same bits.
    """

    @staticmethod
    def forward(context: Any, query: Tensor, key: Tensor, value: Tensor, later: Tensor | None, causal: bool) -> Tensor:
        context.save_for_backward(query, key, value, later)
        context.causal = causal
        return _attend(query, key, value, later, causal)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, later = context.saved_tensors
        (gradient,) = gradients
        factor = query.shape[3] ** -0.5
        query, key = (query * factor).contiguous(), key.contiguous()  # each is used twice
        scores = query @ key.transpose(2, 3)  # (B, H, Q, L)
        if later is None and context.causal:
            later = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).triu(1)
        if later is not None:
            scores = scores.masked_fill_(later, float("-inf"))
        with torch.enable_grad():
            weights = scores.requires_grad_().softmax(dim=-1)
        of_weights = gradient @ value.transpose(2, 3)
        (of_scores,) = torch.autograd.grad(weights, scores, of_weights)
        of_value = weights.detach().transpose(2, 3) @ gradient
        return (of_scores @ key) * factor, of_scores.transpose(2, 3) @ query, of_value, None, None
