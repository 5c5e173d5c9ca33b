"""Disks mounted inside a root: a library remembers where they were, so that one that is away takes nothing with it.

Only what is remembered tells a disk that is not mounted from a folder that somebody has emptied. The place is what
counts, not which disk was there: numbers of devices change with every start of the machine.

A mark is the newest picture that was known in a place when it was found without its pictures. Only those up to it can
show that they are back: what some program has put into the folder meanwhile says nothing about the disk. Those that
a person has taken out of the library meanwhile can show it as well.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from clipcli.errors import LibraryDamagedError
from clipcli.library.absence import is_absent
from clipcli.library.roots import Root, read_roots
from clipcli.library.sqlite_errors import shown
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored
from clipcli.library.stubs import last_seen, stubs
from clipcli.photos import devices

__all__ = [
    "Mounts",
    "absent_places",
    "any_there",
    "forget_mounts",
    "is_below",
    "keep_mounts",
    "remember_taken_out",
    "remembered_mounts",
]

_TAKEN_OUT_KEPT = 64


@dataclass(kw_only=True, slots=True)
class Mounts:
    """The places below one root, relative to it, where disks are or were mounted; empty for the root itself.

    `marks` are image ids by place, and change while looking; `kept_marks` are those that are remembered. `taken_out`
    are some of the pictures that a person has let go while the root was without all of them, `kept_taken_out` likewise.
    """

    root: bytes
    remembered: frozenset[bytes] = frozenset()
    found: set[bytes] = field(default_factory=set)  # while looking through the root just now
    replaced: set[bytes] = field(default_factory=set)  # by a folder with pictures that were known there
    marks: dict[bytes, int] = field(default_factory=dict)
    kept_marks: Mapping[bytes, int] = field(default_factory=dict)
    taken_out: tuple[bytes, ...] = ()
    kept_taken_out: tuple[bytes, ...] = ()

    @property
    def to_keep(self) -> frozenset[bytes]:
        return (self.remembered | self.found) - self.replaced

    @property
    def any_taken_out_there(self) -> bool:
        return any(os.path.lexists(absolute(self.root, path)) for path in self.taken_out)

    def away(self, folder: bytes, *, met: Callable[[bytes], bool]) -> list[bytes]:
        """Those of the remembered places in or around `folder` whose disk is not there.

        One that is empty or gone is; so is an ordinary folder in its place, unless something known below it was `met`:
        then somebody has put the pictures there for good.
        """
        found = []
        for place in sorted(self.remembered):
            if not (is_below(place, folder) or is_below(folder, place)):
                continue
            path = absolute(self.root, place)
            if is_absent(path):
                found.append(place)
            elif place in self.found or devices.is_mount(path):
                self.marks.pop(place, None)
            elif met(place):
                self.replaced.add(place)
                self.marks.pop(place, None)
            else:
                found.append(place)
        return found


def is_below(path: bytes, folder: bytes) -> bool:
    """Whether a path relative to a root is the folder or lies in it; the empty folder is the root."""
    return not folder or path == folder or path.startswith(folder + b"/")


def remembered_mounts(library: Library, root: Root) -> Mounts:
    """Raises LibraryDamagedError where what is remembered makes no sense."""
    if root.id is None:
        return Mounts(root=root.path)
    written, marked, gone = (library.setting(key) for key in _keys(root.id))
    try:
        places = json.loads(written) if written else []
        marks = json.loads(marked) if marked else {}
        paths = json.loads(gone) if gone else []
        if not (isinstance(places, list) and isinstance(marks, dict) and isinstance(paths, list)):
            raise ValueError
        remembered = frozenset(os.fsencode(place) for place in places)
        taken_out = tuple(os.fsencode(path) for path in paths)
        marks = {os.fsencode(place): int(image_id) for place, image_id in marks.items()}
    except (ValueError, TypeError) as error:
        raise LibraryDamagedError(
            f"the library {shown(library.path)} is damaged (its list of mounted disks is none)"
        ) from error
    return Mounts(
        root=root.path,
        remembered=remembered,
        marks=dict(marks),
        kept_marks=marks,
        taken_out=taken_out,
        kept_taken_out=taken_out,
    )


def keep_mounts(library: Library, root_id: int, mounts: Mounts) -> None:
    """To be called within `write()`, before anything of the root is forgotten."""
    place_key, mark_key, taken_key = _keys(root_id)
    if mounts.to_keep != mounts.remembered:
        library.set_setting(place_key, json.dumps(sorted(os.fsdecode(place) for place in mounts.to_keep)))
    if mounts.marks != mounts.kept_marks:
        marks = {os.fsdecode(place): image_id for place, image_id in sorted(mounts.marks.items())}
        library.set_setting(mark_key, json.dumps(marks))
        mounts.kept_marks = dict(mounts.marks)
    if mounts.taken_out != mounts.kept_taken_out:
        library.set_setting(taken_key, json.dumps([os.fsdecode(path) for path in mounts.taken_out]))
        mounts.kept_taken_out = mounts.taken_out


def remember_taken_out(library: Library, root: Root, paths: Sequence[bytes]) -> None:
    """Some of them, evenly spread: they are what a missing disk will be known by. To be called within `write()`."""
    if root.id is not None and paths:
        mounts = remembered_mounts(library, root)
        mounts.taken_out = tuple(paths[:: len(paths) // _TAKEN_OUT_KEPT + 1])
        keep_mounts(library, root.id, mounts)


def forget_mounts(connection: sqlite3.Connection, root_id: int) -> None:
    """With its root; another one may get its number. To be called within `write()`."""
    connection.execute("DELETE FROM settings WHERE key IN (?, ?, ?)", _keys(root_id))


def absent_places(library: Library) -> list[tuple[bytes, int]]:
    """Roots that are not there or empty, and places in others whose disk or share is not there: with how many pictures
    each.
    """
    found = []
    with library.read() as connection:
        for root in read_roots(library):
            places: Collection[bytes] = [b""] if is_absent(root.path) else _away(library, root)
            for place, count in _counts(connection, root, places):
                if count:
                    found.append((absolute(root.path, place), count))
    return found


def _away(library: Library, root: Root) -> list[bytes]:
    mounts = remembered_mounts(library, root)
    marks = dict(mounts.marks)
    away = mounts.away(b"", met=lambda place: any_there(library, root, place, until=marks.get(place)))
    with library.read() as connection:
        rows = connection.execute("SELECT path, updated_at FROM images WHERE root_id = ?", (root.id,))
        seen = last_seen((from_stored(path), seen_at) for path, seen_at in rows)
    return [*away, *sorted(stubs(root.path, seen) - set(away))]


def any_there(library: Library, root: Root, place: bytes = b"", *, until: int | None = None) -> bool:
    """Whether the file of a picture that is known in a place is there, of those with ids up to `until`."""
    with library.read() as connection:
        return any(os.path.lexists(absolute(root.path, path)) for path in _known(connection, root, {place}, until))


def _counts(connection: sqlite3.Connection, root: Root, places: Collection[bytes]) -> Iterable[tuple[bytes, int]]:
    if not places:
        return ()
    counts = dict.fromkeys(places, 0)
    for path in _known(connection, root, set(places)):
        counts[max((place for place in places if is_below(path, place)), key=len)] += 1
    return counts.items()


def _known(connection: sqlite3.Connection, root: Root, places: Set[bytes], until: int | None = None) -> Iterable[bytes]:
    which = "root_id = ?1" if until is None else "root_id = ?1 AND id <= ?2"
    values = (root.id,) if until is None else (root.id, until)
    for (stored,) in connection.execute(f"SELECT path FROM images WHERE {which}", values):
        path = from_stored(stored)
        if any(is_below(path, place) for place in places):
            yield path


def _keys(root_id: int) -> tuple[str, str, str]:
    """Of the places, of the marks, and of what was taken out."""
    return f"mounts of root {root_id}", f"last seen in root {root_id}", f"taken out of root {root_id}"
