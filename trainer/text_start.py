"""A text tower learnt from sentences alone, as the vectors of a sentence-embedding model place them.

Shapes: N sentences, B batch, E numbers of a given vector, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import DataError
from trainer.device import has_bf16
from trainer.distilling import similarity_loss
from trainer.encoding import split_by_length
from trainer.towers import Clip

__all__ = ["learn_text_tower", "reduced"]

SCALE = 30.0  # of the cosines, where the shares of a batch's other sentences are compared
HELD_OUT = 0.02
WARMUP = 0.05
MOST_MEASURED = 2_000


def reduced(vectors: NDArray[np.floating], dimensions: int) -> NDArray[np.float32]:
    """(N, E) to (N, D) of length 1: without what all have in common, along the D directions in which they differ most.

    Principal components (Pearson 1901), from the whole covariance, so that the order of the sentences does not matter.

    Raises:
        DataError: the vectors have fewer than D numbers.
    """
    if vectors.shape[1] < dimensions:
        raise DataError(f"vectors of {vectors.shape[1]} numbers cannot fill an embedding of {dimensions}")
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)  # (N, E)
    _, axes = np.linalg.eigh(centred.T @ centred)  # ascending
    made = centred @ axes[:, ::-1][:, :dimensions]
    found: NDArray[np.float32] = (made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)).astype("f4")
    return found


def learn_text_tower(
    model: Clip,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    wanted: NDArray[np.float32],  # (N, D) of length 1
    *,
    epochs: float,
    batch_size: int,
    lr: float,
    seed: int,
    say: Callable[[str], None],
) -> float:
    """Train the text tower of `model`; the mean cosine to what is wanted, on sentences held out."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(texts))
    count = max(1, round(HELD_OUT * len(texts)))
    held, training = order[:count][:MOST_MEASURED], order[count:]
    parameters = [parameter for parameter in model.text_tower.parameters() if parameter.requires_grad]
    matrices, gains = ([each for each in parameters if (each.ndim > 1) == wide] for wide in (True, False))
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": gains, "weight_decay": 0.0}], lr=lr, betas=(0.9, 0.98)
    )
    steps = max(1, math.ceil(epochs * len(training) / batch_size))
    rounds = np.concatenate([random.permutation(training) for _ in range(math.ceil(epochs) + 1)])
    said = 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = lr * _pace(step, steps)
        rows = rounds[step * batch_size : (step + 1) * batch_size]
        made = _features(model, tokenizer, [texts[row] for row in rows])
        aim = torch.from_numpy(wanted[rows])
        loss = (1 - (made * aim).sum(dim=1)).mean() + similarity_loss(
            SCALE * made @ aim.T, SCALE * aim @ aim.T, temperature=1.0
        )
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        said += loss.item()
        if (step + 1) % 100 == 0:
            say(f"step {step + 1} of {steps}, loss {said / 100:.4f}")
            said = 0.0
    with torch.inference_mode():
        parts = [
            (_features(model, tokenizer, [texts[row] for row in piece]) * torch.from_numpy(wanted[piece])).sum(dim=1)
            for piece in np.array_split(held, math.ceil(len(held) / batch_size))
        ]
    return float(torch.cat(parts).mean())


def _pace(step: int, steps: int) -> float:
    warm = WARMUP * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1.0, steps - warm)))


def _features(model: Clip, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """(B, D) of length 1."""
    tokens = tokenizer(texts)
    lengths = tokenizer.lengths(tokens)
    order, split = split_by_length(lengths)
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16(torch.device("cpu"))):
        parts = [
            model.text_tower(torch.from_numpy(tokens[part, : lengths[part].max()]))
            for part in (order[:split], order[split:])
            if len(part)
        ]
    return F.normalize(torch.cat(parts).float()[torch.from_numpy(np.argsort(order))], dim=-1)
