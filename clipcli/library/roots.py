"""The folders a library was made from, and which part of which of them a command line means."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from clipcli.errors import NotFoundError
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored, to_stored

__all__ = [
    "ANCHOR_SETTING",
    "Root",
    "Target",
    "add_root",
    "contains",
    "read_roots",
    "relative_to",
    "stored_root",
    "targets",
]


_ELSEWHERE = " (nothing was forgotten; 'clip library relocate' tells the library where it is now)"
ANCHOR_SETTING = "anchor"  # in a backup of a library beside its pictures: the folder they were in


@dataclass(frozen=True, kw_only=True, slots=True)
class Root:
    """A folder whose pictures are in the library. `id` is None for one that is not in it yet."""

    id: int | None
    path: bytes  # absolute, without symbolic links

    def __post_init__(self) -> None:
        if not os.path.isabs(self.path):
            raise ValueError(f"a root is absolute, not {os.fsdecode(self.path)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is to be indexed below one root: folders with all they hold, and single files, relative to the root."""

    root: Root
    folders: tuple[bytes, ...] = ()
    files: tuple[bytes, ...] = ()


def read_roots(library: Library) -> list[Root]:
    with library.read() as connection:
        rows = connection.execute("SELECT id, path, anchored FROM roots ORDER BY id").fetchall()
    return [
        Root(id=number, path=_resolved(library, from_stored(path), bool(anchored))) for number, path, anchored in rows
    ]


def add_root(library: Library, connection: sqlite3.Connection, path: bytes) -> int:
    """To be called within `write()`."""
    (number,) = connection.execute(
        "INSERT INTO roots (path, anchored) VALUES (?, ?) "
        "ON CONFLICT (path, anchored) DO UPDATE SET path = excluded.path RETURNING id",
        stored_root(library, path),
    ).fetchone()
    return int(number)


def stored_root(library: Library, path: bytes) -> tuple[str | bytes, int]:
    """The columns `path` and `anchored` of a root: relative to the folder that holds `.clip` where it lies in that."""
    anchor = library.anchor
    if anchor is not None and contains(anchor, path):
        return to_stored(os.path.relpath(path, anchor)), 1
    return to_stored(path), 0


def _resolved(library: Library, path: bytes, anchored: bool) -> bytes:
    if not anchored:
        return path
    anchor = library.anchor or _anchor_of_original(library)
    return os.path.normpath(os.path.join(anchor, path))


def _anchor_of_original(library: Library) -> bytes:
    """For a copy outside any `.clip`: what the library it is a backup of was anchored to, else its own folder."""
    row = library.connection.execute("SELECT value FROM settings WHERE key = ?", (ANCHOR_SETTING,)).fetchone()
    return from_stored(row[0]) if row else os.path.dirname(os.path.realpath(os.fsencode(library.path)))


def contains(folder: bytes, path: bytes) -> bool:
    """Whether `path` is the folder or lies below it, by name alone."""
    return path == folder or path.startswith(absolute(folder, b"x")[:-1])


@dataclass(kw_only=True, slots=True)
class _Wanted:
    folders: set[bytes] = field(default_factory=set)
    files: dict[bytes, None] = field(default_factory=dict)


def targets(named: Sequence[bytes], roots: Iterable[Root]) -> list[Target]:
    """What the named files and folders mean: in the deepest root around each, else in a new one.

    A named folder is a root of its own where no root holds it; a file's is the folder it lies in. A root inside a named
    folder keeps its pictures, and is looked through with it. Raises NotFoundError for a name that is not there.
    """
    wanted: dict[bytes, _Wanted] = {}
    known = {root.path: root for root in roots}
    folders, files = _sorted_out(named, known)
    for folder in sorted(folders, key=len):  # the outer ones first, so that the inner ones find their root
        root = _around(folder, known)
        if root is None:
            root = known.setdefault(folder, Root(id=None, path=folder))
        wanted.setdefault(root.path, _Wanted()).folders.add(relative_to(folder, root.path))
        for inner in known:
            if inner != root.path and contains(folder, inner):
                wanted.setdefault(inner, _Wanted()).folders.add(b"")
    for file in files:
        folder = os.path.dirname(file)
        root = _around(folder, known)
        if root is None:
            root = known.setdefault(folder, Root(id=None, path=folder))
        wanted.setdefault(root.path, _Wanted()).files[relative_to(file, root.path)] = None
    return [_target(known[path], each) for path, each in wanted.items()]


def _sorted_out(named: Sequence[bytes], known: dict[bytes, Root]) -> tuple[set[bytes], dict[bytes, None]]:
    folders: set[bytes] = set()
    files: dict[bytes, None] = {}
    for name in named:
        try:
            mode = os.stat(name).st_mode
        except OSError as error:
            kept = _around(os.path.abspath(name), known) is not None
            why = "no such file or folder" if isinstance(error, FileNotFoundError) else (error.strerror or str(error))
            raise NotFoundError(f"{why}: {os.fsdecode(name)}" + (_ELSEWHERE if kept else "")) from None
        if stat.S_ISDIR(mode):
            folders.add(os.path.realpath(name))
        elif stat.S_ISREG(mode):
            # The folder's links are resolved, the file's own is not: it is known under the name it was given.
            parent, last = os.path.split(os.path.abspath(name))
            files[os.path.join(os.path.realpath(parent), last)] = None
        else:
            raise NotFoundError(f"neither a file nor a folder: {os.fsdecode(name)}")
    return folders, files


def _around(path: bytes, known: dict[bytes, Root]) -> Root | None:
    """The deepest root that holds `path`."""
    holding = [root for root in known.values() if contains(root.path, path)]
    return max(holding, key=lambda root: len(root.path), default=None)


def relative_to(path: bytes, root: bytes) -> bytes:
    """What is left of `path` below `root`, which contains it; empty for the root itself."""
    return b"" if path == root else path[len(absolute(root, b"x")) - 1 :]


def _target(root: Root, wanted: _Wanted) -> Target:
    """Without folders inside other folders, and files inside folders, that are wanted anyway."""
    folders = tuple(
        folder
        for folder in sorted(wanted.folders)
        if not any(other != folder and _below(other, folder) for other in wanted.folders)
    )
    files = tuple(file for file in wanted.files if not any(_below(folder, file) for folder in folders))
    return Target(root=root, folders=folders, files=files)


def _below(folder: bytes, path: bytes) -> bool:
    return not folder or path.startswith(folder + b"/")
