"""How many frames of moving pictures a library was told to take: vectors of one library are made in one way."""

from __future__ import annotations

from dataclasses import replace

from clipcli.errors import LibraryDamagedError
from clipcli.library.report import IndexOptions
from clipcli.library.sqlite_errors import shown
from clipcli.library.store import Library
from clipcli.photos.frames import MOST_FRAMES

__all__ = ["remember_frames", "with_frames_of"]

_KEY = "frames"


def with_frames_of(library: Library | None, options: IndexOptions) -> IndexOptions:
    """The options of a run that was not told how many: as the last one that was, else the first frame alone.

    Raises LibraryDamagedError where what is remembered makes no sense.
    """
    written = None if library is None else library.setting(_KEY)
    if library is None or written is None:
        return replace(options, frames=1)
    try:
        frames = int(written)
        if not 1 <= frames <= MOST_FRAMES:
            raise ValueError
    except ValueError as error:
        raise LibraryDamagedError(
            f"the library {shown(library.path)} is damaged (its number of frames is none)"
        ) from error
    return replace(options, frames=frames)


def remember_frames(library: Library, frames: int) -> None:
    """To be called within `write()`."""
    if library.setting(_KEY) != str(frames) and (frames > 1 or library.setting(_KEY) is not None):
        library.set_setting(_KEY, str(frames))
