"""Tags as records, and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipcli.library.tag_selection import Tag
    from clipcli.render.records import Record


def write_tags(tags: Iterable[Tag], written: str, fields: Sequence[str], *, print0: bool) -> None:
    """A record for each picture and label."""
    from clipcli.render.notes import say
    from clipcli.render.records import write_records
    from clipcli.render.tables import Cell, Column, PathCell, write_table

    if written != "table":
        write_records(_records(tags), format=written, fields=fields, print0=print0)
        return
    columns = [Column(title="picture", wide=True), Column(title="label", wide=True), Column(title="score", right=True)]
    columns += [Column(title="given by", wide=True)]
    rows: list[list[Cell]] = []
    before = None
    for tag in tags:
        giver = tag.model or ("you" if tag.score is None else "a model that is gone")
        score = "" if tag.score is None else f"{tag.score:z.3f}"
        rows.append([PathCell(path=tag.path, again=tag.image_id == before), tag.label, score, giver])
        before = tag.image_id
    if rows:
        write_table(columns, rows)
    else:
        say("there are no such tags")


def _records(tags: Iterable[Tag]) -> Iterator[Record]:
    for tag in tags:
        yield {
            "path": tag.path,
            "image_id": tag.image_id,
            "label": tag.label,
            "score": tag.score,
            "model": tag.model,
            "created_at": tag.created_at,
        }
