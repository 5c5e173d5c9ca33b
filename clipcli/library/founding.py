"""A library beside the photos: `.clip/library.db` in their folder, so that both can move together."""

from __future__ import annotations

import os
from pathlib import Path

from clipcli.errors import LibraryLockedError, NotFoundError
from clipcli.library.location import FILE_NAME, FOLDER_NAME, library_for
from clipcli.library.store import Library

__all__ = ["found_library", "library_in_its_place"]


def found_library(folder: Path) -> tuple[Path, bool]:
    """The library of `folder`, and whether it was made just now; one that is there already is only opened.

    Raises NotFoundError, LibraryLockedError where it cannot be made, LibraryDamagedError for a damaged one.
    """
    if not folder.is_dir():
        raise NotFoundError(f"no such folder: {os.fsdecode(folder)}")
    path = Path(os.path.abspath(folder)) / FOLDER_NAME / FILE_NAME
    new = not os.path.lexists(path)
    try:
        Library.open(path, write=new, create=True).close()
    except PermissionError:
        raise LibraryLockedError(f"no library can be made in {os.fsdecode(folder)}: permission denied") from None
    return path, new


def library_in_its_place(path: Path) -> tuple[Path, bool] | None:
    """Another library than the new `path` that commands given in its folder used until now, None where there was none.

    True beside it where they go on using it, since `CLIP_DB` names it.
    """
    chosen = os.environ.get("CLIP_DB")
    if chosen:
        other = Path(os.path.abspath(os.path.expanduser(chosen)))
        return None if other == path else (other, True)
    other = library_for(path.parent.parent.parents)
    return (other, False) if other != path and other.is_file() else None
