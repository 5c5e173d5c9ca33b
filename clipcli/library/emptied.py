"""Roots that are there while none of their pictures is: another disk in the same place, or a file beside a missing one.

A folder that somebody has emptied looks the same, so nothing is taken for gone until a person says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from clipcli.library.absence import is_absent
from clipcli.library.id_set import IdSet
from clipcli.library.mounts import Mounts, any_there, remembered_mounts
from clipcli.library.roots import Root, read_roots
from clipcli.library.store import Library

__all__ = ["emptied_roots", "held_back", "last_held", "still_emptied"]


def held_back(library: Library, root: Root, mounts: Mounts, gone: Collection[int], *, met: bool) -> IdSet:
    """Which of the pictures that are `gone` from a root are not to be forgotten. `met`: another one that is known is
    there. Notes in `mounts` up to which picture that is so; the pictures that came later are as any other.
    """
    until = mounts.marks.get(b"")
    if until is None and (met or not gone):
        return IdSet()
    until = _last(library, root, mounts)
    if until is None:
        mounts.marks.pop(b"", None)
        if mounts.any_taken_out_there:
            mounts.taken_out = ()
        return IdSet()
    mounts.marks[b""] = until
    return IdSet(image_id for image_id in gone if image_id <= until)


def still_emptied(library: Library, root: Root, mounts: Mounts) -> bool:
    """Whether that is so even now that the files of a run have been read: in another folder of the root a picture is
    known again.
    """
    if any_there(library, root, until=mounts.marks.get(b"")):
        mounts.marks.pop(b"", None)
        return False
    return True


def emptied_roots(library: Library) -> list[tuple[Root, int, int]]:
    """Roots that are there and not empty, and hold none of the pictures up to an id: with it, and how many."""
    found = []
    for root in read_roots(library):
        if is_absent(root.path):
            continue
        until = last_held(library, root)
        if until is not None:
            with library.read() as connection:
                (count,) = connection.execute(
                    "SELECT count(*) FROM images WHERE root_id = ? AND id <= ?", (root.id, until)
                ).fetchone()
            found.append((root, until, int(count)))
    return found


def last_held(library: Library, root: Root) -> int | None:
    """The last of the pictures of which none is there; None where there is one, or none is known."""
    return _last(library, root, remembered_mounts(library, root))


def _last(library: Library, root: Root, mounts: Mounts) -> int | None:
    until = mounts.marks.get(b"")  # the last one of those that were missed before
    with library.read() as connection:
        newest, missed = _newest(connection, root, None), _newest(connection, root, until)
    if newest is None:
        return None
    if not any_there(library, root):
        return None if mounts.any_taken_out_there else newest
    if until is None or missed is None or any_there(library, root, until=until):
        return None
    return until


def _newest(connection: sqlite3.Connection, root: Root, until: int | None) -> int | None:
    which = "" if until is None else f" AND id <= {until:d}"
    (newest,) = connection.execute(f"SELECT max(id) FROM images WHERE root_id = ?{which}", (root.id,)).fetchone()
    return None if newest is None else int(newest)
