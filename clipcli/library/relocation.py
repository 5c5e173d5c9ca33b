"""Pictures that lie somewhere else now: a disk with another name, a folder moved as a whole."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from clipcli.errors import NotFoundError, UsageError
from clipcli.library.known_files import place_condition
from clipcli.library.roots import Root, contains, read_roots, relative_to, stored_root
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored

__all__ = ["Moved", "relocate"]

_LOOKED_FOR = 200  # pictures of a root that are looked for in the new place


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """A root in its new place. Of its `pictures`, `looked_for` were looked for there and `found` are there."""

    root_id: int
    old: bytes
    new: bytes
    pictures: int
    looked_for: int
    found: int


def relocate(library: Library, old: bytes, new: bytes) -> list[Moved]:
    """Every root that is `old` or lies below it is taken to be in `new` from now on. No file is touched.

    The caller holds the library's `RunLock`. `old` need not exist any more. Raises NotFoundError where no root is
    meant, or none of its pictures is in the new place; UsageError where a picture would belong to two roots.
    """
    roots = read_roots(library)
    before = _name_of(old, roots)
    after = os.path.realpath(new)
    chosen = [root for root in roots if contains(before, root.path)]
    others = [root for root in roots if root not in chosen]
    with library.write() as connection:
        moved = []
        for root in chosen:
            rest = relative_to(root.path, before)
            target = absolute(after, rest) if rest else after
            moved.append(_looked_at(connection, root, target))
            _refuse_doubles(connection, root, target, others)
        # Two steps, since a root may take the name another one had.
        for root in chosen:
            connection.execute("UPDATE roots SET path = ?, anchored = 0 WHERE id = ?", (f"moving {root.id}", root.id))
        for each in moved:
            values = (*stored_root(library, each.new), each.root_id)
            connection.execute("UPDATE roots SET path = ?, anchored = ? WHERE id = ?", values)
    return moved


def _name_of(old: bytes, roots: Sequence[Root]) -> bytes:
    """`old` as the library knows it: as it was typed, or behind the links that are still there."""
    names = (os.path.abspath(old), os.path.realpath(old))
    for name in names:
        if any(contains(name, root.path) for root in roots):
            return name
    for root in roots:
        if any(contains(root.path, name) for name in names):
            raise UsageError(
                f"{os.fsdecode(old)} lies inside the indexed folder {os.fsdecode(root.path)}; "
                "'clip embed' recognises pictures that moved within it"
            )
    raise NotFoundError(f"no folder {os.fsdecode(old)} was indexed; 'clip library roots' lists those that were")


def _looked_at(connection: sqlite3.Connection, root: Root, target: bytes) -> Moved:
    if not os.path.isdir(target):
        raise NotFoundError(f"no such folder: {os.fsdecode(target)}")
    (pictures,) = connection.execute("SELECT count(*) FROM images WHERE root_id = ?", (root.id,)).fetchone()
    paths = connection.execute(
        "SELECT path FROM images WHERE root_id = ? ORDER BY id LIMIT ?", (root.id, _LOOKED_FOR)
    ).fetchall()
    found = sum(os.path.lexists(absolute(target, from_stored(path))) for (path,) in paths)
    if paths and not found:
        raise NotFoundError(
            f"none of the {len(paths):,} pictures looked for is below {os.fsdecode(target)}; nothing was changed"
        )
    assert root.id is not None
    return Moved(root_id=root.id, old=root.path, new=target, pictures=pictures, looked_for=len(paths), found=found)


def _refuse_doubles(connection: sqlite3.Connection, root: Root, target: bytes, others: Sequence[Root]) -> None:
    for other in others:
        twice: bytes | None
        if other.path == target:
            twice = target
        elif contains(other.path, target):
            twice = target if _has_pictures(connection, other, relative_to(target, other.path)) else None
        elif contains(target, other.path):
            twice = other.path if _has_pictures(connection, root, relative_to(other.path, target)) else None
        else:
            continue
        if twice is not None:
            place = shlex.quote(os.fsdecode(twice))
            raise UsageError(
                f"the pictures in {os.fsdecode(twice)} are in the library by that name already, beside those of "
                f"{os.fsdecode(root.path)}; give the same command again after this, which loses no tag given by hand: "
                f"clip library forget {place}"
            )


def _has_pictures(connection: sqlite3.Connection, root: Root, folder: bytes) -> bool:
    where, values = place_condition("path", folder)
    query = f"SELECT 1 FROM images WHERE root_id = ? AND {where} LIMIT 1"
    return connection.execute(query, (root.id, *values)).fetchone() is not None
