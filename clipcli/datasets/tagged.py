"""Pictures of a library with the one tag a person gave them, and the vectors the library already has of them.

Shapes: N images, D embedding.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcli.datasets.rows import Row
from clipcli.errors import NotFoundError
from clipcli.library.store import Library
from clipcli.library.tag_selection import Selection, Tag, selected_tags
from clipcli.library.vectors import vectors

__all__ = ["tagged_rows", "tagged_vectors"]


def tagged_rows(library: Library) -> tuple[list[Row], int]:
    """Pictures with the one tag a person gave them, and how many have several, which are left out."""
    by_picture = _by_picture(library)
    rows = [
        Row(image=Path(os.fsdecode(path)), name=os.fsdecode(path), label=tags[0].label)
        for path, tags in by_picture.items()
        if len(tags) == 1
    ]
    return rows, len(by_picture) - len(rows)


def tagged_vectors(library: Library, *, identity: str, precision: str) -> dict[Path, NDArray[np.float32]]:
    """The vector (D,) of each such picture that the library has one of, by that model in that precision."""
    with library.read():
        wanted = {tags[0].image_id: path for path, tags in _by_picture(library).items() if len(tags) == 1}
        try:
            ids, rows = vectors(library, identity=identity, precision=precision)  # (N,), (N, D)
        except NotFoundError:
            return {}
    asked = np.fromiter(sorted(wanted), dtype=np.int64, count=len(wanted))
    places = np.searchsorted(ids, asked)
    there = places < len(ids)
    there[there] = ids[places[there]] == asked[there]
    return {
        Path(os.fsdecode(wanted[int(image_id)])): np.array(rows[place])
        for image_id, place in zip(asked[there], places[there], strict=True)
    }


def _by_picture(library: Library) -> dict[bytes, list[Tag]]:
    found: dict[bytes, list[Tag]] = {}
    for tag in selected_tags(library, Selection(by_hand=True)):
        found.setdefault(tag.path, []).append(tag)
    return found
