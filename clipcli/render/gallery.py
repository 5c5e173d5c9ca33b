"""Pictures to be shown, with what is said about each: the same for a terminal, a page and a sheet.

The pictures themselves come beside it, small and in the order of `Gallery.paths`, so that nothing here reads files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.render.text import printable

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from clipcli.errors import ImageError

    # A small upright RGB picture for each path, or why there is none.
    Pictures = Iterable[Picture | ImageError]

__all__ = ["Gallery", "Section", "Tile"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """One picture: `path` absolute; `figures` are a few short words such as rank and score, `detail` one more."""

    path: bytes
    figures: tuple[str, ...] = ()
    detail: str = ""

    @property
    def name(self) -> str:
        """The file's name, safe to show."""
        return printable(os.fsdecode(os.path.basename(self.path)))

    @property
    def place(self) -> str:
        """The name after that of its folder: many folders have an `image_0001.jpg`."""
        folder = os.path.basename(os.path.dirname(self.path))
        return f"{printable(os.fsdecode(folder))}/{self.name}" if folder else self.name

    @property
    def full_path(self) -> str:
        """The whole path, safe to show."""
        return printable(os.fsdecode(self.path))


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Pictures that belong together; without a heading where there is only one such."""

    tiles: tuple[Tile, ...]
    heading: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """Everything there is to show. `remark` says where it is from, `nothing` why it is empty."""

    title: str
    sections: tuple[Section, ...]
    remark: str = ""
    nothing: str = "nothing found"

    @property
    def legend(self) -> str:
        """What a mark on the tiles means, where one has it."""
        marked = any(tile.detail.startswith("~") for section in self.sections for tile in section.tiles)
        return "~ before a date: only the file's own time says so" if marked else ""

    @property
    def paths(self) -> list[bytes]:
        """A path for each tile, in order."""
        return [tile.path for section in self.sections for tile in section.tiles]

    def first(self, count: int) -> Gallery:
        """The same with no more than `count` tiles; a section that keeps none is left out."""
        sections = []
        for section in self.sections:
            if count <= 0:
                break
            sections.append(Section(tiles=section.tiles[:count], heading=section.heading))
            count -= len(section.tiles)
        return Gallery(title=self.title, sections=tuple(sections), remark=self.remark, nothing=self.nothing)
