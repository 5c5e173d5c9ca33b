"""The activations that published towers were trained with. A tower run with another one gives other embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.config import Activation

__all__ = ["GELU", "QuickGELU", "make_activation"]


class GELU(nn.GELU):
    """x Phi(x) (Hendrycks & Gimpel 2016). Graphs have it in the form that ONNX Runtime makes one pass of."""

    def forward(self, x: Tensor) -> Tensor:
        if self.approximate == "none" and torch.compiler.is_exporting():
            return x * (torch.erf(x / 2**0.5) + 1.0) * 0.5
        return super().forward(x)


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x): the approximation the original weights were trained with (Hendrycks & Gimpel 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def make_activation(name: Activation) -> nn.Module:
    """`gelu_tanh` is the approximation that JAX computes unless told otherwise, and SigLIP was trained with."""
    if name == "quick_gelu":
        return QuickGELU()
    return GELU(approximate="tanh" if name == "gelu_tanh" else "none")
