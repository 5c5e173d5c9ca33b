"""`clip tags export --xmp`: a side-car for each picture that has tags."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipcli.library.store import Library
    from clipcli.library.tag_selection import Selection


def export_sidecars(library: Library, selection: Selection, folder: Path | None) -> tuple[int, int]:
    """Write them beside the pictures, or below `folder`; how many could not be, and of how many."""
    from clipcli.library.sidecar_export import write_sidecars
    from clipcli.library.tag_selection import selected_tags
    from clipcli.render.notes import counted, say
    from clipcli.render.progress import progress_bar
    from clipcli.render.text import short_path

    tags = list(selected_tags(library, selection))
    labels = {path: [tag.label for tag in group] for path, group in groupby(tags, key=lambda tag: tag.path)}
    below = None if folder is None else os.path.abspath(os.fsencode(folder.expanduser()))
    with progress_bar("Writing", total=len(labels), unit="side-cars") as bar:
        done = write_sidecars(library, labels, folder=below, on_progress=bar.advance)
    for path, why in done.refused:
        say(f"left {short_path(path)} alone: {why}")
    parts = [f"{counted(done.new, 'side-car')} new"]
    if done.completed:
        parts.append(f"{done.completed:,} completed")
    if done.unchanged:
        parts.append(f"{done.unchanged:,} had the labels already")
    say(", ".join(parts) if labels else "there are no such tags")
    return len(done.refused), len(labels)
