"""What is found, handed on: opened in the desktop's viewer, copied or linked into a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from clipcli.errors import InputError

__all__ = ["hand_on", "open_first"]


def open_first(paths: Sequence[bytes], viewer: str | None) -> None:
    """Open the pictures, as many as a desktop bears, and say if that is not all. Raises as `open_pictures`."""
    from clipcli.render.notes import say
    from clipcli.render.viewer import open_pictures

    opened = open_pictures(paths, viewer)
    if opened < len(paths):
        say(f"opened the first {opened} of {len(paths):,} pictures")


def hand_on(paths: Sequence[bytes], *, copy_folder: Path | None, link_folder: Path | None) -> None:
    """Copy or link the pictures into folders. Raises InputError where some cannot be read."""
    from clipcli.photos.copies import copy_to, link_to
    from clipcli.render.notes import counted, say
    from clipcli.render.progress import progress_bar
    from clipcli.render.text import short_path

    failed = 0
    for folder, place, doing, done in (
        (copy_folder, copy_to, "Copying", "copied"),
        (link_folder, link_to, "Linking", "linked"),
    ):
        if folder is None:
            continue
        target = os.path.abspath(os.fsencode(folder.expanduser()))
        with progress_bar(doing, total=len(paths), unit="pictures") as bar:
            placed = place(paths, target, on_progress=bar.advance)
        for path, reason in placed.failed:
            say(f"skipped {short_path(path)}: {reason}")
        more = [f"{placed.renamed:,} under another name"] if placed.renamed else []
        more += [f"{placed.already:,} there already"] if placed.already else []
        told = f" ({', '.join(more)})" if more else ""
        say(f"{done} {counted(placed.done, 'picture')} to {short_path(target)}{told}")
        failed = max(failed, len(placed.failed))
    if failed:
        raise InputError(f"{failed:,} of {counted(len(paths), 'picture')} could not be read")
