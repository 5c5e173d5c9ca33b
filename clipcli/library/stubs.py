"""Folders inside a root that are empty although nobody has emptied them: places of disks or shares that are away.

Who takes something out of a folder changes the folder's time (POSIX.1-2017, unlink, rename). One that is empty, and
older than the last look at the pictures below it, is another folder than the one they were in: it was hidden by what
was mounted over it. That tells even where the device does not, as for folders that a server has mounted for itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping

from clipcli.library.absence import is_absent
from clipcli.library.stored_paths import absolute

__all__ = ["last_seen", "stubs"]


def last_seen(pictures: Iterable[tuple[bytes, str]]) -> dict[bytes, str]:
    """By folder, the latest time that one of its pictures was looked at; paths and folders are relative to a root."""
    found: dict[bytes, str] = {}
    for path, seen_at in pictures:
        folder = os.path.dirname(path)
        found[folder] = max(found.get(folder, ""), seen_at)
    return found


def stubs(root: bytes, seen: Mapping[bytes, str]) -> set[bytes]:
    """Of what `last_seen` says of a root, the folders below it, relative to it, that are places of what is away."""
    found: set[bytes] = set()
    for folder, seen_at in seen.items():
        place = folder
        while place and not os.path.lexists(absolute(root, place)):
            place = os.path.dirname(place)
        if place and place not in found and _is_stub(absolute(root, place), seen_at):
            found.add(place)
    return found


def _is_stub(folder: bytes, seen_at: str) -> bool:
    try:
        changed = os.stat(folder).st_mtime
    except OSError:  # a link that leads nowhere: nothing behind it is taken for gone
        return False
    return is_absent(folder) and time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(changed)) < seen_at
