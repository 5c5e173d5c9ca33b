"""What is not there, and what only cannot be seen at the moment."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

__all__ = ["is_absent", "is_gone", "not_there"]


def is_absent(folder: bytes) -> bool:
    """Not there, or there without a single entry, as the place of a disk that is not mounted is."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def not_there(paths: Iterable[bytes], *, at_most_s: float) -> list[bytes]:
    """Those that are not there; none where that takes longer, as with a disk that does not answer."""
    found: list[bytes] = []

    def look() -> None:
        found.extend([path for path in paths if not os.path.lexists(path)])

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(at_most_s)
    return list(found)


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
