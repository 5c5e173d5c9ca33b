"""`clip tags import`: keywords of other photo programs, taken as one's own tags."""

from __future__ import annotations

from typing import Annotated

import typer

from clipcli.commands.filter_options import (
    CameraOption,
    FormatIsOption,
    InOption,
    MinSizeOption,
    NearOption,
    SinceOption,
    TagOption,
    UntilOption,
    WhereOption,
    read_filters,
)
from clipcli.commands.options import LibraryOption
from clipcli.commands.picture_arguments import PicturesArgument, picture_ids
from clipcli.errors import InputError

_LABELS_NAMED = 20


def import_keywords(
    pictures: PicturesArgument = None,
    folder: InOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    camera: CameraOption = None,
    near: NearOption = None,
    tag: TagOption = None,
    format_is: FormatIsOption = None,
    min_size: MinSizeOption = None,
    where: WhereOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which tags would be given.")] = False,
    db: LibraryOption = None,
) -> None:
    """Take the keywords that other photo programs have given as tags of your own.

    They are read from side-cars (boat.jpg.xmp, boat.xmp) and from the XMP of the pictures themselves: the list
    dc:subject, which darktable, digiKam, Lightroom and others write. Tags that a picture has stay as they are, and no
    file is touched. Without pictures or filters, all pictures of the library.

    \b
      clip tags import --dry-run
      clip tags import --in ~/Pictures/2021
    """
    from clipcli.commands.opening import open_library
    from clipcli.library.keyword_import import import_keywords as take
    from clipcli.library.location import find_library
    from clipcli.library.store import Library
    from clipcli.render.notes import counted, say
    from clipcli.render.progress import progress_bar
    from clipcli.render.text import short_path

    filters = read_filters(
        folders=folder, since=since, until=until, cameras=camera, near=near, tags=tag, formats=format_is,
        min_size=min_size, where=where,
    )  # fmt: skip
    with open_library(db) if dry_run else Library.open(find_library(db), write=True) as library:
        ids = picture_ids(library, pictures or [], filters)
        with progress_bar("Reading keywords", total=None if ids is None else len(ids), unit="pictures") as bar:
            found = take(library, ids, dry_run=dry_run, on_progress=bar.advance)
    for path, why in found.refused:
        say(f"passed over {short_path(path)}: {why}")
    labels = sorted(found.tags.items(), key=lambda each: (-each[1], each[0]))
    for label, count in labels[:_LABELS_NAMED]:
        say(f"{label}: {counted(count, 'picture')} {'would be ' if dry_run else ''}tagged")
    if len(labels) > _LABELS_NAMED:
        say(f"and {counted(len(labels) - _LABELS_NAMED, 'other label')}; 'clip tags list' has all")
    if not labels:
        say("no keywords that are not tags already")
    if found.refused:
        raise InputError(f"{counted(len(found.refused), 'side-car')} could not be understood")
