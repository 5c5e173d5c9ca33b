"""Results as pictures: in the terminal, on a page, on a sheet. The same for every command that finds pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.errors import ImageError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from clipcli.render.gallery import Gallery

__all__ = ["Wanted", "day_of", "look", "put_down", "taken"]

MOST_SEEN = 500  # nobody scrolls further back; a page holds more


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Where pictures are to be seen. `way` is how the terminal shows them, found out where it is None."""

    preview: bool = False
    way: str | None = None
    html: Path | None = None
    sheet: Path | None = None

    def __post_init__(self) -> None:
        """Files are judged before anything is searched. Raises UsageError, NotFoundError for a folder."""
        if self.html is not None:
            from clipcli.render.html_page import check_page

            check_page(self.html)
        if self.sheet is not None:
            from clipcli.render.contact_sheet import check_sheet

            check_sheet(self.sheet)

    @property
    def seen(self) -> bool:
        """Whether pictures are to be shown in the terminal."""
        return self.preview or self.way is not None

    @property
    def kept(self) -> bool:
        """Whether pictures are to be written to a file."""
        return self.html is not None or self.sheet is not None


def look(gallery: Gallery, wanted: Wanted, written: str) -> bool:
    """Show the pictures where that is wanted and can be; whether they were, so that the table need not be."""
    if not wanted.seen or not gallery.sections:
        return False
    from clipcli.render.notes import aside, say
    from clipcli.render.previews import long_side, show_previews
    from clipcli.render.terminal import Way, find_terminal

    if written != "table":
        say(f"no previews: they do not go with --format {written}")
        return False
    terminal = find_terminal(Way(wanted.way) if wanted.way else None)
    if terminal is None:
        say("no previews: the output is no terminal that could show pictures")
        return False
    shown = gallery.first(MOST_SEEN)
    show_previews(shown, _pictures(_files(shown.paths), long_side(shown, terminal)), terminal)
    if shown.legend:
        aside(shown.legend)
    if len(gallery.paths) > MOST_SEEN:
        say(f"shown: the first {MOST_SEEN:,} of {len(gallery.paths):,} pictures")
    return True


def put_down(gallery: Gallery, wanted: Wanted, *, sources: Sequence[Path | bytes] = ()) -> None:
    """Write the page and the sheet that are wanted. Raises InputError at the end where pictures could not be read.

    `sources` are the pictures themselves, files or encoded, where they are not the gallery's paths.
    """
    from clipcli.render.notes import counted

    failed = 0
    if wanted.html is not None:
        from clipcli.photos.thumbnails import encode
        from clipcli.render.html_page import MOST_ON_A_PAGE, page_side, write_page

        def as_webp(picture: Picture, quality: int) -> bytes:
            return encode(picture, quality=quality)

        def page(pictures: Iterator[Picture | ImageError], path: Path) -> int:
            return write_page(gallery, pictures, path, encode=as_webp)

        failed = _put(gallery, wanted.html, page, min(len(gallery.paths), MOST_ON_A_PAGE), page_side, sources)
    if wanted.sheet is not None:
        from clipcli.render.contact_sheet import MOST_ON_A_SHEET, sheet_side, write_sheet

        sheet_path = wanted.sheet

        def sheet(pictures: Iterator[Picture | ImageError], path: Path) -> int:
            return write_sheet(gallery, pictures, path)

        def side(_count: int) -> int:
            return sheet_side(gallery, sheet_path)

        failed = max(failed, _put(gallery, sheet_path, sheet, min(len(gallery.paths), MOST_ON_A_SHEET), side, sources))
    if failed:
        raise InputError(f"{failed:,} of {counted(len(gallery.paths), 'picture')} could not be read")


def taken(facts: Mapping[str, object]) -> str:
    """When a picture was taken, as the library keeps it; with `~` where only the file's own time says so."""
    moment = str(facts.get("taken_at") or "")
    return f"~{moment}" if moment and facts.get("taken_from") == "file" else moment


def day_of(facts: Mapping[str, object]) -> str:
    """The day a picture was taken, marked as `taken` does; nothing where nobody knows."""
    moment = taken(facts)
    return moment[: len("~2021-07-04") if moment.startswith("~") else len("2021-07-04")]


def _put(
    gallery: Gallery,
    path: Path,
    write: Callable[[Iterator[Picture | ImageError], Path], int],
    count: int,
    side: Callable[[int], int],
    sources: Sequence[Path | bytes],
) -> int:
    """Write one file and say so; how many pictures could not be read."""
    from clipcli.render.notes import counted, say
    from clipcli.render.progress import progress_bar

    failed = 0

    def watched() -> Iterator[Picture | ImageError]:
        nonlocal failed
        for picture in _pictures((sources or _files(gallery.paths))[:count], side(count)):
            failed += isinstance(picture, ImageError)
            bar.advance()
            yield picture

    with progress_bar("Drawing", total=count, unit="pictures") as bar:
        shown = write(watched(), path)
    told = f" of {len(gallery.paths):,}, as many as it holds" if shown < len(gallery.paths) else ""
    say(f"{path}: {counted(shown, 'picture')}{told}")
    return failed


def _files(paths: Sequence[bytes]) -> list[Path | bytes]:
    return [Path(os.fsdecode(path)) for path in paths]


def _pictures(sources: Sequence[Path | bytes], long_side: int) -> Iterator[Picture | ImageError]:
    from clipcli.photos.thumbnails import small_pictures

    return small_pictures(sources, long_side=long_side)
