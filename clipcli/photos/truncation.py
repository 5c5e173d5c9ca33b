"""What is left of a picture whose file was cut short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["is_empty", "what_is_there"]

_LEAST_SHARE = 0.005


@contextmanager
def what_is_there() -> Iterator[None]:
    """Within, decoders give what they have when a file ends early.

    Pillow has one switch for the whole process, so no other thread may decode meanwhile.
    """
    from PIL import ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def is_empty(picture: Picture) -> bool:
    """Whether next to nothing of an RGB picture is there: what was never read has one level in each channel."""
    pixels = picture.width * picture.height
    levels = picture.histogram()
    return all(max(levels[start : start + 256]) > (1 - _LEAST_SHARE) * pixels for start in range(0, len(levels), 256))
