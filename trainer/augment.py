"""Pictures varied after they are cropped: in their colours, and with a part hidden.

Hue stays as it is, and no picture turns grey: captions name colours.

Shapes: B pictures of a batch, S image size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["vary"]

SMALLEST, LARGEST = 1 / 8, 1 / 2  # side of what is hidden, as a share of the picture's
GREY = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)  # luma of ITU-R BT.601


def vary(
    pixels: NDArray[np.uint8],  # (b, S, S, 3): the pictures `own` of the batch
    *,
    colour: float,
    erase: float,
    batch_size: int,
    own: slice,
    random: np.random.Generator,
) -> NDArray[np.uint8]:
    """Pictures with other brightness, contrast and saturation, and a square of one colour over a share of them.

    Each factor lies between 1 - `colour` and 1 + `colour`; `erase` is the share of pictures with a square (Zhong et al.
    2020, "Random Erasing Data Augmentation"). Numbers are drawn for all B, so that the processes of a run, each with
    pictures of its own, make what one process makes.
    """
    if colour:
        factors = random.uniform(1 - colour, 1 + colour, (batch_size, 3)).astype(np.float32)[own]
        pixels = _coloured(pixels, factors)
    if erase:
        chosen = random.random(batch_size) < erase
        sides = random.uniform(SMALLEST, LARGEST, batch_size)
        places = random.random((batch_size, 2))
        fill = random.integers(0, 256, (batch_size, 3), dtype=np.uint8)
        pixels = pixels.copy()
        size = pixels.shape[1]
        for at, number in enumerate(range(batch_size)[own]):
            if chosen[number]:
                side = max(1, round(float(sides[number]) * size))
                top, left = (int(place * (size - side + 1)) for place in places[number])
                pixels[at, top : top + side, left : left + side] = fill[number]
    return pixels


def _coloured(pixels: NDArray[np.uint8], factors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`factors` (b, 3): of brightness, contrast and saturation."""
    brightness, contrast, saturation = (factors[:, at, None, None, None] for at in range(3))
    bright = pixels * brightness
    middle = (bright @ GREY).mean(axis=(1, 2))[:, None, None, None]
    bright -= middle
    bright *= contrast
    bright += middle
    grey = (bright @ GREY)[..., None]
    bright -= grey
    bright *= saturation
    bright += grey
    made: NDArray[np.uint8] = np.clip(bright + 0.5, 0, 255).astype(np.uint8)
    return made
