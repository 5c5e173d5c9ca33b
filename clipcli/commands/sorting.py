"""`clip tags sort` and `clip tags undo`: pictures into folders by their tags, and back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from clipcli.commands.options import FormatOption, LibraryOption, NullOption
from clipcli.commands.picture_arguments import PicturesArgument, picture_ids
from clipcli.errors import ClipError, InputError, UsageError

if TYPE_CHECKING:
    from clipcli.library.sorting import Planned

SORT_FIELDS = ("path", "path_b64", "image_id", "label", "target", "target_b64")


def sort(
    pictures: PicturesArgument = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", "-l", metavar="LABEL", help="Sort by this label; give several. Default: all.", show_default=False
        ),
    ] = None,
    move_to: Annotated[
        Path | None,
        typer.Option(
            "--move-to",
            metavar="FOLDER",
            help="Move each picture into FOLDER/LABEL, by its best label.",
            show_default=False,
        ),
    ] = None,
    link_to: Annotated[
        Path | None,
        typer.Option(
            "--link-to",
            metavar="FOLDER",
            help="Put a symbolic link to it into FOLDER/LABEL, for each of its labels.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go where.")] = False,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="FILE",
            help="The log for 'clip tags undo'. Default: FOLDER/clip-sort-TIME.jsonl.",
            show_default=False,
        ),
    ] = None,
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
    format: FormatOption = None,
    print0: NullOption = False,
) -> None:
    """Sort pictures into folders by their tags: moved, or as links. Nothing is replaced or deleted.

    Of several tags your own comes before a model's, then the best score counts. A name that is taken gets a number.
    With boat.jpg go its side-cars boat.jpg.xmp and boat.xmp, and its raw file, such as boat.CR2. The library follows,
    nothing is embedded again.

    Each step is written into a log before it is made: 'clip tags undo LOG' puts everything back, also after a crash.

    \b
      clip tags sort -l receipt -l letter --move-to ~/Sorted --dry-run
      clip tags sort -l receipt -l letter --move-to ~/Sorted
      clip tags sort --link-to ~/ByLabel
    """
    from clipcli.commands.keeping import for_keeping
    from clipcli.commands.opening import open_library
    from clipcli.library.sort_log import new_log
    from clipcli.library.sorting import plan, sort_pictures
    from clipcli.library.tag_selection import Selection
    from clipcli.render.notes import counted, say
    from clipcli.render.progress import progress_bar
    from clipcli.render.records import choose_format
    from clipcli.render.text import short_path

    written = choose_format(format, print0=print0)
    if (move_to is None) == (link_to is None):
        raise UsageError("give either --move-to FOLDER or --link-to FOLDER")
    link = link_to is not None
    above = os.path.realpath(os.fsencode((link_to or move_to or Path()).expanduser()))
    if os.path.lexists(above) and not os.path.isdir(above):
        raise UsageError(f"{os.fsdecode(above)} is no folder")
    filters = read_filters(
        folders=folder, since=since, until=until, cameras=camera, near=near, tags=tag, formats=format_is,
        min_size=min_size, where=where,
    )  # fmt: skip
    with open_library(db) if dry_run or link else for_keeping(db) as library:
        ids = picture_ids(library, pictures or [], filters)
        selection = Selection(labels=tuple(dict.fromkeys(label or ())), image_ids=ids)
        planned = plan(library, selection, above, link=link)
        if not planned:
            say("there are no such tags")
            return
        if dry_run:
            _show(planned, written, print0)
            return
        path = _log_file(log, above)
        file = os.path.abspath(os.fsencode(library.path))
        done = "linked" if link else "moved"
        with (
            new_log(path, library=library.uuid, file=file) as steps,
            progress_bar("Linking" if link else "Moving", total=len(planned), unit="pictures") as bar,
        ):
            say(f"'clip tags undo {os.fsdecode(path)}' puts everything back")
            result = sort_pictures(library, planned, above, steps, link=link, on_progress=bar.advance)
    for source, why in result.refused:
        say(f"left {short_path(source)}: {why}")
    parts = [f"{done} {counted(result.done, 'picture')}"]
    if result.beside:
        parts.append(f"{counted(result.beside, 'file')} beside them (side-cars, raw files)")
    if result.renamed:
        parts.append(f"{result.renamed:,} under another name")
    if result.already:
        parts.append(f"{result.already:,} there already")
    say(", ".join(parts))
    if result.refused:
        raise InputError(f"{len(result.refused):,} of {counted(len(planned), 'picture')} could not be {done}")


def undo(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Written by 'clip tags sort'.", show_default=False)],
    db: LibraryOption = None,
) -> None:
    """Put back what 'clip tags sort' has moved, and take away the links it has made, also after a crash.

    A file that has another one at its old place stays where it is and is listed. May be interrupted and run again.
    """
    from clipcli.commands.keeping import for_keeping
    from clipcli.library.sort_log import append_log, read_log
    from clipcli.library.unsorting import put_back
    from clipcli.render.notes import counted, say
    from clipcli.render.progress import progress_bar
    from clipcli.render.text import short_path

    steps = read_log(log)
    with for_keeping(db or Path(os.fsdecode(steps.file))) as library:
        if library.uuid != steps.library:
            raise UsageError(f"{log} belongs to another library, {os.fsdecode(steps.file)}; --db says where it is now")
        total = len(steps.steps)
        with append_log(log) as more, progress_bar("Putting back", total=total, unit="steps") as bar:
            result = put_back(library, steps, more, on_progress=bar.advance)
    for path, why in result.refused:
        say(f"left {short_path(path)}: {why}")
    beside = f" and {counted(result.beside, 'file')} beside them" if result.beside else ""
    parts = [f"{counted(result.pictures, 'picture')}{beside} put back"] if result.pictures or not result.links else []
    parts += [f"{counted(result.links, 'link')} taken away"] if result.links else []
    say(", ".join(parts))
    if result.refused:
        raise InputError(f"{counted(len(result.refused), 'file')} could not be put back")


def _log_file(given: Path | None, folder: bytes) -> bytes:
    if given is not None:
        return os.path.abspath(os.fsencode(given.expanduser()))
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise ClipError(f"{os.fsdecode(folder)} cannot be made: {error.strerror or error}") from None
    now = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return os.path.join(folder, f"clip-sort-{now}.jsonl".encode())


def _show(planned: Sequence[Planned], written: str, print0: bool) -> None:
    from clipcli.render.notes import counted, say
    from clipcli.render.records import write_records
    from clipcli.render.tables import Cell, Column, PathCell, write_table
    from clipcli.render.text import path_fields

    if written == "table":
        columns = [Column(title="label"), Column(title="picture", wide=True), Column(title="would be", wide=True)]
        rows: list[list[Cell]] = [
            [each.label, PathCell(path=each.source), PathCell(path=each.target)] for each in planned
        ]
        write_table(columns, rows)
    else:
        records = [
            {
                "path": each.source,
                "image_id": each.image_id,
                "label": each.label,
                **{f"target{name[4:]}": value for name, value in path_fields(each.target).items()},
            }
            for each in planned
        ]
        write_records(records, format=written, fields=SORT_FIELDS, print0=print0)
    say(f"{counted(len(planned), 'picture')}; nothing was touched")
