"""What a locked text tower makes of every text of a run: computed once, before the first step.

A text says the same in every step where its tower does not change, so steps are spared the tower. The order of the
texts is fixed, and so are the groups in which they go through it: a run that is resumed finds the very same numbers.

Shapes: T texts, D embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.encoding import Encoder
from trainer.options import PREDICTING, TrainOptions
from trainer.pictures import available_memory
from trainer.sampling import BatchMaker
from trainer.teacher import spoken_texts

__all__ = ["LockedTexts", "lock_texts"]

AT_ONCE = 256
SHARE = 0.125  # of the free memory, at most


class LockedTexts:
    """Features of texts by the text itself."""

    def __init__(self, texts: Sequence[str], features: NDArray[np.float32]) -> None:
        self.place = {text: at for at, text in enumerate(texts)}
        self.features = features  # (T, D) of length 1

    def of_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(T, D) of length 1. Raises KeyError for a text that was not known when the run began."""
        found: NDArray[np.float32] = self.features[[self.place[text] for text in texts]]
        return found


def lock_texts(
    maker: BatchMaker,
    encoder: Encoder,
    options: TrainOptions,
    *,
    pictures: int,
    begin: Callable[[str, int], Callable[[int], None]],
) -> None:
    """Have `maker` give features of texts with its batches, where the text tower is locked and it saves work.

    It does not where the run's `pictures` are fewer than its texts, nor where the features would take too much memory.
    """
    if options.tune != "image" or options.objective in PREDICTING:
        return
    used = [number for group in maker.plan.groups for number in group]
    texts = spoken_texts(maker.rows, used, options.templates)
    dimensions = encoder.model.config.embedding_dim
    if len(texts) > pictures or 4 * len(texts) * dimensions > SHARE * available_memory():
        return
    advance = begin("texts, for the locked tower", len(texts))
    features = np.empty((len(texts), dimensions), dtype=np.float32)
    encoder.model.eval()
    with torch.inference_mode():
        for start in range(0, len(texts), AT_ONCE):
            part = texts[start : start + AT_ONCE]
            tokens = maker.tokenise(part)
            lengths = (tokens == maker.end_id).argmax(axis=1) + 1
            features[start : start + len(part)] = encoder.texts_of(tokens, lengths).float().cpu().numpy()
            advance(len(part))
    maker.locked = LockedTexts(texts, features)
