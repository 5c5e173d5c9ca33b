"""Pictures whose files are gone: a new file with the content of one takes it over, tags and all."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable, Sequence

import numpy as np

from clipcli.library.id_set import IdSet
from clipcli.library.known_files import digests_of
from clipcli.library.store import Library

__all__ = ["Vanished"]


class Vanished:
    """`ids` are those that no file has taken over so far. Of several with one content, one can be taken over.

    Sixteen bytes a picture, as a folder of a million may have been moved.
    """

    def __init__(self, library: Library, image_ids: Iterable[int]) -> None:
        self.ids = IdSet(image_ids)
        heads, numbers = array("q"), array("q")
        for image_id, digest in digests_of(library, self.ids):
            heads.append(hash(digest))
            numbers.append(image_id)
        # The last of those with one content, so turned round: `unique` takes the first.
        self._heads, first = np.unique(np.frombuffer(heads, dtype=np.int64)[::-1], return_index=True)  # (N,)
        self._numbers = np.frombuffer(numbers, dtype=np.int64)[::-1][first]  # (N,)

    def of_content(self, connection: sqlite3.Connection, digest: str, *, but: Sequence[int]) -> int | None:
        """The picture that a new file of this content takes over. It is none of `but`, which have been already."""
        if not self.ids:
            return None
        head = hash(digest)
        at = int(np.searchsorted(self._heads, head))
        if at == len(self._heads) or self._heads[at] != head:
            return None
        image_id = int(self._numbers[at])
        if image_id in but or image_id not in self.ids:
            return None
        row = connection.execute("SELECT 1 FROM images WHERE id = ? AND digest = ?", (image_id, digest)).fetchone()
        return None if row is None else image_id
