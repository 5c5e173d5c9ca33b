"""Inputs for a model's probe: pictures from a generator, and sentences of our own.

Nobody's photographs should travel in a model that is given away.
Shapes: N images, S image size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["SENTENCES", "made_images"]

SENTENCES = (
    "a photo of a cat.",
    "a photo of a red motorcycle.",
    "two dogs run through the snow",
    "A man in a blue shirt is standing on a ladder cleaning a window.",
    "a child holding a balloon at the beach",
    "an aerial view of a city at night",
    "a bowl of soup on a wooden table",
    "three people sit around a fire and talk",
    "a black and white picture of an old house",
    "a page of printed text",
    "the rocket stands on its launch pad",
    "a group of musicians plays in a small park while people walk past",
    "close-up of a flower with yellow petals",
    "airplane",
    "a crowded street market with fruit, vegetables and many colourful signs",
    "",
)


def made_images(size: int, count: int = 12, seed: int = 0) -> NDArray[np.uint8]:
    """(N, S, S, 3) with the spectrum of photographs: amplitude falls as 1/frequency, and there are edges besides.

    Field 1987, "Relations between the statistics of natural images and the response properties of cortical cells".
    """
    random = np.random.default_rng(seed)
    across = np.fft.fftfreq(size)
    frequency = np.hypot(across[:, None], across[None, :])  # (S, S)
    frequency[0, 0] = 1 / size
    images = []
    for _ in range(count):
        noise = np.fft.fft2(random.normal(size=(size, size, 4)), axes=(0, 1)) / frequency[:, :, None]
        planes = np.fft.ifft2(noise, axes=(0, 1)).real  # (S, S, 4)
        planes /= planes.std(axis=(0, 1))
        colour = planes[:, :, 3:] + 0.5 * planes[:, :, :3] + random.normal(0, 0.3, 3)  # mostly grey, as the world is
        left, top, width, height = (random.uniform(0.05, 0.5, 4) * size).astype(int)
        colour[top : top + height, left : left + width] += random.normal(0, 1.2, 3)  # an edge that noise does not have
        images.append(np.clip(colour * 45 + 115, 0, 255).astype(np.uint8))
    return np.stack(images)
