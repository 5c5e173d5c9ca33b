"""What is not there, and what only cannot be seen at the moment."""

from __future__ import annotations

import os

__all__ = ["is_absent", "is_gone"]


def is_absent(folder: bytes) -> bool:
    """Not there, or there without a single entry, as the place of a disk that is not mounted is."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def is_gone(path: bytes) -> bool:
    """Whether there is certainly no such file any more: one behind a link that leads nowhere may come back."""
    try:
        os.lstat(path)
        return False
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError:
        return False
    folder = os.path.dirname(path)
    while not os.path.exists(folder):
        if os.path.islink(folder):
            return False
        folder = os.path.dirname(folder)
    return True
