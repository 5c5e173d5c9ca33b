"""Mending what a check has found, so that the next check finds nothing and the next `embed` makes what was dropped."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from clipcli.library.checking import NOTED, OnChecked, check_library
from clipcli.library.faults import Fault
from clipcli.library.store import Library
from clipcli.library.structure import expected_objects, references

__all__ = ["Mended", "mend_library"]

_ROUNDS = 6  # structure, then what it hid, then caches that mending made old; the last one only looks
_UNREAD = "0" * 64  # a digest no file has
_DROP_VECTOR = "DELETE FROM embeddings WHERE image_id = ? AND model_id = ?"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mended:
    """All faults that were found, and those of them that are still there."""

    found: tuple[Fault, ...]
    left: tuple[Fault, ...]


def mend_library(library: Library, *, deep: bool, on_progress: OnChecked) -> Mended:
    """Check, mend, and check again until nothing is found. The caller holds the library's `RunLock`.

    Each round is one transaction. With `deep` files are read in every round up to the first that finds nothing wrong
    with the structure.
    """
    found: dict[Fault, None] = {}
    left: Sequence[Fault] = ()
    read = False
    for _ in range(_ROUNDS):
        left = check_library(library, deep=deep and not read, on_progress=on_progress)
        if not left or any(fault in found for fault in left):
            break
        first_whole_look = not read
        read = not any(fault.kind in ("integrity", "schema") for fault in left)
        # A cache that a turn before has made old was in order when the library was looked at first.
        found.update(dict.fromkeys(fault for fault in left if first_whole_look or fault.kind != "old-cache"))
        _mend(library, left)
    return Mended(found=tuple({**found, **dict.fromkeys(left)}), left=tuple(left))


def _mend(library: Library, faults: Sequence[Fault]) -> None:
    by_kind: dict[str, list[Fault]] = {}
    for fault in faults:
        by_kind.setdefault(fault.kind, []).append(fault)
    with library.write() as connection:
        for kind, found in by_kind.items():
            if kind in _MENDING:
                _MENDING[kind](connection, found)
    for fault in (*by_kind.get("stale-cache", ()), *by_kind.get("old-cache", ())):
        if fault.path is not None:
            with contextlib.suppress(OSError):  # what cannot be removed is found again
                os.unlink(fault.path)


def _reindex(connection: sqlite3.Connection, faults: Iterable[Fault]) -> None:  # noqa: ARG001 - one for all
    # Rows that contradict a UNIQUE column cannot be mended: the next round finds them again and says so.
    with contextlib.suppress(sqlite3.IntegrityError):
        connection.execute("REINDEX")


def _make_again(connection: sqlite3.Connection, faults: Iterable[Fault]) -> None:
    """What is missing, and indexes, views and triggers that were altered; a table with rows in it is never dropped."""
    expected = expected_objects()
    order = ("table", "index", "view", "trigger")
    named = {fault.subject for fault in faults}
    present = dict(connection.execute("SELECT name, type FROM sqlite_master"))
    for name in sorted(named & expected.keys(), key=lambda name: order.index(expected[str(name)][0])):
        kind, sql = expected[str(name)]
        if name in present and (kind == "table" or present[name] == "table"):
            continue  # the next round finds it again and says so
        if name in present:
            connection.execute(f'DROP {present[name]} "{name}"')
        connection.execute(sql)


def _remove_orphans(connection: sqlite3.Connection, faults: Iterable[Fault]) -> None:
    named = {fault.subject for fault in faults}
    for key in references(connection):
        if key.name in named:
            if key.name == "tags.model_id":  # without a score it would pass for a person's
                connection.execute(f"DELETE FROM tags WHERE score IS NULL AND {key.orphans}")
            what = f'UPDATE "{key.table}" SET "{key.column}" = NULL' if key.on_delete == "SET NULL" else None
            connection.execute(f"{what or f'DELETE FROM {key.table}'} WHERE {key.orphans}")


def _drop_vectors(connection: sqlite3.Connection, faults: Iterable[Fault]) -> None:
    connection.executemany(_DROP_VECTOR, [(fault.image_id, fault.model_id) for fault in faults])


def _read_again(connection: sqlite3.Connection, faults: Iterable[Fault]) -> None:
    """Of a picture nothing is certain but its name: its vectors go, and the next `embed` takes the file for changed."""
    for fault in faults:
        if fault.model_id is not None:
            connection.execute(_DROP_VECTOR, (fault.image_id, fault.model_id))
        else:
            connection.execute("DELETE FROM embeddings WHERE image_id = ?", (fault.image_id,))
            connection.execute(
                "UPDATE images SET digest = ?, mtime_ns = ? WHERE id = ?", (_UNREAD, NOTED, fault.image_id)
            )


def _forget(connection: sqlite3.Connection, faults: Iterable[Fault]) -> None:
    connection.executemany("DELETE FROM images WHERE id = ?", [(fault.image_id,) for fault in faults])


def _note_change(connection: sqlite3.Connection, faults: Iterable[Fault]) -> None:
    """The vector stays until the next `embed` takes the file for changed."""
    connection.executemany("UPDATE images SET mtime_ns = ? WHERE id = ?", [(NOTED, each.image_id) for each in faults])


def _mark_stale(connection: sqlite3.Connection, faults: Iterable[Fault]) -> None:
    connection.executemany("UPDATE images SET stale = 1 WHERE id = ?", [(fault.image_id,) for fault in faults])


_MENDING: dict[str, Callable[[sqlite3.Connection, Iterable[Fault]], None]] = {
    "integrity": _reindex,
    "schema": _make_again,
    "orphan": _remove_orphans,
    "not-a-number": _drop_vectors,
    "wrong-length": _drop_vectors,
    "not-unit": _drop_vectors,
    "out-of-date": _drop_vectors,
    "wrong-digest": _read_again,
    "missing-file": _forget,
    "unreadable": _mark_stale,
    "changed-file": _note_change,
}
