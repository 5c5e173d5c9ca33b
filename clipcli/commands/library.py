"""`clip library`: make one, see what is in it, and look after it for years."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipcli.commands import interchange, keeping, showing
from clipcli.commands.checking import check
from clipcli.commands.options import Format, FormatOption, LibraryOption, NullOption

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from clipcli.library.counts import LibraryCounts
    from clipcli.render.tables import Cell

app = typer.Typer(
    help="Make, inspect and look after a library.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

STATS_FIELDS = ("section", "name", "count", "bytes", "path", "path_b64")
ROOTS_FIELDS = (
    "root_id", "pictures", "bytes", "skipped", "present", "anchored", "scanned_at", "path", "path_b64",
)  # fmt: skip
SKIPPED_FIELDS = ("kind", "reason", "detail", "first_seen_at", "path", "path_b64")


@app.command()
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="The folder of the photos.", show_default=False)
    ] = Path("."),
) -> None:
    """Make a library beside the photos: .clip/library.db in FOLDER, or in this folder.

    Commands given in FOLDER or below find it by themselves. Folders of pictures inside FOLDER are remembered relative
    to it, so that photos and library can move together.
    """
    from clipcli.library.founding import found_library, library_in_its_place
    from clipcli.render.notes import say

    path, new = found_library(folder)
    say(f"made {path}; 'clip embed' there fills it" if new else f"there is a library already: {path}")
    other = library_in_its_place(path) if new else None
    if other is not None:
        file, still = shlex.quote(os.fspath(other[0])), other[1]
        new_file, below = shlex.quote(os.fspath(path)), path.parent.parent
        say(
            f"commands go on using {file}, as long as CLIP_DB names it; --db {new_file} uses the new one"
            if still
            else f"commands given in {below} or below use it from now on, no longer {file}; --db {file} uses that one"
        )


@app.command()
def stats(db: LibraryOption = None, format: FormatOption = None) -> None:
    """Show what the library holds: pictures by folder, model, format and year, and what was skipped."""
    from clipcli.commands.opening import open_library
    from clipcli.library.counts import count_library
    from clipcli.render.records import write_records

    with open_library(db) as library:
        path = os.fsencode(library.path)
        records = stats_records(count_library(library), path)
    if format in (None, Format.table):
        _write_stats(records, path)
    else:
        write_records(records, format=format, fields=STATS_FIELDS)


@app.command()
def roots(db: LibraryOption = None, format: FormatOption = None, print0: NullOption = False) -> None:
    """List the folders that were indexed, and whether they are there at the moment."""
    from dataclasses import asdict

    from clipcli.commands.opening import open_library
    from clipcli.library.counts import count_roots
    from clipcli.render.notes import say
    from clipcli.render.records import choose_format, write_records
    from clipcli.render.tables import Column, PathCell, write_table

    written = choose_format(format, print0=print0)
    with open_library(db) as library:
        found = count_roots(library)
    if not found:
        say("no folder was indexed yet")
    if written != "table":
        write_records(_in_order(map(asdict, found), ROOTS_FIELDS), format=written, fields=ROOTS_FIELDS, print0=print0)
    elif found:
        columns = [Column(title="pictures", right=True), Column(title="skipped", right=True), Column(title="")]
        columns += [Column(title="looked through"), Column(title="folder", wide=True)]
        rows: list[list[Cell]] = [
            [
                f"{root.pictures:,}",
                f"{root.skipped:,}",
                "" if root.present else "NOT THERE",
                root.scanned_at or "never as a whole",
                PathCell(path=root.path),
            ]
            for root in found
        ]
        write_table(columns, rows)


@app.command()
def skipped(
    reason: Annotated[
        str | None,
        typer.Option("--reason", metavar="WORD", help="Only those skipped for this reason.", show_default=False),
    ] = None,
    db: LibraryOption = None,
    format: FormatOption = None,
    print0: NullOption = False,
) -> None:
    """List the files and folders that could not be read, and why."""
    from dataclasses import asdict

    from clipcli.commands.opening import open_library
    from clipcli.library.counts import skipped_files
    from clipcli.render.notes import say
    from clipcli.render.records import choose_format, write_records
    from clipcli.render.tables import Column, PathCell, write_table

    written = choose_format(format, print0=print0)
    with open_library(db) as library:
        found = skipped_files(library, reason=reason)
    if not found:
        say("nothing was skipped" if reason is None else f"nothing was skipped as {reason}")
    if written != "table":
        write_records(
            _in_order(map(asdict, found), SKIPPED_FIELDS), format=written, fields=SKIPPED_FIELDS, print0=print0
        )
    elif found:
        columns = [Column(title="reason"), Column(title="file", wide=True), Column(title="detail", wide=True)]
        write_table(columns, [[one.reason, PathCell(path=one.path), one.detail] for one in found])


app.command("show")(showing.show)
app.command("check")(check)
app.command("relocate")(keeping.relocate)
app.command("forget")(keeping.forget)
app.command("vacuum")(keeping.vacuum)
app.command("backup")(keeping.backup)
app.command("export")(interchange.export_to_file)
app.command("import")(interchange.import_from_file)


def _in_order(records: Iterable[dict[str, Any]], fields: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The fields of each record as the contract has them."""
    for record in records:
        yield {field: record[field] for field in fields if field in record}


