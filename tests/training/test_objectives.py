"""The loss against the paper's own pseudo-code, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.training.tiny import PREPROCESS, TEXT, VIT, noise
from trainer.config import ArchConfig
from trainer.device import Compute
from trainer.encoding import Encoder
from trainer.matching import Matching
from trainer.objectives import contrastive_loss, sigmoid_loss, soft_cross_entropy
from trainer.sampling import Batch
from trainer.towers import Clip


def vectors(count: int, seed: int, width: int = 6) -> Tensor:
    made = torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return F.normalize(made, dim=1)


def scale(value: float = 1 / 0.07) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def figure_3(images: Tensor, texts: Tensor, temperature: Tensor) -> Tensor:
    """Radford et al. 2021, figure 3, line by line; `temperature` is t, whose exponential multiplies."""
    logits = torch.matmul(images, texts.T) * torch.exp(temperature)
    labels = torch.arange(len(images))
    loss_i = F.cross_entropy(logits, labels)
    loss_t = F.cross_entropy(logits.T, labels)
    return (loss_i + loss_t) / 2


def by_hand(images: Tensor, texts: Tensor, factor: float, positives: Tensor, ignored: Tensor) -> float:
    """The definition in loops: every row and column that has positives, against an even share of them."""
    logits = (factor * images @ texts.T).tolist()
    right, out = positives.tolist(), (ignored & ~positives).tolist()

    def direction(rows: int, columns: int, turned: bool) -> float:
        losses = []
        for row in range(rows):
            places = [(column, row) if turned else (row, column) for column in range(columns)]
            own = [place for place in places if right[place[0]][place[1]]]
            if own:
                total = sum(math.exp(logits[a][b]) for a, b in places if not out[a][b])
                losses.append(-sum(logits[a][b] - math.log(total) for a, b in own) / len(own))
        return sum(losses) / len(losses) if losses else 0.0

    return (direction(len(images), len(texts), False) + direction(len(texts), len(images), True)) / 2


@pytest.mark.parametrize("count", [2, 7, 64])
def test_one_positive_each_is_the_loss_of_the_paper(count: int) -> None:
    images, texts, temperature = vectors(count, 1), vectors(count, 2), scale(2.3)
    loss = contrastive_loss(images, texts, temperature.exp(), torch.eye(count, dtype=torch.bool))
    expected = figure_3(images, texts, temperature)
    assert abs(loss - expected) / expected <= 1e-10  # measured: 2e-16


def test_gradients_are_those_of_the_paper() -> None:
    given = [vectors(9, 1).requires_grad_(), vectors(9, 2).requires_grad_(), scale(1.7).requires_grad_()]
    loss = contrastive_loss(given[0], given[1], given[2].exp(), torch.eye(9, dtype=torch.bool))
    ours = torch.autograd.grad(loss, given)
    theirs = torch.autograd.grad(figure_3(*given), given)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).abs().max() / other.abs().max() <= 1e-10


def random_pairs(rows: int, columns: int, seed: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.rand(rows, columns, generator=random) < 0.25, torch.rand(rows, columns, generator=random) < 0.3


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 10_000))
def test_any_number_of_positives_and_ignored_pairs(rows: int, columns: int, seed: int) -> None:
    """Rectangular; rows, columns, or everything without a positive; ignored pairs anywhere, among the positives too."""
    positives, ignored = random_pairs(rows, columns, seed)
    images, texts = vectors(rows, seed + 1), vectors(columns, seed + 2)
    loss = contrastive_loss(images, texts, scale(5.0), positives, ignored)
    expected = by_hand(images, texts, 5.0, positives, ignored)
    assert loss.item() == pytest.approx(expected, rel=1e-10, abs=1e-14)


def test_gradcheck_with_several_positives_and_ignored_pairs() -> None:
    positives, ignored = random_pairs(5, 4, 3)
    assert positives.sum() > 3
    assert (ignored & ~positives).any()
    images, texts = vectors(5, 1).requires_grad_(), vectors(4, 2).requires_grad_()
    log_scale = scale(1.2).requires_grad_()

    def loss(images: Tensor, texts: Tensor, log_scale: Tensor) -> Tensor:
        return contrastive_loss(images, texts, log_scale.exp(), positives, ignored)

    assert torch.autograd.gradcheck(loss, (images, texts, log_scale))


def test_an_ignored_pair_pulls_at_nothing() -> None:
    texts = vectors(3, 2)
    ignored = torch.zeros(3, 3, dtype=torch.bool)
    ignored[0, 1] = True

    def loss(texts: Tensor, ignored: Tensor | None) -> float:
        images = torch.eye(3, 6, dtype=torch.float64)
        return contrastive_loss(images, texts, scale(3.0), torch.eye(3, dtype=torch.bool), ignored).item()

    moved = texts.clone()
    moved[1, 0] += 0.5  # changes only the cosine with the first picture
    assert loss(texts, ignored) == loss(moved, ignored)
    assert loss(texts, None) != loss(moved, None)


def test_a_row_that_is_ignored_throughout_leaves_gradients_finite() -> None:
    images, texts = vectors(2, 1).requires_grad_(), vectors(2, 2)
    positives = torch.tensor([[True, False], [False, False]])
    loss = contrastive_loss(images, texts, scale(), positives, torch.tensor([[False, False], [True, True]]))
    loss.backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()


def test_nothing_to_learn_is_no_loss() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    loss = soft_cross_entropy(logits, torch.zeros(3, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_an_even_share_is_the_optimum() -> None:
    """Two positives: the least loss is reached where each has half."""
    positives = torch.tensor([[True, True, False]])
    even = soft_cross_entropy(torch.tensor([[9.0, 9.0, -9.0]]), positives)
    assert even.item() == pytest.approx(math.log(2), rel=1e-4)
    assert soft_cross_entropy(torch.tensor([[10.0, 8.0, -9.0]]), positives) > even


def test_sigmoid_loss_is_the_papers_equation() -> None:
    """Term by term: log 1 / (1 + exp(z (-t x y - b))), summed over all pairs, per picture."""
    torch.manual_seed(2)
    images, texts = (torch.nn.functional.normalize(torch.randn(4, 8), dim=-1) for _ in range(2))
    scale, bias, positives = torch.tensor(10.0), torch.tensor(-10.0), torch.eye(4, dtype=torch.bool)
    expected = 0.0
    for i in range(4):
        for j in range(4):
            sign = 1.0 if i == j else -1.0
            inner = float(images[i] @ texts[j])
            expected += math.log(1 + math.exp(sign * (-10.0 * inner + 10.0))) / 4
    assert sigmoid_loss(images, texts, scale, bias, positives).item() == pytest.approx(expected, rel=1e-5)
    ignored = ~positives
    fewer = sigmoid_loss(images, texts, scale, bias, positives, ignored).item()
    assert fewer == pytest.approx(
        sum(math.log(1 + math.exp(-10.0 * float(images[i] @ texts[i]) + 10.0)) for i in range(4)) / 4, rel=1e-5
    )


def figure_3_of_the_paper(towers: Clip, pixels: Tensor, tokens: Tensor) -> Tensor:
    """The whole figure, towers and normalisation included; the towers' last line is the figure's W_i and W_t."""
    i_f, t_f = towers.image_tower(pixels), towers.text_tower(tokens)
    i_e, t_e = i_f / i_f.square().sum(dim=1, keepdim=True).sqrt(), t_f / t_f.square().sum(dim=1, keepdim=True).sqrt()
    logits = i_e @ t_e.T * torch.exp(towers.logit_scale)
    of_pictures = (torch.logsumexp(logits, dim=1) - logits.diagonal()).mean()
    of_texts = (torch.logsumexp(logits, dim=0) - logits.diagonal()).mean()
    return (of_pictures + of_texts) / 2


def figure_1_of_siglip(towers: Clip, pixels: Tensor, tokens: Tensor) -> Tensor:
    """Zhai et al. 2023, algorithm 1, line by line."""
    assert towers.logit_bias is not None
    n, i_f, t_f = len(pixels), towers.image_tower(pixels), towers.text_tower(tokens)
    z_img, z_txt = i_f / i_f.norm(dim=1, keepdim=True), t_f / t_f.norm(dim=1, keepdim=True)
    logits = z_img @ z_txt.T * torch.exp(towers.logit_scale) + towers.logit_bias
    labels = 2 * torch.eye(n, dtype=logits.dtype) - torch.ones(n, n, dtype=logits.dtype)
    return torch.log(1 + torch.exp(-labels * logits)).sum() / n


@pytest.mark.parametrize("sigmoid", [False, True], ids=["contrastive", "sigmoid"])
def test_a_step_has_the_loss_and_the_gradient_of_the_paper(sigmoid: bool) -> None:
    """From pixels and tokens to the gradient of every weight, in float64. Measured: at most 9e-16."""
    torch.manual_seed(3)
    towers = Clip(ArchConfig(name="t", embedding_dim=16, image=VIT.image, text=TEXT, sigmoid=sigmoid)).double()
    count = 11
    random = np.random.default_rng(4)
    tokens = random.integers(1, 90, size=(count, 12))
    tokens[:, 11] = 99
    batch = Batch(
        pixels=noise(count), tokens=tokens, lengths=np.full(count, 12), positives=np.eye(count, dtype=np.bool_),
        ignored=None, labels=np.full(count, -1),
    )  # fmt: skip
    encoder = Encoder(towers, PREPROCESS, Compute(device=torch.device("cpu"), dtype=torch.float32))
    ours = Matching(encoder, labels=0, label_loss=0.0).loss(batch).total
    transcription = figure_1_of_siglip if sigmoid else figure_3_of_the_paper
    theirs = transcription(towers, encoder.to_device(batch.pixels), torch.from_numpy(tokens))
    assert abs(ours - theirs) / theirs <= 1e-10
    weights = list(towers.parameters())
    for one, other in zip(torch.autograd.grad(ours, weights), torch.autograd.grad(theirs, weights), strict=True):
        assert (one - other).norm() <= 1e-10 * max(other.norm().item(), 1e-6)
