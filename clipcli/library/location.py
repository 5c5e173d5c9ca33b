"""Which library is meant."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from clipcli.errors import NotFoundError

__all__ = ["FILE_NAME", "FOLDER_NAME", "anchor_of", "check_place", "find_library", "library_for", "own_library"]

FOLDER_NAME = ".clip"
FILE_NAME = "library.db"


def find_library(db: Path | None = None) -> Path:
    """`--db FILE`, else `CLIP_DB`, else the nearest `.clip/library.db` here or above, else the person's own.

    The file need not exist, except that a `.clip` folder counts only when it holds one.
    """
    chosen = db if db is not None else os.environ.get("CLIP_DB") or None
    if chosen is not None:
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    try:
        here = Path.cwd()
    except OSError:
        raise NotFoundError("the current folder is gone; name the library with --db") from None
    return library_for((here, *here.parents))


def library_for(folders: Iterable[Path]) -> Path:
    """The first `.clip/library.db` in one of the folders, else the person's own, which need not exist."""
    candidates = (folder / FOLDER_NAME / FILE_NAME for folder in folders)
    return next((candidate for candidate in candidates if candidate.is_file()), None) or own_library()


def check_place(library: Path) -> None:
    """A library that is to be made goes where there is a folder, or one folder is to be made, such as `.clip`.

    A slip in its path is not to make more of them; the person's own place is made whole. Raises NotFoundError.
    """
    folder = library.parent
    if library != own_library() and not os.path.isdir(folder) and not os.path.isdir(folder.parent):
        raise NotFoundError(f"no such folder: {os.fsdecode(folder)}; make it, or mend the path of the library")


def own_library() -> Path:
    """The person's own, in the folder where this system keeps such files."""
    import platformdirs

    return platformdirs.user_data_path("clip", appauthor=False) / FILE_NAME


def anchor_of(library: Path) -> bytes | None:
    """The folder a library lies beside the photos of: roots below it are kept relative to it, so both can move."""
    folder = os.path.dirname(os.path.realpath(os.fsencode(library)))
    return os.path.dirname(folder) if os.path.basename(folder) == os.fsencode(FOLDER_NAME) else None
