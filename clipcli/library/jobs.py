"""What passes from stage to stage of an index run: a file to look at, and what came of it.

Shapes: F frames, S image size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.photos.facts import Facts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Copied", "Decoded", "Job", "Kept", "Outcome", "Postponed", "Refused", "Skip"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A file that has to be opened. `root` is absolute, `path` relative to it; `image_id` is set where it is known.

    `known_reason` is why it could not be read the last time, when it has not changed since.
    """

    root: bytes
    path: bytes
    size: int
    mtime_ns: int
    image_id: int | None = None
    known_reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """A picture ready for the model, by one frame or several. `size` and `mtime_ns` are from when it was opened."""

    job: Job
    size: int
    mtime_ns: int
    digest: str
    facts: Facts
    pixels: NDArray[np.float32]  # (F, 3, S, S)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A file whose time or size looked new, with the content it had: its vector stands.

    `frames` is how many it has, where that has only been found out now.
    """

    job: Job
    size: int
    mtime_ns: int
    frames: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """A file with the content of picture `source`, whose vector is used again."""

    job: Job
    size: int
    mtime_ns: int
    digest: str
    source: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """A file that could not be read. `megapixels` of one that is too large, `seconds` the limit of one too slow."""

    job: Job
    reason: str
    detail: str
    megapixels: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Postponed:
    """A file with the content of another one that is being embedded at this moment: its turn comes afterwards."""

    job: Job


Outcome = Decoded | Kept | Copied | Refused | Postponed


@dataclass(frozen=True, kw_only=True, slots=True)
class Skip:
    """A file or folder that could not be read: `path` absolute, `reason` one word, `detail` a phrase."""

    path: bytes
    reason: str
    detail: str
