"""What is left of a picture whose file was cut short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["is_empty", "what_is_there"]

_FLAT = frozenset((level, level) for level in range(256))


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
    """Whether an RGB picture shows nothing: one colour, as what was never read is."""
    return all(picture.getchannel(channel).getextrema() in _FLAT for channel in picture.getbands())
