"""Results as the page lays them out: columns instead of objects, since there may be a hundred thousand."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from clipcli.library.stored_paths import from_stored
from clipcli.render.text import printable

if TYPE_CHECKING:
    from clipcli.browse.searching import Found
    from clipcli.library.store import Library

__all__ = ["binary_columns", "columns_of", "shown_name"]

_RATIO_STEPS = 1000
_SCORE_STEPS = 10_000
_NO_SCORE = -32768


def columns_of(library: Library, ids: Sequence[int]) -> dict[str, list[object]]:
    """`ratios`, `names`, `dates` and `tagged` of pictures; 1, "", None and 0 of one that has left the library."""
    with library.read() as connection:
        known = {
            row[0]: row[1:]
            for row in connection.execute(
                "SELECT id, width, height, path, taken_at, EXISTS (SELECT 1 FROM tags WHERE image_id = images.id) "
                "FROM images WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(ids)),),
            )
        }
    ratios: list[object] = []
    names: list[object] = []
    dates: list[object] = []
    tagged: list[object] = []
    for image_id in ids:
        width, height, path, taken_at, has_tag = known.get(image_id, (1, 1, "", None, 0))
        ratios.append(round(width / height, 3))
        names.append(shown_name(from_stored(path)))
        dates.append(taken_at)
        tagged.append(has_tag)
    return {"ids": list(ids), "ratios": ratios, "names": names, "dates": dates, "tagged": tagged}


def binary_columns(library: Library, found: Found, start: int) -> bytes:
    """Of all results from `start` on: ids (uint32), ratios in thousandths (uint16), scores in ten-thousandths (int16).

    Little-endian, column after column; -32768 where nothing was scored.
    """
    ids, scores = found.part(start, found.total)
    with library.read() as connection:
        # One value for all rows: a hundred thousand of them would take three times as long row by row.
        (text,) = connection.execute(
            "SELECT json_group_array(json_array(id, width, height)) "
            "FROM (SELECT id, width, height FROM images ORDER BY id)"
        ).fetchone()
    known = np.array(json.loads(text), dtype=np.int64).reshape(-1, 3)  # (N, 3), ids ascending
    ratios = np.full(len(ids), _RATIO_STEPS)
    if len(known):
        places = np.minimum(np.searchsorted(known[:, 0], ids), len(known) - 1)
        there = known[places, 0] == ids
        exact = known[places, 1] / known[places, 2] * _RATIO_STEPS
        ratios[there] = np.clip(np.rint(exact[there]), 100, 20_000).astype(np.int64)
    packed = np.full(len(ids), _NO_SCORE) if scores is None else np.rint(scores * _SCORE_STEPS)
    return ids.astype("<u4").tobytes() + ratios.astype("<u2").tobytes() + packed.astype("<i2").tobytes()


def shown_name(path: bytes) -> str:
    """The last part of a path, safe to show."""
    return printable(os.fsdecode(os.path.basename(path)))
