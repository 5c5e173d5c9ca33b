"""Files under a temporary name beside the one they become, and what processes that were killed have left of them."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path

__all__ = ["partial_file", "sweep_partial_files"]

_BESIDE = ("", "-journal", "-wal", "-shm")  # what SQLite puts next to a database


def partial_file(target: Path) -> Path:
    """The name for this process: `.library.db.HOST.PID.new`."""
    return target.with_name(f".{target.name}.{_host()}.{os.getpid()}.new")


def sweep_partial_files(target: Path) -> None:
    """Remove those of `target` whose process is no more. One of another machine, which cannot be asked, stays."""
    name = re.compile(re.escape(f".{target.name}.{_host()}.") + r"(\d{1,10})\.new(?:" + "|".join(_BESIDE[1:]) + ")?")
    try:
        there = os.listdir(target.parent)
    except OSError:
        return
    for each in there:
        match = name.fullmatch(each)
        if match and not _is_alive(int(match[1])):
            with contextlib.suppress(OSError):
                os.unlink(target.parent / each)


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return True
    if sys.platform == "win32":  # nobody can be asked, but a file that is open there cannot be removed either
        return False
    try:
        os.kill(process, 0)  # asks, and does nothing
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def _host() -> str:
    import platform

    return re.sub(r"[^A-Za-z0-9-]+", "-", platform.node())[:64] or "here"
