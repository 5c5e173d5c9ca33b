"""Orders of a pass over one source: rows of a group side by side, or shard after shard through a buffer.

Both are functions of the generator they are given, and hold every row once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["buffered", "packed"]

Numbers = NDArray[np.int64]
NEAR = 32  # parts looked at one by one


def buffered(numbers: Numbers, shelves: Sequence[Hashable], buffer: int, random: np.random.Generator) -> Numbers:
    """`numbers` (N,) shelf after shelf in a random order, and within that drawn at random from the next `buffer` rows.

    `shelves` says by row number what a row is read from: what lies together is read at about the same time.
    """
    by_shelf: dict[Hashable, list[int]] = {}
    for number in numbers.tolist():
        by_shelf.setdefault(shelves[number], []).append(number)
    on_shelves = list(by_shelf.values())
    straight = [number for place in random.permutation(len(on_shelves)) for number in on_shelves[place]]
    waiting, rest = straight[:buffer], straight[buffer:]
    found: list[int] = []
    for following, draw in zip(rest, random.random(len(rest)).tolist(), strict=True):
        place = int(draw * len(waiting))
        found.append(waiting[place])
        waiting[place] = following
    found.extend(waiting[place] for place in random.permutation(len(waiting)))
    return np.asarray(found, dtype=np.int64)


def packed(
    numbers: Numbers, groups: Sequence[Hashable], *, first: int, size: int, most: int, random: np.random.Generator
) -> Numbers:
    """`numbers` (N,) so that rows of a group fall into the same part of `size`, of which the first has only `first`.

    `groups` says by row number what a row's group is, None where it has none. A group of more than `most` rows is dealt
    out to several parts; where one fits nowhere any more, it is divided.
    """
    pieces = _pieces(numbers.tolist(), groups, most, random)
    ends = [*range(first or size, len(numbers), size), len(numbers)]
    rooms = np.diff(ends, prepend=0)  # of each part
    parts: list[list[int]] = [[] for _ in ends]
    over: list[int] = []
    taken = 0
    at = 0  # where a piece would come if nothing were rearranged
    for piece in pieces:
        wanted = min((at + size - (first or size)) // size, len(parts) - 1)
        at += len(piece)
        part = _with_room(rooms, wanted, len(piece)) if len(piece) > 1 else None
        if part is None:
            over.extend(piece)
            continue
        parts[part].extend(piece)
        rooms[part] -= len(piece)
    for part, room in enumerate(rooms.tolist()):  # rows by themselves, and what had to be divided
        parts[part].extend(over[taken : taken + room])
        taken += room
    return np.asarray([number for part in parts for number in part], dtype=np.int64)


def _with_room(rooms: NDArray[np.int64], wanted: int, size: int) -> int | None:
    """The nearest part from `wanted` on, or failing that before it."""
    for part in range(wanted, min(wanted + NEAR, len(rooms))):
        if rooms[part] >= size:
            return part
    fitting = np.flatnonzero(rooms >= size)
    return int(fitting[np.searchsorted(fitting, wanted) % len(fitting)]) if len(fitting) else None


def _pieces(
    numbers: Sequence[int], groups: Sequence[Hashable], most: int, random: np.random.Generator
) -> list[list[int]]:
    """Groups in pieces of `most` rows at most, each at the place of one of its rows, drawn at random."""
    members: dict[Hashable, list[int]] = {}  # places in `numbers`
    for place, number in enumerate(numbers):
        key = groups[number]
        members.setdefault((None, place) if key is None else (key, -1), []).append(place)
    pieces = [of[start : start + most] for of in members.values() for start in range(0, len(of), most)]
    draws = random.random(len(pieces)).tolist()
    pieces = [piece for _, piece in sorted((piece[int(draw * len(piece))], piece)
                                           for piece, draw in zip(pieces, draws, strict=True))]  # fmt: skip
    return [[numbers[place] for place in piece] for piece in pieces]
