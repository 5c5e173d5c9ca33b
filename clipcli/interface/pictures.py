"""Single pictures of a library, for Python programs: what is known of them, and their tags."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.errors import NotFoundError
from clipcli.interface.model import AnyPath, several
from clipcli.library.store import Library as LibraryFile

if TYPE_CHECKING:
    from clipcli.library.showing import Picture

__all__ = ["PicturesOfLibrary"]


class PicturesOfLibrary:
    """What `Library` does with pictures named by their files or ids. `path` is the library's file.

    Each method raises NotFoundError for a file that is not in the library.
    """

    path: Path

    def show(self, picture: AnyPath | int) -> Picture:
        """What `clip library show` shows: facts, tags and models."""
        from clipcli.library.showing import pictures_shown

        with LibraryFile.open(self.path) as library:
            found = pictures_shown(library, _ids(library, [picture]))
        if not found:
            raise NotFoundError(f"the library has no picture with the id {picture}")
        return found[0]

    def tag(self, pictures: Sequence[AnyPath | int], label: str) -> int:
        """Give pictures of the library (files or ids) a tag by hand; how many had it not.

        Raises NotFoundError for one that is not in the library, UsageError for a label that is none.
        """
        from clipcli.library.tags import add_tags

        with LibraryFile.open(self.path, write=True) as library:
            return add_tags(library, _ids(library, pictures), label)

    def untag(self, pictures: Sequence[AnyPath | int], label: str) -> int:
        """Take a tag off pictures, whoever gave it; how many had it."""
        from clipcli.library.tags import remove_tags

        with LibraryFile.open(self.path, write=True) as library:
            return remove_tags(library, _ids(library, pictures), label)

    def labels(self) -> list[tuple[str, int]]:
        """Every tag with the number of pictures that have it, the commonest first."""
        from clipcli.library.tags import labels

        with LibraryFile.open(self.path) as library:
            return labels(library)

    def tags(self, pictures: Sequence[AnyPath | int]) -> list[list[str]]:
        """The tags of each picture, in the order of `pictures`."""
        from clipcli.library.tags import tags_of

        with LibraryFile.open(self.path) as library:
            ids = _ids(library, pictures)
            found = tags_of(library, ids)
        return [found[image_id] for image_id in ids]


def _ids(library: LibraryFile, pictures: Sequence[AnyPath | int]) -> list[int]:
    from clipcli.library.pictures import image_at

    found = []
    for picture in several(pictures):
        image_id = picture if isinstance(picture, int) else image_at(library, os.fsencode(picture))
        if image_id is None:
            raise NotFoundError(f"the library has no picture {picture}")
        found.append(image_id)
    return found
