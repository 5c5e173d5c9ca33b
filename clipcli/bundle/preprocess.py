"""The one preprocessing, used by training, export and inference: resize, crop, normalise.

Decoding and orientation come before it (`clipcli.photos`); what arrives here is an upright RGB picture.
Shapes: H W pixels, S the model's image size.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from clipcli.bundle.spec import Preprocess

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture
    from PIL.Image import Resampling

__all__ = ["normalise", "resize_and_crop", "resized_shape", "to_pixels"]

# Beyond this many crops' worth of resized pixels (a ribbon of a picture), only the part that is kept is resized:
# a 1 x 60,000 picture would otherwise become 224 x 13,440,000.
_RIBBON = 256


def resized_shape(width: int, height: int, size: int) -> tuple[int, int]:
    """(W, H) after the shorter side has become `size`: the longer one is cut to a whole number, as in torchvision."""
    short, long = min(width, height), max(width, height)
    scaled = int(size * long / short)
    return (size, scaled) if width <= height else (scaled, size)


def resize_and_crop(image: Picture, spec: Preprocess) -> Picture:
    """Upright RGB in, S x S RGB out: the reference CLIP transform, pixel for pixel.

    `Resize(size, bicubic)` then `CenterCrop(size)` of torchvision on a PIL image: the crop starts at
    `round((length - size) / 2)`, Python's rounding, which takes halves to even. Models that transformers prepares
    pictures for start it at the whole number below.
    """
    from PIL import Image  # late: a search by words, which needs no picture, comes by this file

    size = spec.image_size
    method = Image.Resampling[spec.interpolation.upper()]
    if image.mode != "RGB":
        image = image.convert("RGB")
    if spec.resize == "squash":
        return image.resize((size, size), method)
    width, height = resized_shape(image.width, image.height, size)
    start = int if spec.crop_rounding == "down" else round
    left, top = start((width - size) / 2), start((height - size) / 2)
    if width * height > _RIBBON * size * size:
        return _resize_middle(image, (width, height), (left, top), size, method)
    if (width, height) != image.size:
        image = image.resize((width, height), method)
    if (width, height) == (size, size):
        return image
    return image.crop((left, top, left + size, top + size))


def _resize_middle(
    image: Picture, whole: tuple[int, int], start: tuple[int, int], size: int, method: Resampling
) -> Picture:
    """What is cropped of a ribbon. Across, then down, as the whole picture would be: in between, values are rounded."""
    across, down = image.width / whole[0], image.height / whole[1]
    columns = (start[0] * across, 0, (start[0] + size) * across, image.height)
    image = image.resize((size, image.height), method, box=columns)
    return image.resize((size, size), method, box=(0, start[1] * down, size, (start[1] + size) * down))


@lru_cache(maxsize=8)
def _levels(mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """What each of the 256 levels of each channel becomes, (3, 256), in the reference's order of float32 operations."""
    import numpy as np  # late: a process that only decodes and resizes starts without it

    level = np.arange(256, dtype=np.float32) / np.float32(255)
    return np.stack([(level - np.float32(m)) / np.float32(s) for m, s in zip(mean, std, strict=True)])


def normalise(pixels: NDArray[np.uint8], spec: Preprocess) -> NDArray[np.float32]:
    """(H, W, 3) levels -> (3, H, W) float32. A table of 256 entries is exact and faster than arithmetic."""
    import numpy as np

    levels = _levels(spec.mean, spec.std)
    planes = np.empty((3, *pixels.shape[:2]), dtype=np.float32)  # (3, H, W)
    for channel in range(3):
        np.take(levels[channel], pixels[:, :, channel], out=planes[channel], mode="clip")
    return planes


def to_pixels(image: Picture, spec: Preprocess) -> NDArray[np.float32]:
    """An upright picture as the image tower takes it, (3, S, S)."""
    import numpy as np

    return normalise(np.asarray(resize_and_crop(image, spec)), spec)
