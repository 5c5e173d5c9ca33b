"""Taking pictures out of a library by the names of their files or folders. No file is touched."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from clipcli.errors import NotFoundError
from clipcli.library.absence import is_gone
from clipcli.library.emptied import last_held
from clipcli.library.known_files import place_condition
from clipcli.library.mounts import forget_mounts, remember_taken_out
from clipcli.library.roots import Root, contains, read_roots, relative_to
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored

__all__ = ["Forgotten", "forget", "what_would_be_forgotten"]

_AMONG = "IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgotten:
    """What a name means in one root: all of it where `folder` is empty, which takes the root out as well.

    `gone` are the rows of what is not there, by table, where only that is meant; the root stays.
    """

    root: Root
    folder: bytes
    pictures: int
    skipped: int
    tags: int
    gone: Mapping[str, Sequence[int]] | None = None

    @property
    def path(self) -> bytes:
        return self.root.path if not self.folder else os.path.join(self.root.path, self.folder)


def what_would_be_forgotten(library: Library, named: Sequence[bytes], *, gone: bool = False) -> list[Forgotten]:
    """With `gone` only pictures whose files are not there, and skipped ones. Raises NotFoundError for a name the
    library has nothing of. Changes nothing.
    """
    with library.read() as connection:
        roots = read_roots(library)
        meant: dict[tuple[int | None, bytes], Forgotten] = {}
        for name in named:
            found = [one for root in roots for one in _within(connection, root, _spellings(name))]
            if not found:
                raise NotFoundError(f"the library has nothing of {os.fsdecode(name)}")
            meant.update(((one.root.id, one.folder), one) for one in found)
        whole = [one for one in meant.values() if not _covered(one, meant.values())]
        return [_only_gone(connection, one) for one in whole] if gone else whole


def forget(library: Library, named: Sequence[bytes], *, gone: bool = False) -> list[Forgotten]:
    """Take out what `what_would_be_forgotten` lists, in one transaction. The caller holds the library's `RunLock`.

    A person's tags are kept by content, as with all pictures that go: `kept_tags`.
    """
    meant = what_would_be_forgotten(library, named, gone=gone)
    with library.write() as connection:
        for one in meant:
            if one.gone is not None:
                if last_held(library, one.root) is not None:
                    remember_taken_out(library, one.root, _paths(connection, one.gone["images"]))
                _drop(connection, one.gone)
                continue
            where, values = place_condition("path", one.folder)
            if not one.folder and one.root.id is not None:
                forget_mounts(connection, one.root.id)
                connection.execute("DELETE FROM roots WHERE id = ?", (one.root.id,))
            else:
                for table in ("images", "skipped"):
                    connection.execute(f"DELETE FROM {table} WHERE root_id = ? AND {where}", (one.root.id, *values))
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
    where, values = place_condition("path", folder)

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


def _only_gone(connection: sqlite3.Connection, one: Forgotten) -> Forgotten:
    where, values = place_condition("path", one.folder)
    gone: dict[str, list[int]] = {}
    for table in ("images", "skipped"):
        rows = connection.execute(f"SELECT id, path FROM {table} WHERE root_id = ? AND {where}", (one.root.id, *values))
        gone[table] = [number for number, path in rows if is_gone(absolute(one.root.path, from_stored(path)))]
    (tags,) = connection.execute(
        f"SELECT count(*) FROM tags WHERE image_id {_AMONG}", (json.dumps(gone["images"]),)
    ).fetchone()
    return replace(one, pictures=len(gone["images"]), skipped=len(gone["skipped"]), tags=int(tags), gone=gone)


def _paths(connection: sqlite3.Connection, image_ids: Sequence[int]) -> list[bytes]:
    rows = connection.execute(f"SELECT path FROM images WHERE id {_AMONG} ORDER BY id", (json.dumps(image_ids),))
    return [from_stored(path) for (path,) in rows]


def _drop(connection: sqlite3.Connection, gone: Mapping[str, Sequence[int]]) -> None:
    for table, ids in gone.items():
        connection.execute(f"DELETE FROM {table} WHERE id {_AMONG}", (json.dumps(ids),))


def _covered(one: Forgotten, others: Iterable[Forgotten]) -> bool:
    """Whether a folder that is meant as well holds it."""
    return any(
        other.root == one.root
        and other.folder != one.folder
        and (not other.folder or contains(other.folder, one.folder))
        for other in others
    )
