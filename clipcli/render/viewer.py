"""Pictures and pages in the programs that the person's desktop has for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from clipcli.errors import UsageError

__all__ = ["MOST_OPENED", "find_viewer", "open_address", "open_pictures"]

MOST_OPENED = 20  # windows
FAILS_WITHIN_S = 2.0  # what is no desktop says so at once; on a slow one there is a viewer
_INSTEAD = "'--preview' shows the pictures here, '--html FILE' puts them on a page"


def find_viewer() -> str | None:
    """The program that opens files on this desktop; None on Windows, which does it itself. Raises UsageError."""
    if sys.platform == "win32":
        return None
    name = "open" if sys.platform == "darwin" else "xdg-open"
    found = shutil.which(name)
    if found is None:
        raise UsageError(f"--open needs {name}, which is not installed; {_INSTEAD}")
    return found


def open_pictures(paths: Sequence[bytes], viewer: str | None) -> int:
    """Open the first `MOST_OPENED`, without waiting for their windows to close; how many those were.

    Raises UsageError where the first shows that nothing here opens pictures.
    """
    opened = paths[:MOST_OPENED]
    if sys.platform == "win32":
        for path in opened:
            os.startfile(os.fsdecode(path))
        return len(opened)
    assert viewer is not None
    # macOS takes all at once and shows them in one window; the desktops' xdg-open takes one file.
    groups = [opened] if sys.platform == "darwin" else [[path] for path in opened]
    for number, group in enumerate(filter(None, groups)):
        started = subprocess.Popen(
            [os.fsencode(viewer), *group],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if number == 0 and _has_failed(started):
            raise UsageError(f"--open: no program to show pictures was found; {_INSTEAD}")
        started.returncode = 0  # nobody waits for it, and Python need not complain that nobody does
    return len(opened)


def _has_failed(started: subprocess.Popen[bytes]) -> bool:
    """Whether it ended soon and badly. One that is still there shows a picture, or is about to."""
    try:
        return started.wait(FAILS_WITHIN_S) != 0
    except subprocess.TimeoutExpired:
        return False


def open_address(address: str) -> bool:
    """A page in the person's browser; False where there is no desktop, and nothing is opened."""
    if sys.platform not in ("win32", "darwin") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False  # what is left to open it with would take over the terminal
    import webbrowser

    return webbrowser.open(address)
