"""Groups of duplicates as a table, as records, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipcli.commands.galleries import Wanted, look, put_down

if TYPE_CHECKING:
    from clipcli.library.duplicates import Group
    from clipcli.render.gallery import Gallery
    from clipcli.render.records import Record

FIELDS = ("group", "kind", "score", "path", "path_b64", "image_id", "bytes", "width", "height")


def show_groups(groups: Sequence[Group], written: str, print0: bool, wanted: Wanted) -> None:
    """Write the groups to stdout, and as pictures where those are wanted. Raises what `put_down` does."""
    from clipcli.render.notes import say
    from clipcli.render.records import write_records

    gallery = _gallery(groups) if wanted.seen or wanted.kept else None
    if written == "table":
        if gallery is None or not look(gallery, wanted, written):
            _write_table(groups)
    else:
        records = [record for number, group in enumerate(groups, start=1) for record in _records(number, group)]
        if written == "paths":
            records = [record for record in records if record["kind"] != "kept"]
        write_records(records, format=written, fields=FIELDS, print0=print0)
    if not groups:
        say("no duplicates")
    if gallery is not None:
        if written != "table":
            look(gallery, wanted, written)
        put_down(gallery, wanted)


def _gallery(groups: Sequence[Group]) -> Gallery:
    from clipcli.render.gallery import Gallery, Section, Tile
    from clipcli.render.notes import counted

    sections = []
    for number, group in enumerate(groups, start=1):
        tiles = [
            Tile(
                path=each.path,
                figures=(
                    "keep" if each is group.kept else "exact" if group.is_exact(each) else f"near {each.cosine:z.3f}",
                    f"id:{each.image_id}",
                ),
                detail=f"{each.width}×{each.height}",
            )
            for each in (group.kept, *group.copies)
        ]
        sections.append(Section(tiles=tuple(tiles), heading=f"Group {number}, {counted(len(tiles), 'picture')}"))
    told = f"{counted(len(groups), 'group')}, the one to keep first"
    return Gallery(title="Duplicates", sections=tuple(sections), remark=told, nothing="no duplicates")


def _records(number: int, group: Group) -> list[Record]:
    return [
        {
            "group": number,
            "kind": "kept" if each is group.kept else "exact" if group.is_exact(each) else "near",
            "score": round(each.cosine, 6),
            "path": each.path,
            "image_id": each.image_id,
            "bytes": each.size,
            "width": each.width,
            "height": each.height,
        }
        for each in (group.kept, *group.copies)
    ]


def _write_table(groups: Sequence[Group]) -> None:
    from clipcli.render.tables import Cell, Column, PathCell, write_table
    from clipcli.render.text import readable_size

    columns = [
        Column(title="", right=True, style="dim"),
        Column(title=""),
        Column(title="score", right=True, style="green"),
        Column(title="id", right=True),
        Column(title="pixels", right=True),
        Column(title="size", right=True),
        Column(title="picture", wide=True),
    ]
    rows: list[list[Cell]] = []
    breaks: set[int] = set()
    for number, group in enumerate(groups, start=1):
        breaks.add(len(rows))
        for each in (group.kept, *group.copies):
            kept = each is group.kept
            rows.append(
                [
                    str(number),
                    "keep" if kept else "exact" if group.is_exact(each) else "near",
                    "" if kept else f"{each.cosine:z.3f}",
                    str(each.image_id),
                    f"{each.width}×{each.height}",
                    readable_size(each.size),
                    PathCell(path=each.path),
                ]
            )
    if rows:
        write_table(columns, rows, breaks=frozenset(breaks))


def say_total(groups: Sequence[Group]) -> None:
    """How many groups there are, and what the copies take."""
    from clipcli.render.notes import counted, say
    from clipcli.render.text import readable_size

    copies = [copy for group in groups for copy in group.copies]
    told = f"{counted(len(copies), 'copy', 'copies')} beside the ones to keep"
    say(f"{counted(len(groups), 'group')}, {told}, {readable_size(sum(copy.size for copy in copies))}")


def say_sum(groups: Sequence[Group], what: str) -> None:
    """How many files and bytes a deletion is about."""
    from clipcli.render.notes import counted, say
    from clipcli.render.text import readable_size

    copies = [copy for group in groups for copy in group.copies]
    size = readable_size(sum(copy.size for copy in copies))
    say(f"{what} {counted(len(copies), 'file')}, {size}, and keep {counted(len(groups), 'file')}")
