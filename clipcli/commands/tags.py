"""`clip tags`: give, list, take away and hand on the tags of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands import keywords, sorting
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
from clipcli.commands.options import Format, FormatOption, LibraryOption, NullOption
from clipcli.commands.picture_arguments import PicturesArgument, picture_ids
from clipcli.errors import InputError, UsageError

if TYPE_CHECKING:
    from clipcli.library.filters import Filters
    from clipcli.library.store import Library
    from clipcli.library.tag_selection import Selection

app = typer.Typer(
    help="Give, list, take away, import and export tags; sort pictures into folders by them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

LIST_FIELDS = ("label", "pictures", "by_hand", "lowest", "highest")
EXPORT_FIELDS = ("path", "path_b64", "image_id", "label", "score", "model", "created_at")

LabelsOption = Annotated[
    list[str] | None,
    typer.Option("--label", "-l", metavar="LABEL", help="A label; give several.", show_default=False),
]
GiverOption = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME", help="Only tags that this model gave.", show_default=False),
]
ByHandOption = Annotated[bool, typer.Option("--by-hand", help="Only tags that you gave yourself.")]
BelowOption = Annotated[
    float | None,
    typer.Option("--below", metavar="SCORE", help="Only tags with a score below this.", show_default=False),
]


@app.command()
def add(
    pictures: PicturesArgument = None,
    label: LabelsOption = None,
    folder: InOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    camera: CameraOption = None,
    near: NearOption = None,
    tag: TagOption = None,
    format_is: FormatIsOption = None,
    min_size: MinSizeOption = None,
    where: WhereOption = None,
    db: LibraryOption = None,
) -> None:
    """Tag pictures by hand. No model ever changes such a tag.

    Pictures are named, come from a search, or are all that pass the filters.

    \b
      clip tags add -l cat -l pet cat.jpg id:17
      clip search "a cat on a sofa" --min-sigma 4 -k 0 -0 | clip tags add -l cat -
      clip tags add -l Rome --near 41.9,12.5,15 --since 2019-05
    """
    from clipcli.library.location import find_library
    from clipcli.library.store import Library
    from clipcli.library.tags import add_tags, checked_label
    from clipcli.render.notes import counted, say

    labels = list(dict.fromkeys(checked_label(each) for each in label or ()))
    if not labels:
        raise UsageError("no label: give one with -l LABEL")
    filters = read_filters(
        folders=folder, since=since, until=until, cameras=camera, near=near, tags=tag, formats=format_is,
        min_size=min_size, where=where,
    )  # fmt: skip
    if not pictures and filters is None:
        raise UsageError("no pictures: name some, or choose them by filters (see 'clip tags add --help')")
    with Library.open(find_library(db), write=True) as library:
        ids = picture_ids(library, pictures or [], filters) or []
        for each in labels:
            new = add_tags(library, ids, each)
            had = f", {len(ids) - new:,} had it already" if new < len(ids) else ""
            say(f"{each}: {counted(new, 'picture')} tagged{had}")


@app.command("list")
def list_tags(db: LibraryOption = None, format: FormatOption = None) -> None:
    """List the labels with how many pictures carry them, how many of those by hand, and the scores models gave."""
    from dataclasses import asdict

    from clipcli.commands.opening import open_library
    from clipcli.library.tags import count_labels
    from clipcli.render.notes import say
    from clipcli.render.records import write_records
    from clipcli.render.tables import Cell, Column, write_table

    with open_library(db) as library:
        counts = count_labels(library)
    if format not in (None, Format.table):
        write_records(map(asdict, counts), format=format, fields=LIST_FIELDS)
    elif counts:
        columns = [Column(title="pictures", right=True), Column(title="by hand", right=True)]
        columns += [Column(title="scores", right=True), Column(title="label", wide=True)]
        rows: list[list[Cell]] = [
            [
                f"{one.pictures:,}",
                f"{one.by_hand:,}",
                "" if one.lowest is None else f"{one.lowest:z.3f} to {one.highest:z.3f}",
                one.label,
            ]
            for one in counts
        ]
        write_table(columns, rows)
    if not counts:
        say("no picture has a tag; 'clip tags add' gives one, 'clip classify --library' lets a model do it")


@app.command()
def rm(
    pictures: PicturesArgument = None,
    label: LabelsOption = None,
    model: GiverOption = None,
    by_hand: ByHandOption = False,
    below: BelowOption = None,
    folder: InOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    camera: CameraOption = None,
    near: NearOption = None,
    tag: TagOption = None,
    format_is: FormatIsOption = None,
    min_size: MinSizeOption = None,
    where: WhereOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which tags would be taken away.")] = False,
    db: LibraryOption = None,
) -> None:
    """Take tags away, all at once or none: those to which everything that is given applies. No picture is touched.

    \b
      clip tags rm -l cat dog.jpg
      clip tags rm -m starter --below 0.21 --dry-run
      clip tags rm -l Rome --until 2018
    """
    from clipcli.commands.opening import open_library
    from clipcli.library.location import find_library
    from clipcli.library.store import Library
    from clipcli.library.tag_selection import remove_selected
    from clipcli.render.notes import counted, say

    filters = read_filters(
        folders=folder, since=since, until=until, cameras=camera, near=near, tags=tag, formats=format_is,
        min_size=min_size, where=where,
    )  # fmt: skip
    with open_library(db) if dry_run else Library.open(find_library(db), write=True) as library:
        selection = _selection(library, pictures, label, model, by_hand, below, filters)
        if not selection:
            raise UsageError("which tags? Give labels, a model, a score, pictures or filters")
        removed = remove_selected(library, selection, dry_run=dry_run)
    for name, count, own in removed:
        hand = f", {own:,} of them by hand" if own else ""
        say(f"{name}: {'would take' if dry_run else 'took'} {counted(count, 'tag')} away{hand}")
    if not removed:
        say("there are no such tags")


@app.command()
def export(
    pictures: PicturesArgument = None,
    label: LabelsOption = None,
    model: GiverOption = None,
    by_hand: ByHandOption = False,
    folder: InOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    camera: CameraOption = None,
    near: NearOption = None,
    tag: TagOption = None,
    format_is: FormatIsOption = None,
    min_size: MinSizeOption = None,
    where: WhereOption = None,
    xmp: Annotated[
        bool, typer.Option("--xmp", help="Write an XMP side-car beside each picture: boat.jpg.xmp for boat.jpg.")
    ] = False,
    xmp_to: Annotated[
        Path | None,
        typer.Option(
            "--xmp-to", metavar="FOLDER", help="Write the side-cars below this folder instead.", show_default=False
        ),
    ] = None,
    db: LibraryOption = None,
    format: FormatOption = None,
    print0: NullOption = False,
) -> None:
    """Write the tags to stdout, a record for each picture and label, or as side-cars that photo programs read.

    A side-car that is there already is completed: labels it lacks are added, every other byte stays, nothing is taken
    out. One that cannot be understood is left alone and listed. No picture is touched.

    \b
      clip tags export --format csv > tags.csv
      clip tags export -l cat --xmp
      clip tags export --by-hand --xmp-to side-cars
    """
    from clipcli.commands.opening import open_library
    from clipcli.commands.sidecars import export_sidecars
    from clipcli.commands.tag_records import write_tags
    from clipcli.library.tag_selection import selected_tags
    from clipcli.render.records import choose_format

    written = choose_format(format, print0=print0)
    if xmp_to is not None and xmp:
        raise UsageError("one at a time: --xmp beside the pictures, or --xmp-to FOLDER")
    if (xmp or xmp_to is not None) and (format is not None or print0):
        raise UsageError("side-cars have a format of their own; --format is for stdout")
    filters = read_filters(
        folders=folder, since=since, until=until, cameras=camera, near=near, tags=tag, formats=format_is,
        min_size=min_size, where=where,
    )  # fmt: skip
    with open_library(db) as library:
        selection = _selection(library, pictures, label, model, by_hand, None, filters)
        if xmp or xmp_to is not None:
            refused, total = export_sidecars(library, selection, xmp_to)
        else:
            write_tags(selected_tags(library, selection), written, EXPORT_FIELDS, print0=print0)
            return
    if refused:
        raise InputError(f"{refused:,} of {total:,} side-cars could not be written")


def _selection(
    library: Library,
    pictures: list[str] | None,
    labels: list[str] | None,
    model: str | None,
    by_hand: bool,
    below: float | None,
    filters: Filters | None,
) -> Selection:
    from clipcli.library.tag_selection import Selection

    return Selection(
        labels=tuple(dict.fromkeys(labels or ())),
        model=model,
        by_hand=by_hand,
        below=below,
        image_ids=picture_ids(library, pictures or [], filters),
    )


app.command("import")(keywords.import_keywords)
app.command("sort")(sorting.sort)
app.command("undo")(sorting.undo)
