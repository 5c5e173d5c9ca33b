"""Which folders are the beginning of another disk: their device is not that of the folder they are in."""

from __future__ import annotations

import os

__all__ = ["device_of", "is_mount"]


def device_of(path: bytes) -> int | None:
    """The device a folder lies on, its own for the place of a mounted disk; None where that cannot be told."""
    try:
        return os.stat(path).st_dev
    except OSError:
        return None


def is_mount(path: bytes) -> bool:
    """Whether another disk begins here than the one around it, behind a link perhaps. What is not there is none."""
    here = device_of(path)
    return here is not None and here != device_of(os.path.dirname(path))