def stats_records(counts: LibraryCounts, path: bytes) -> list[dict[str, Any]]:
    """One record a count; `section` says what is counted, and only a library and a root have a path."""
    vectors = sum(model.pictures for model in counts.models)
    vector_bytes = sum(4 * model.pictures * model.dimension for model in counts.models)

    def record(section: str, name: str, count: int, bytes_: int | None = None, at: bytes | None = None) -> Any:
        return {"section": section, "name": name, "count": count, "bytes": bytes_, "path": at}

    return [
        record("library", "pictures", counts.pictures.count, counts.pictures.bytes),
        record("library", "vectors", vectors, vector_bytes),
        record("library", "stale", counts.stale),
        record("library", "truncated", counts.truncated),
        record("library", "tags", counts.tags),
        record("library", "skipped", sum(one.count for one in counts.skipped)),
        record("library", "file", 1, counts.file_bytes, path),
        *(record("root", os.fsdecode(root.path), root.pictures, root.bytes, root.path) for root in counts.roots),
        *(
            record("model", f"{model.name} ({model.precision})", model.pictures, 4 * model.pictures * model.dimension)
            for model in counts.models
        ),
        *(record("format", one.name, one.count, one.bytes) for one in counts.formats),
        *(record("year", one.name, one.count, one.bytes) for one in counts.years),
        *(record("skipped", one.name, one.count, one.bytes) for one in counts.skipped),
    ]


_HEADINGS = {"root": "Folders", "model": "Models", "format": "Formats", "year": "Years", "skipped": "Skipped"}


def _write_stats(records: Sequence[dict[str, Any]], path: bytes) -> None:
    from clipcli.render.tables import Column, PathCell, write_heading, write_link, write_table
    from clipcli.render.text import readable_size

    write_link("Library ", path)

    def table(section: str, title: str, chosen: Sequence[dict[str, Any]]) -> None:
        columns = [Column(title="count", right=True), Column(title="size", right=True), Column(title=title, wide=True)]
        rows: list[list[Cell]] = [
            [
                f"{one['count']:,}",
                "" if one["bytes"] is None else readable_size(one["bytes"]),
                PathCell(path=one["path"]) if section == "root" else one["name"],
            ]
            for one in chosen
        ]
        write_table(columns, rows)

    table("library", "", [one for one in records if one["section"] == "library"])
    for section, heading in _HEADINGS.items():
        chosen = [one for one in records if one["section"] == section]
        if chosen:
            write_heading(heading)
            table(section, section, chosen)
