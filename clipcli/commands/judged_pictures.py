"""Judged pictures as pictures: those of each label together, the surest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from clipcli.render.gallery import Gallery
    from clipcli.render.records import Record

__all__ = ["judged_gallery"]


def judged_gallery(records: Sequence[Record], names: Sequence[str], *, every_label: bool = False) -> Gallery:
    """A section for each label there is a picture of, in the order of `names`; then what none of them fits.

    A picture stands under its likeliest label, or with `every_label` under each that it has a record of.
    """
    from clipcli.render.gallery import Gallery, Section, Tile
    from clipcli.render.notes import counted

    by_label: dict[str, list[Record]] = {name: [] for name in names}
    for record in records:
        if every_label or record["rank"] == 1:
            by_label.setdefault(str(record["label"]), []).append(record)
    sections = []
    for label, found in by_label.items():
        found.sort(key=lambda record: -cast("float", record["cosine"] or 0.0))
        tiles = tuple(Tile(path=cast("bytes", record["path"]), figures=_figures(record)) for record in found)
        if tiles:
            sections.append(Section(tiles=tiles, heading=f"{label} ({len(tiles):,})"))
    pictures = len({record["path"] for record in records})
    return Gallery(
        title=f"Sorted by {counted(len(names), 'label')}",
        sections=tuple(sections),
        remark=counted(pictures, "picture"),
        nothing="there are no pictures to classify",
    )


def _figures(record: Record) -> tuple[str, ...]:
    from clipcli.render.text import percent

    chance = cast("float | None", record["probability"])
    cosine = cast("float | None", record["cosine"])
    certain = () if chance is None else (percent(chance),)
    return (*certain, f"cosine {cosine:z.3f}") if cosine is not None else certain
