"""Which pictures pass the usual filters, by the columns of `columns.py`: the same ones as by SQL, in milliseconds.

Of a date only the day is a column. Pictures whose day lies too near to a limit for that to decide, and dates that are
none, are put to SQL, one by one. Shapes: N pictures.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.library.columns import NO_DAY, ODD_DAY, Columns
from clipcli.library.moments import Span, date_conditions, days_around
from clipcli.library.stored_paths import to_stored

if TYPE_CHECKING:
    from clipcli.library.filters import MinSize

__all__ = ["Question", "ids_that_pass"]

_MOST_IN_DOUBT = 1 / 8  # of all pictures: beyond that SQL goes through all of them as quickly

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What has to hold, all of it; of `places` (root, folder below it) and `formats` and `cameras` one each."""

    places: Sequence[tuple[int, bytes]] | None
    formats: Collection[str]
    cameras: Collection[str] | None
    min_size: MinSize | None
    since: Span | None
    until: Span | None


def ids_that_pass(connection: sqlite3.Connection, columns: Columns, question: Question) -> NDArray[np.int64] | None:
    """Ids, ascending; None where so many dates are in doubt that SQL had better be asked at once."""
    passing = _apart_from_dates(connection, columns, question)  # (N,)
    if question.since is None and question.until is None:
        return columns.ids[passing]
    passing &= columns.day != NO_DAY
    sure, doubtful = _by_day(columns.day, question.since, question.until)
    doubtful &= passing
    sure &= passing
    asked = columns.ids[doubtful]
    if len(asked) > len(columns.ids) * _MOST_IN_DOUBT:
        return None
    if len(asked):
        conditions = list(date_conditions(question.since, question.until))
        text = " AND ".join(f"({condition})" for condition, _ in conditions)
        (found,) = connection.execute(
            "SELECT json_group_array(images.id) FROM json_each(?) AS asked CROSS JOIN images "
            f"WHERE images.id = asked.value AND {text}",
            (json.dumps(asked.tolist()), *(value for _, values in conditions for value in values)),
        ).fetchone()
        sure[np.searchsorted(columns.ids, np.array(json.loads(found), dtype=np.int64))] = True
    return columns.ids[sure]


def _apart_from_dates(connection: sqlite3.Connection, columns: Columns, question: Question) -> Mask:
    passing: Mask = np.ones(len(columns.ids), dtype=np.bool_)  # (N,)
    if question.places is not None:
        passing &= _in_places(connection, columns, question.places)
    if question.formats:
        passing &= _one_of(columns.format, columns.formats, question.formats)
    if question.cameras is not None:
        passing &= _one_of(columns.camera, columns.cameras, question.cameras)
    if question.min_size is not None:
        least = question.min_size
        for column, limit in ((columns.width, least.width), (columns.height, least.height)):
            if limit:
                passing &= column >= limit
        if least.pixels:
            passing &= columns.width.astype(np.int64) * columns.height >= least.pixels
    return passing


def _in_places(connection: sqlite3.Connection, columns: Columns, places: Iterable[tuple[int, bytes]]) -> Mask:
    """Below one of the folders, or the very picture: a place may be that of a file."""
    meant = np.zeros(len(columns.folders) + 1, dtype=np.bool_)  # one more, so that there is something to take from
    files = []
    for root_id, below in places:
        for number, (root, folder) in enumerate(columns.folders):
            if root == root_id and (not below or folder == below or folder.startswith(below + b"/")):
                meant[number] = True
        files += connection.execute(
            "SELECT id FROM images WHERE root_id = ? AND path = ?", (root_id, to_stored(below))
        ).fetchall()
    passing = meant[columns.folder]
    passing[np.searchsorted(columns.ids, np.array([image_id for (image_id,) in files], dtype=np.int64))] = True
    return passing


def _one_of(column: NDArray[np.int32], names: Sequence[str | None], wanted: Collection[str]) -> Mask:
    meant = np.array([name in wanted for name in names] or [False], dtype=np.bool_)
    return meant[column]


def _by_day(days: NDArray[np.int32], since: Span | None, until: Span | None) -> tuple[Mask, Mask]:
    """Where the day alone says that the dates pass, and where it does not say."""
    sure: Mask = days != ODD_DAY
    perhaps: Mask = np.ones(len(days), dtype=np.bool_)
    if since is not None:
        before, after = map(_as_number, days_around(since.start))
        sure &= days >= after
        perhaps &= days >= before
    if until is not None:
        before, after = map(_as_number, days_around(until.end))
        sure &= days < before
        perhaps &= days < after
    perhaps |= days == ODD_DAY
    return sure, perhaps & ~sure


def _as_number(day: date) -> int:
    return (day.year * 100 + day.month) * 100 + day.day
