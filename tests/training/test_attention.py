"""The gradient of attention in bf16 on the processor, which is ours, against the same in float64, which is torch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.attention import attend

KINDS = ("all", "causal", "at")


def _inputs(kind: str) -> tuple[list[Tensor], Tensor | None]:
    random = torch.Generator().manual_seed(3)
    asking = 1 if kind == "at" else 19
    shapes = [(5, 3, asking, 16), (5, 3, 19, 16), (5, 3, 19, 16), (5, 3, asking, 16)]
    tensors = [torch.randn(shape, generator=random).bfloat16() for shape in shapes]
    places = torch.tensor([18, 3, 0, 7, 11])
    later = torch.arange(19) > places[:, None, None, None] if kind == "at" else None
    return tensors, later


def _gradients(tensors: list[Tensor], later: Tensor | None, causal: bool, dtype: torch.dtype) -> list[Tensor]:
    query, key, value = leaves = [tensor.to(dtype).requires_grad_() for tensor in tensors[:3]]
    mixed = attend(query, key, value, later, causal=causal)
    return [found.double() for found in torch.autograd.grad(mixed, leaves, tensors[3].to(dtype))]


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_that_of_float64_but_for_rounding(kind: str) -> None:
    tensors, later = _inputs(kind)
    exact = _gradients(tensors, later, kind == "causal", torch.float64)
    ours = _gradients(tensors, later, kind == "causal", torch.bfloat16)
    assert len(exact) == len(ours) == 3
    for one, other in zip(ours, exact, strict=True):
        assert (one - other).norm() <= 0.01 * other.norm()  # measured: 0.005


@pytest.mark.parametrize("kind", KINDS)
def test_result_has_the_same_bits_whether_it_is_learnt_from_or_not(kind: str) -> None:
    (query, key, value, _), later = _inputs(kind)
    learnt = attend(query.requires_grad_(), key, value, later, causal=kind == "causal")
    with torch.no_grad():
        plain = attend(query, key, value, later, causal=kind == "causal")
    mask = None if later is None else ~later
    assert learnt.requires_grad
    assert torch.equal(learnt, plain)
    assert torch.equal(plain, F.scaled_dot_product_attention(query, key, value, mask, is_causal=kind == "causal"))
