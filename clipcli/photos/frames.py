"""Which frames of a moving picture, or pages of a file that has several, stand for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

__all__ = ["MOST_FRAMES", "MOVING", "further_frames", "spread"]

MOVING = frozenset(("GIF", "PNG", "WEBP", "TIFF", "AVIF"))  # the formats that can hold more than one picture in a row
MOST_FRAMES = 64

_T = TypeVar("_T")


def spread(count: int, wanted: int) -> list[int]:
    """The numbers of at most `wanted` of `count` frames: the first of each of as many stretches of equal length.

    So one frame is the first one, and a film that ends as it began does not count its beginning twice.
    """
    taken = min(count, wanted)
    return [place * count // taken for place in range(taken)]


def further_frames(image: ImageFile, wanted: int, first: _T, read: Callable[[int], _T]) -> tuple[list[_T], int]:
    """`first` and what `read` makes of the other frames, and how many can be read.

    A frame that cannot be read ends the film before it; where that was not the end of it, only the first one counts.
    """
    count = _count(image)
    for _ in range(2):
        kept, number = [first], 1
        try:
            for number in spread(count, wanted)[1:]:
                kept.append(read(number))
            return kept, count
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - decoders raise anything; the first frame is there
            count = number
    return [first], 1


def _count(image: ImageFile) -> int:
    try:
        return max(1, int(getattr(image, "n_frames", 1)))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - what follows the first frame is damaged
        return 1
