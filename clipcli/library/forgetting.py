"""Taking pictures out of a library by the names of their files or folders. No file is touched."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clipcli.errors import NotFoundError
from clipcli.library.kept_tags import drop_kept
from clipcli.library.known_files import place_condition
from clipcli.library.mounts import forget_mounts
from clipcli.library.roots import Root, contains, read_roots, relative_to
from clipcli.library.store import Library

__all__ = ["Forgotten", "forget", "what_would_be_forgotten"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgotten:
    """What a name means in one root: all of it where `folder` is empty, which takes the root out as well."""

    root: Root
    folder: bytes
    pictures: int
    skipped: int
    tags: int

    @property
    def path(self) -> bytes:
        return self.root.path if not self.folder else os.path.join(self.root.path, self.folder)


def what_would_be_forgotten(library: Library, named: Sequence[bytes]) -> list[Forgotten]:
    """Raises NotFoundError for a name the library has nothing of. Changes nothing."""
    with library.read() as connection:
        roots = read_roots(library)
        meant: dict[tuple[int | None, bytes], Forgotten] = {}
        for name in named:
            found = [one for root in roots for one in _within(connection, root, _spellings(name))]
            if not found:
                raise NotFoundError(f"the library has nothing of {os.fsdecode(name)}")
            meant.update(((one.root.id, one.folder), one) for one in found)
    return [one for one in meant.values() if not _covered(one, meant.values())]


def forget(library: Library, named: Sequence[bytes]) -> list[Forgotten]:
    """Take out what `what_would_be_forgotten` lists, in one transaction. The caller holds the library's `RunLock`.

    It is meant: of the pictures' tags none are kept for their return.
    """
    meant = what_would_be_forgotten(library, named)
    with library.write() as connection:
        for one in meant:
            where, values = place_condition("path", one.folder, None)
            digests = connection.execute(
                f"SELECT digest FROM images WHERE root_id = ? AND {where}", (one.root.id, *values)
            ).fetchall()
            if not one.folder and one.root.id is not None:
                forget_mounts(connection, one.root.id)
                connection.execute("DELETE FROM roots WHERE id = ?", (one.root.id,))
            else:
                for table in ("images", "skipped"):
                    connection.execute(f"DELETE FROM {table} WHERE root_id = ? AND {where}", (one.root.id, *values))
            drop_kept(connection, (digest for (digest,) in digests))
    return meant


def _spellings(name: bytes) -> set[bytes]:
    """The ways a file may be known: as typed, with its folder's links resolved, with its own as well."""
    plain = os.path.abspath(name)
    folder, last = os.path.split(plain)
    return {plain, os.path.join(os.path.realpath(folder), last), os.path.realpath(name)}


def _within(connection: sqlite3.Connection, root: Root, names: set[bytes]) -> list[Forgotten]:
    if any(contains(name, root.path) for name in names):
        return [_counted(connection, root, b"")]
    folders = sorted({relative_to(name, root.path) for name in names if contains(root.path, name)})
    found = [_counted(connection, root, folder) for folder in folders]
    return [one for one in found if one.pictures or one.skipped]


def _counted(connection: sqlite3.Connection, root: Root, folder: bytes) -> Forgotten:
    where, values = place_condition("path", folder, None)

    def count(rows: str) -> int:
        query = f"SELECT count(*) FROM {rows} WHERE root_id = ? AND {where}"
        (number,) = connection.execute(query, (root.id, *values)).fetchone()
        return int(number)

    return Forgotten(
        root=root,
        folder=folder,
        pictures=count("images"),
        skipped=count("skipped"),
        tags=count("tags JOIN images ON images.id = tags.image_id"),
    )


def _covered(one: Forgotten, others: Iterable[Forgotten]) -> bool:
    """Whether a folder that is meant as well holds it."""
    return any(
        other.root == one.root
        and other.folder != one.folder
        and (not other.folder or contains(other.folder, one.folder))
        for other in others
    )
