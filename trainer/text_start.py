"""A text tower learnt from sentences alone, as the vectors of a sentence-embedding model place them.

Shapes: N sentences, B batch, E numbers of a given vector, D embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import DataError
from trainer.distilling import similarity_loss
from trainer.encoding import Encoder
from trainer.optimiser import LearningRate, make_optimiser
from trainer.options import TrainOptions

__all__ = ["learn_text_tower", "reduced"]

SCALE = 30.0  # of the cosines, where the shares of a batch's other sentences are compared
HELD_OUT = 0.02
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
    encoder: Encoder,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    wanted: NDArray[np.float32],  # (N, D) of length 1
    options: TrainOptions,
    *,
    say: Callable[[str], None],
) -> float:
    """Train the text tower; the mean cosine to what is wanted, on sentences held out.

    Of `options` count the epochs, the batch size, the seed, and what says how fast is learnt.
    """
    random = np.random.default_rng(options.seed)
    order = random.permutation(len(texts))
    count = max(1, round(HELD_OUT * len(texts)))
    held, training = order[:count][:MOST_MEASURED], order[count:]
    tower = encoder.model.text_tower
    optimiser = make_optimiser([tower], options)
    steps = max(1, math.ceil(options.epochs * len(training) / options.batch_size))
    rate = LearningRate(peak=options.lr, steps=steps, warmup=options.warmup)
    rounds = np.concatenate([random.permutation(training) for _ in range(math.ceil(options.epochs) + 1)])

    def cosines(rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Between what is made of these sentences and what is wanted, and between those wanted: (B, B) each."""
        tokens = tokenizer([texts[row] for row in rows])
        made, aim = encoder.texts_of(tokens, tokenizer.lengths(tokens)), torch.from_numpy(wanted[rows])
        return made @ aim.to(made).T, (aim @ aim.T).to(made)

    said = 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
        found, known = cosines(rounds[step * options.batch_size : (step + 1) * options.batch_size])
        loss = (1 - found.diagonal()).mean() + similarity_loss(SCALE * found, SCALE * known, temperature=1.0)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(tower.parameters(), options.max_grad_norm)
        optimiser.step()
        said += loss.item()
        if (step + 1) % 100 == 0:
            say(f"step {step + 1} of {steps}, loss {said / 100:.4f}")
            said = 0.0
    with torch.inference_mode():
        pieces = np.array_split(held, math.ceil(len(held) / options.batch_size))
        return float(torch.cat([cosines(piece)[0].diagonal() for piece in pieces]).mean())
