"""`clip library check`: everything that can be wrong with a library, found and mended."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.options import Format, FormatOption, LibraryOption
from clipcli.errors import LibraryDamagedError

if TYPE_CHECKING:
    from clipcli.library.repair import Mended
    from clipcli.library.store import Library
    from clipcli.render.progress import Bar
    from clipcli.render.tables import Cell

Away = tuple[Sequence[tuple[bytes, int]], Sequence[tuple[bytes, int]]]  # not there; there, but without its pictures

_EVERYDAY = "old-cache"  # any change leaves one, and the next search throws it away
CHECK_FIELDS = ("kind", "damage", "mended", "image_id", "model_id", "subject", "detail", "path", "path_b64")


def check(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is found.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every picture's file as well: compare its digest, list changed ones.")
    ] = False,
    db: LibraryOption = None,
    format: FormatOption = None,
) -> None:
    """Look for damage: in the file, its vectors, its caches, and the pictures it speaks of.

    Found are: a damaged file or index, missing or altered tables and triggers, rows that belong to nothing, vectors
    with NaN, of the wrong length or not of length 1, wrong digests, caches that do not hold the library's vectors,
    pictures whose file is gone. --deep lists files whose size or time has changed too: they are no damage, and the next
    'clip embed' reads them again. What lies on a disk that is not mounted is said and left alone.

    --repair drops bad vectors (the next 'clip embed' makes them again), makes indexes and triggers again, throws caches
    away, and forgets pictures whose file is gone; where files were only moved, run 'clip embed' first, which
    recognises them.

    Exit code 0: nothing is damaged, or all of it was mended. 6: damage was found, or is left after --repair.
    """
    from clipcli.commands.opening import open_library
    from clipcli.library.checking import check_library
    from clipcli.library.location import find_library
    from clipcli.library.repair import Mended, mend_library
    from clipcli.library.run_lock import RunLock
    from clipcli.library.store import Library
    from clipcli.render.progress import progress_bar

    with progress_bar("Checking") as bar:
        teller = _Steps(bar)
        if repair:
            file = find_library(db)
            open_library(db).close()  # before a lock file is made beside something that is no library
            with RunLock(file), Library.open(file, write=True) as library:
                try:
                    result = mend_library(library, deep=deep, on_progress=teller)
                except LibraryDamagedError as error:
                    raise LibraryDamagedError(
                        f"{error}; this cannot be mended: go back to a copy from 'clip library backup', or index again"
                    ) from error
                away = _absent(library, result)
        else:
            with open_library(db) as library:
                found = check_library(library, deep=deep, on_progress=teller)
                left = tuple(fault for fault in found if fault.kind != _EVERYDAY)
                result = Mended(found=left, left=left)
                away = _absent(library, result)
    _write_faults(result, format)
    _tell_absent(away)
    _tell_outcome(result, repair=repair, db=db)


def _absent(library: Library, result: Mended) -> Away:
    """The folders that could not be looked at; where the structure is damaged the library cannot be asked."""
    from clipcli.library.emptied import emptied_roots
    from clipcli.library.mounts import absent_places

    if any(fault.kind in ("integrity", "schema") for fault in result.left):
        return (), ()
    emptied = [(root.path, count) for root, _, count in emptied_roots(library)]
    there = {path for path, _ in emptied}
    return [(path, count) for path, count in absent_places(library) if path not in there], emptied


def _tell_absent(away: Away) -> None:
    from clipcli.commands.index_run import say_emptied
    from clipcli.render.notes import counted, say
    from clipcli.render.text import short_path

    absent, emptied = away
    for folder, pictures in emptied:
        say_emptied(folder, pictures)
    for folder, pictures in absent:
        say(
            f"{short_path(folder)} is not there, or empty: {counted(pictures, 'picture')} not looked at; mount the "
            "disk, or 'clip library relocate OLD NEW' where the folder has another place now"
        )


class _Steps:
    """Moves a bar through the parts of a check."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._step, self._done = "", 0

    def __call__(self, step: str, done: int, total: int) -> None:
        if step != self._step or done < self._done:
            self._bar.describe(f"Checking {step}")
            self._bar.set_total(total)
            self._bar.advance(-self._done)
            self._step, self._done = step, 0
        self._bar.advance(done - self._done)
        self._done = done


def _write_faults(result: Mended, format: Format | None) -> None:
    from clipcli.render.records import write_records
    from clipcli.render.tables import Column, PathCell, write_table

    left = set(result.left)
    if format not in (None, Format.table):
        records = [
            {
                "kind": fault.kind,
                "damage": fault.damage,
                "mended": fault not in left,
                "image_id": fault.image_id,
                "model_id": fault.model_id,
                "subject": fault.subject,
                "detail": fault.detail,
                "path": fault.path,
            }
            for fault in result.found
        ]
        write_records(records, format=format, fields=CHECK_FIELDS)
    elif result.found:
        columns = [Column(title="fault"), Column(title=""), Column(title="picture", right=True)]
        columns += [Column(title="detail", wide=True), Column(title="file", wide=True)]
        rows: list[list[Cell]] = [
            [
                fault.kind,
                "" if fault in left else "mended",
                "" if fault.image_id is None else str(fault.image_id),
                fault.detail,
                "" if fault.path is None else PathCell(path=fault.path),
            ]
            for fault in result.found
        ]
        write_table(columns, rows)


def _tell_outcome(result: Mended, *, repair: bool, db: Path | None) -> None:
    """Raises LibraryDamagedError where damage is left."""
    from clipcli.library.faults import KINDS
    from clipcli.render.notes import counted, say

    damage = [fault for fault in result.left if fault.damage]
    if damage and repair:
        raise LibraryDamagedError(
            f"{counted(len(damage), 'fault')} cannot be mended; go back to a copy from 'clip library backup'"
        )
    if damage:
        mend = "clip library check --repair" + ("" if db is None else f" --db {shlex.quote(str(db))}")
        doubt = " as far as that can be done" if any(fault.kind == "integrity" for fault in damage) else ""
        raise LibraryDamagedError(f"{counted(len(damage), 'fault')} found; '{mend}' mends them{doubt}")
    if not result.found:
        say("nothing is wrong")
    elif not repair:
        say("no damage; what is listed is seen to by the next 'clip embed' or search")
    else:
        again = any(KINDS[fault.kind].drops_vectors for fault in result.found)
        said = "; 'clip embed FOLDER' makes again what was dropped" if again else ""
        say(f"{counted(len(result.found), 'fault')} mended{said}")
