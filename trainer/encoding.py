"""From the arrays of a batch to features: pixels normalised on the device, texts without needless padding.

Shapes: B pictures, T texts, L tokens, D embedding, S image size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clipcli.bundle.spec import Preprocess
from trainer.device import Compute
from trainer.sampling import Batch
from trainer.towers import Clip

__all__ = ["Encoder", "split_by_length"]


class Encoder:
    """Runs the towers on arrays, or on a part of them, in the number format of the run."""

    def __init__(self, model: Clip, preprocess: Preprocess, compute: Compute, *, compile: bool = False) -> None:
        self.model, self.compute = model, compute
        exact = model.logit_scale.dtype  # float32, in which weights are kept, or float64 where a test asks for it
        self.mean = torch.tensor(preprocess.mean, device=compute.device, dtype=exact).view(1, 3, 1, 1)
        self.std = torch.tensor(preprocess.std, device=compute.device, dtype=exact).view(1, 3, 1, 1)
        self.image_forward: Callable[..., Tensor] = model.encode_image
        if compile:
            self.image_forward = torch.compile(model.encode_image)

    def to_device(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(B, S, S, 3) levels to (B, 3, S, S), normalised; stays with the channels innermost."""
        raw = torch.from_numpy(pixels).to(self.compute.device, non_blocking=True).permute(0, 3, 1, 2)
        return (raw.to(self.mean.dtype) / 255 - self.mean) / self.std

    def images(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(B, S, S, 3) to (B, D), not normalised."""
        if not len(pixels):
            return self._nothing()
        with self.compute.autocast():
            return self.image_forward(self.to_device(pixels), normalise=False)

    def texts(self, batch: Batch, part: slice = slice(None)) -> Tensor:
        """(T, D) of length 1, of the texts in `part`."""
        if not len(batch.lengths[part]):
            return self._nothing()
        if batch.text_features is not None:
            return torch.from_numpy(batch.text_features[part]).to(self.mean)
        return self.texts_of(batch.tokens[part], batch.lengths[part])

    def texts_of(self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> Tensor:
        """(T, L) token ids, of which the first `lengths` (T,) count, to (T, D) of length 1."""
        with self.compute.autocast():
            return self._texts(tokens, lengths)

    def _nothing(self) -> Tensor:
        """(0, D): the share of a process that got no row."""
        return self.mean.new_zeros(0, self.model.config.embedding_dim)

    def _texts(self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> Tensor:
        """Short texts go by themselves where that saves work: padding costs as much as words do."""
        if not self.model.config.text.causal:  # padding is seen: a row cut short is another text
            return self.model.encode_text(torch.from_numpy(tokens).to(self.compute.device))
        order, split = split_by_length(lengths)
        parts = [
            self.model.encode_text(torch.from_numpy(tokens[part, : lengths[part].max()]).to(self.compute.device))
            for part in (order[:split], order[split:])
            if len(part)
        ]
        back = torch.from_numpy(np.argsort(order)).to(self.compute.device)
        return torch.cat(parts)[back]


def split_by_length(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Order of the texts by length, and how many of the short ones to take apart so that the two halves pad least."""
    order = np.argsort(lengths, kind="stable")
    ranked = lengths[order]
    short = np.arange(1, len(ranked) + 1)
    cost = short * ranked + (len(ranked) - short) * ranked[-1]  # tokens, padding counted, of each split
    return order, int(np.argmin(cost)) + 1
