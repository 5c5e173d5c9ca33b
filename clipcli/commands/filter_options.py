"""The options that choose pictures before any is scored, the same for every command that searches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from clipcli.library.filters import Filters

InOption = Annotated[
    list[Path] | None,
    typer.Option("--in", metavar="FOLDER", help="Only pictures below this folder; give several.", show_default=False),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="DATE",
        help="Only pictures taken then or later: 2021, 2021-07, 2021-07-04, '2021-07-04 12:30', with +02:00 or Z for a "
        "zone. Without one it is the camera's own clock that counts.",
        show_default=False,
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="DATE", help="Only pictures taken then or earlier, the whole of DATE.", show_default=False
    ),
]
CameraOption = Annotated[
    list[str] | None,
    typer.Option(
        "--camera",
        metavar="TEXT",
        help="Only pictures of a camera with these words in its name; give several for one or the other.",
        show_default=False,
    ),
]
NearOption = Annotated[
    str | None,
    typer.Option(
        "--near",
        metavar="LAT,LON,KM",
        help="Only pictures taken at most KM kilometres from there, as 48.86,2.35,10.",
        show_default=False,
    ),
]
TagOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tag", metavar="NAME", help="Only pictures with this tag; give several for all.", show_default=False
    ),
]
FormatIsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format-is",
        metavar="NAME",
        help="Only pictures of this file format: jpeg, png, heif, raw, ...",
        show_default=False,
    ),
]
MinSizeOption = Annotated[
    str | None,
    typer.Option(
        "--min-size",
        metavar="SIZE",
        help="Only pictures at least so large, upright: 1920x1080 in pixels, or 12MP in megapixels.",
        show_default=False,
    ),
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="SQL",
        help="Only pictures for which this expression holds: over the columns of the library's view 'pictures', as "
        "'width > 2 * height'. It can only read.",
        show_default=False,
    ),
]


def read_filters(
    *,
    folders: Sequence[Path] | None,
    since: str | None,
    until: str | None,
    cameras: Sequence[str] | None,
    near: str | None,
    tags: Sequence[str] | None,
    formats: Sequence[str] | None,
    min_size: str | None,
    where: str | None,
) -> Filters | None:
    """The options as one value, None where none is given. Raises UsageError for one that cannot be understood."""
    given = (folders, since, until, cameras, near, tags, formats, min_size, where)
    if all(value is None or value == [] for value in given):
        return None
    from clipcli.library.filters import Around, Filters, MinSize
    from clipcli.library.moments import Span

    return Filters(
        folders=tuple(os.path.abspath(os.fsencode(folder.expanduser())) for folder in folders or ()),
        since=None if since is None else Span.read(since),
        until=None if until is None else Span.read(until),
        cameras=tuple(cameras or ()),
        around=None if near is None else Around.read(near),
        tags=tuple(tags or ()),
        formats=tuple(formats or ()),
        min_size=None if min_size is None else MinSize.read(min_size),
        where=where,
    )
