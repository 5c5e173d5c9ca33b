"""How many pictures a second each model's image tower takes, in turns, so that a busy machine treats all alike.

Shapes: B batch, S image size.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.preprocess import to_pixels
from clipcli.datasets.measured import Measured
from clipcli.errors import ImageError
from clipcli.photos.decode import open_image

__all__ = ["images_per_second"]

BATCH = 32
MOST_ROUNDS, FEWEST_ROUNDS = 15, 3
ENOUGH_S = 10.0  # after which no further round begins
_TRIED = 256  # pictures looked at for a batch of readable ones


def images_per_second(
    models: Sequence[Measured],
    pictures: Sequence[Path | bytes],
    *,
    advance: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float | None]:
    """Median over the rounds of a batch through each image tower alone; decoding does not count.

    None for all where there is no readable picture. The first round, in which towers are opened, is not counted.
    """
    batches = [_batch(model, pictures) for model in models]
    if any(batch is None for batch in batches):
        return [None] * len(models)
    taken: list[list[float]] = [[] for _ in models]
    begun = clock()
    for number in range(MOST_ROUNDS + 1):
        if number > FEWEST_ROUNDS and clock() - begun > ENOUGH_S:
            break
        places = range(len(models)) if number % 2 else reversed(range(len(models)))
        for place in places:
            batch = batches[place]
            assert batch is not None
            before = clock()
            models[place].encode_images(batch)
            after = clock()
            if number:
                taken[place].append((after - before) / len(batch))
            advance()
    return [1 / max(statistics.median(seconds), 1e-9) for seconds in taken]


def _batch(model: Measured, pictures: Sequence[Path | bytes]) -> NDArray[np.float32] | None:
    """(B, 3, S, S): the first readable pictures, over again where they are few."""
    spec = model.spec.preprocess
    found: list[NDArray[np.float32]] = []
    for picture in pictures[:_TRIED]:
        try:
            found.append(to_pixels(open_image(picture, hint=spec.image_size), spec))
        except ImageError:
            continue
        if len(found) == BATCH:
            break
    if not found:
        return None
    return np.stack([found[place % len(found)] for place in range(BATCH)])
