"""`clip library show`: all that is known of single pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.options import FormatOption, LibraryOption, NullOption
from clipcli.commands.picture_arguments import picture_ids

if TYPE_CHECKING:
    from clipcli.library.showing import Picture
    from clipcli.render.records import Record

SHOW_FIELDS = (
    "image_id", "width", "height", "format", "frames", "orientation", "taken_at", "taken_from", "camera", "lens",
    "latitude", "longitude", "bytes", "digest", "truncated", "stale", "tags", "models", "path", "path_b64",
)  # fmt: skip
_CALLED = {"exif": "from EXIF", "xmp": "from XMP", "file": "the file's time"}


def show(
    pictures: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURE...",
            help="Files, there or not, or id:NUMBER; - reads paths from stdin.",
            show_default=False,
        ),
    ],
    db: LibraryOption = None,
    format: FormatOption = None,
    print0: NullOption = False,
) -> None:
    """Show what the library knows of pictures: size, date, camera, place, tags, and which models have seen them."""
    from clipcli.commands.opening import open_library
    from clipcli.library.showing import pictures_shown
    from clipcli.render.records import choose_format, write_records

    written = choose_format(format, print0=print0)
    with open_library(db) as library:
        found = pictures_shown(library, picture_ids(library, pictures, None) or [])
    if written == "table":
        for number, picture in enumerate(found):
            _write_table(picture, first=number == 0)
    else:
        records = [_record(picture, in_rows=written in ("csv", "tsv")) for picture in found]
        write_records(records, format=written, fields=SHOW_FIELDS, print0=print0)


def _record(picture: Picture, *, in_rows: bool) -> Record:
    """In rows the lists of tags and models are JSON, as all lists are."""
    import json

    tags = [tag.label for tag in picture.tags]
    models = [f"{vector.model} ({vector.precision})" for vector in picture.vectors]
    return {
        "image_id": picture.image_id,
        "width": picture.width,
        "height": picture.height,
        "format": picture.format,
        "frames": picture.frames,
        "orientation": picture.orientation,
        "taken_at": picture.taken_at,
        "taken_from": picture.taken_from,
        "camera": picture.camera,
        "lens": picture.lens,
        "latitude": picture.latitude,
        "longitude": picture.longitude,
        "bytes": picture.size,
        "digest": picture.digest,
        "truncated": picture.truncated,
        "stale": picture.stale,
        "tags": json.dumps(tags, ensure_ascii=False) if in_rows else tags,
        "models": json.dumps(models, ensure_ascii=False) if in_rows else models,
        "path": picture.path,
    }


def _write_table(picture: Picture, *, first: bool) -> None:
    from clipcli.render.notes import counted, write_text
    from clipcli.render.tables import Cell, Column, write_link, write_table
    from clipcli.render.text import readable_size

    if not first:
        write_text("\n")
    write_link("", picture.path)
    size = f"{picture.width}×{picture.height}, {picture.format}, {readable_size(picture.size)}"
    if picture.frames is not None and picture.frames > 1:
        size += f", {counted(picture.frames, 'frame')}"
    if picture.orientation != 1:
        size += f", turned (orientation {picture.orientation})"
    rows: list[list[Cell]] = [["picture", size]]
    if picture.taken_at is not None:
        rows.append(["taken", f"{picture.taken_at}, {_CALLED[picture.taken_from or 'file']}"])
    rows += [[name, value] for name, value in (("camera", picture.camera), ("lens", picture.lens)) if value]
    if picture.latitude is not None and picture.longitude is not None:
        rows.append(["place", f"{picture.latitude:.6f},{picture.longitude:.6f}"])
    for tag in picture.tags:
        by = f"{'' if tag.score is None else f'{tag.score:z.3f} '}by {tag.model}" if tag.model else "by hand"
        rows.append(["tag", f"{tag.label}, {by}"])
    for vector in picture.vectors:
        rows.append(
            ["vector", f"{vector.model} ({vector.precision}){'' if vector.current else ', of an older content'}"]
        )
    if picture.truncated:
        rows.append(["", "the file is cut short"])
    if picture.stale:
        rows.append(["", "the file could not be read when last looked at"])
    rows.append(["SHA-256", picture.digest])
    write_table([Column(title="id"), Column(title=str(picture.image_id), wide=True)], rows)
