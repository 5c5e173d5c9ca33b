"""`clip library relocate`, `forget`, `vacuum`, `backup`: what a library needs over the years."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.options import LibraryOption

if TYPE_CHECKING:
    from clipcli.library.forgetting import Forgotten
    from clipcli.library.store import Library


def relocate(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Where the folder was.", show_default=False)],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Where it is now.", show_default=False)],
    db: LibraryOption = None,
) -> None:
    """Tell the library that a folder of pictures is somewhere else now, with all the folders below it.

    For a disk with a new name or a folder moved as a whole: nothing is read or embedded again. NEW has to hold the
    pictures. What moved within an indexed folder needs no word, 'clip embed' recognises it.
    """
    from clipcli.library.relocation import relocate as move
    from clipcli.render.notes import counted, say
    from clipcli.render.text import short_path

    with for_keeping(db) as library:
        moved = move(library, os.fsencode(old), os.fsencode(new))
    for each in moved:
        missing = each.looked_for - each.found
        of = f"; {missing:,} of {each.looked_for:,} looked for are not there" if missing else ""
        say(f"{short_path(each.old)} is {short_path(each.new)} now: {counted(each.pictures, 'picture')}{of}")


def forget(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files or folders, there or not.", show_default=False)
    ],
    gone: Annotated[
        bool, typer.Option("--gone", help="Only what is not there any more, of a folder that stays indexed.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be forgotten.")] = False,
    db: LibraryOption = None,
) -> None:
    """Take pictures out of the library, with their vectors and tags. No file is touched.

    A folder means all below it. What stays in an indexed folder comes back with the next 'clip embed' of it. Tags that
    you gave by hand pass to a copy that stays, or are kept for when a file of the same content comes in.
    With --gone only pictures whose files have vanished are taken out: where none of a folder's are left, 'clip embed'
    keeps them, as their disk may not be mounted.
    """
    from clipcli.commands.opening import open_library
    from clipcli.library.forgetting import forget as take_out
    from clipcli.library.forgetting import what_would_be_forgotten
    from clipcli.render.notes import say

    named = [os.fsencode(path) for path in paths]
    if dry_run:
        with open_library(db) as library:
            meant = what_would_be_forgotten(library, named, gone=gone)
    else:
        with for_keeping(db) as library:
            meant = take_out(library, named, gone=gone)
    for one in meant:
        say(_told(one, "would forget" if dry_run else "forgot"))


def vacuum(db: LibraryOption = None) -> None:
    """Write the library's file anew without the room that deleted rows have left, and throw old caches away."""
    from clipcli.library.backup import vacuum_library
    from clipcli.render.notes import say
    from clipcli.render.text import readable_size

    with for_keeping(db) as library:
        before, after = vacuum_library(library)
    say(f"{readable_size(before)} before, {readable_size(after)} now")


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes.", show_default=False)],
    db: LibraryOption = None,
) -> None:
    """Copy the library as it is at this moment, also while 'clip embed' is at work.

    The copy is checked before it takes its name. It replaces an earlier backup of the same library and nothing else. To
    go back, copy it to where the library was.
    """
    from clipcli.commands.opening import open_library
    from clipcli.library.backup import backup_library
    from clipcli.render.notes import say
    from clipcli.render.progress import progress_bar
    from clipcli.render.text import readable_size, short_path

    with open_library(db) as library, progress_bar("Copying", unit="pages") as bar:
        copied = 0

        def told(done: int, total: int) -> None:
            nonlocal copied
            bar.set_total(total)
            bar.advance(done - copied)
            copied = done

        bytes_ = backup_library(library, file, on_progress=told)
    say(f"{short_path(os.fsencode(file))}: {readable_size(bytes_)}, checked")


@contextmanager
def for_keeping(db: Path | None, *, create: bool = False) -> Iterator[Library]:
    """The library meant, for a change that no `embed` may run beside; with `create`, a new one where there is none."""
    from clipcli.commands.opening import open_library
    from clipcli.library.location import find_library
    from clipcli.library.run_lock import RunLock
    from clipcli.library.store import Library

    file = find_library(db)
    if not create or os.path.lexists(file):
        open_library(db).close()  # before a lock file is made beside something that is no library
    with RunLock(file), Library.open(file, write=True, create=create) as library:
        yield library


def _told(one: Forgotten, did: str) -> str:
    from clipcli.render.notes import counted
    from clipcli.render.text import short_path

    if one.gone is not None and not (one.pictures or one.skipped):
        return f"nothing of {short_path(one.path)} is gone"
    parts = [counted(one.pictures, "picture")]
    if one.tags:
        parts.append(counted(one.tags, "tag"))
    if one.skipped:
        parts.append(f"{one.skipped:,} skipped")
    whole = "" if one.folder or one.gone is not None else "; the folder is no longer indexed"
    return f"{did} {short_path(one.path)}: {', '.join(parts)}{whole}"
