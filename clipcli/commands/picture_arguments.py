"""Pictures of the library, named on a command line, on stdin, or by filters: which ids those are."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from clipcli.library.filters import Filters
    from clipcli.library.store import Library

_ID = re.compile(r"id:(\d{1,18})")

PicturesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PICTURE...]",
        help="Files, there or not, or id:NUMBER; - reads paths from stdin, as --format paths and -0 write them.",
        show_default=False,
    ),
]


def picture_ids(library: Library, named: Sequence[str], filters: Filters | None) -> list[int] | None:
    """The ids of the pictures named that pass the filters, ascending; None where neither is given: all of them.

    Raises NotFoundError for a picture that is not in the library, UsageError for a folder.
    """
    from clipcli.library.filters import chosen_ids

    if not named:
        return None if filters is None else chosen_ids(library, filters).tolist()
    ids = set(_named(library, named))
    return sorted(ids if filters is None else ids & set(chosen_ids(library, filters).tolist()))


def _named(library: Library, named: Sequence[str]) -> list[int]:
    from clipcli.library.pictures import facts_of, images_at

    numbers: list[int] = []
    paths: list[bytes] = []
    for name in named:
        if name == "-":
            paths += _from_stdin()
        elif match := _ID.fullmatch(name):
            numbers.append(int(match[1]))
        else:
            paths.append(os.fsencode(Path(name).expanduser()))
    with library.read():
        if missing := sorted(set(numbers) - facts_of(library, numbers).keys()):
            raise NotFoundError(f"the library has no picture with the id {missing[0]}")
        for path, number in zip(paths, images_at(library, paths), strict=True):
            if number is None:
                if os.path.isdir(path):
                    raise UsageError(f"{os.fsdecode(path)} is a folder; --in FOLDER means what lies below it")
                raise NotFoundError(f"the library has no picture {os.fsdecode(path)}")
            numbers.append(number)
    return numbers


def _from_stdin() -> list[bytes]:
    """Paths end in NUL bytes where there is one at all, since no path can hold one; else they are lines."""
    data = sys.stdin.buffer.read()
    return [path for path in data.split(b"\0" if b"\0" in data else b"\n") if path]
