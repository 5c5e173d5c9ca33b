"""A gallery as one page that needs nothing else: pictures inside it, links to the files, no script."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.errors import ImageError, UsageError
from clipcli.render.gallery import Gallery, Section, Tile
from clipcli.render.made_files import MAKER, check_replaceable, new_file
from clipcli.render.tables import file_link
from clipcli.render.text import printable

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from clipcli.render.gallery import Pictures

    Encode = Callable[[Picture, int], bytes]  # a picture and a quality -> a WebP file

__all__ = ["MOST_ON_A_PAGE", "check_page", "page_side", "write_page"]

MOST_ON_A_PAGE = 2000
SUFFIXES = (".html", ".htm")
_QUALITIES = (80, 65, 50, 35)
# Of 10 MB for 500 pictures, what is left for each once base64 has taken its third and the text around it a kilobyte.
_ROOM = 7_000_000
_LEAST_ROOM, _MOST_ROOM = 6_000, 60_000

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --faint: #595959; --paper: #ffffff; --tile: #f2f2f0;
  --line: #c9c9c5; --link: #0a58a8; --mark: #0b6e4f; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececea; --faint: #b0b0ab; --paper: #161616; --tile: #242424;
  --line: #4a4a48; --link: #8cc2ff; --mark: #7fd6b4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 110rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.4 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .75rem; overflow-wrap: anywhere; }
p { margin: 0 0 .5rem; color: var(--faint); overflow-wrap: anywhere; }
ul { list-style: none; margin: 1.25rem 0 0; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(11rem, 100%), 1fr)); }
li { background: var(--tile); border-radius: .5rem; overflow: hidden; break-inside: avoid; }
a { display: block; height: 100%; color: inherit; text-decoration: none; border-radius: .5rem; }
a:hover .name, a:focus-visible .name { text-decoration: underline; }
a:focus-visible { outline: 3px solid var(--link); outline-offset: -3px; }
.frame { display: flex; align-items: center; justify-content: center; aspect-ratio: 4 / 3; }
img { max-width: 100%; max-height: 100%; width: auto; height: auto; display: block; }
.missing { border: 2px dashed var(--line); border-radius: .5rem .5rem 0 0; color: var(--faint); padding: .75rem;
  text-align: center; overflow-wrap: anywhere; }
.said { display: block; padding: .5rem .75rem .7rem; }
.figures { display: flex; flex-wrap: wrap; gap: 0 .75rem; font-variant-numeric: tabular-nums; }
.figures b { color: var(--mark); }
.detail { color: var(--faint); }
.name { display: block; text-align: left; color: var(--link); overflow-wrap: anywhere; }
@media print { :root { --ink: #000; --faint: #333; --paper: #fff; --tile: #fff; --line: #999; --link: #000;
  --mark: #000; } body { padding: 0; max-width: none; font-size: 9pt; }
  ul { grid-template-columns: repeat(4, 1fr); gap: 4mm; } li { border: 1px solid var(--line); }
  h2 { break-after: avoid; } }
"""


def check_page(path: Path) -> None:
    """Raises UsageError for a name that is no page's or a file that is not ours, NotFoundError for no such folder."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--html {path.name}: a page's name ends in {' or '.join(SUFFIXES)}")
    check_replaceable(path)


def page_side(count: int) -> int:
    """How large the pictures of a page with so many should come, in pixels of their longer side."""
    return 480 if count <= 100 else 400 if count <= 250 else 320


def write_page(gallery: Gallery, pictures: Pictures, path: Path, *, encode: Encode) -> int:
    """Write the page, of `MOST_ON_A_PAGE` tiles at most; how many there are on it.

    The pictures are taken one at a time, so that memory does not grow with them. Raises as `made_files.new_file`.
    """
    shown = gallery.first(MOST_ON_A_PAGE)
    count = len(shown.paths)
    room = max(_LEAST_ROOM, min(_MOST_ROOM, _ROOM // max(1, count)))
    coming = iter(pictures)
    with new_file(path) as file:
        for part in _parts(shown, coming, lambda picture: _encoded(picture, encode, room)):
            file.write(part.encode("utf-8"))
    return count


def _parts(
    gallery: Gallery, coming: Iterator[Picture | ImageError], encoded: Callable[[Picture], bytes]
) -> Iterator[str]:
    title = _safe(gallery.title)
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="generator" content="{MAKER}">\n'
        # Whatever a file may be called: nothing on the page can run, and it fetches nothing.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    )
    for told in (gallery.remark, gallery.legend):
        if told:
            yield f"<p>{_safe(told)}</p>\n"
    if not gallery.sections:
        yield f"<p>{_safe(gallery.nothing)}</p>\n"
    for section in gallery.sections:
        yield from _section(section, coming, encoded)
    yield "</main>\n</body>\n</html>\n"


def _section(
    section: Section, coming: Iterator[Picture | ImageError], encoded: Callable[[Picture], bytes]
) -> Iterator[str]:
    yield "<section>\n"
    if section.heading:
        yield f"<h2>{_safe(section.heading)}</h2>\n"
    yield "<ul>\n"
    for tile in section.tiles:
        yield f"<li>{_tile(tile, next(coming), encoded)}</li>\n"
    yield "</ul>\n</section>\n"


def _tile(tile: Tile, picture: Picture | ImageError, encoded: Callable[[Picture], bytes]) -> str:
    # The name stands below the picture and in the same link: said once is enough, so the picture itself is silent.
    if isinstance(picture, ImageError):
        frame = f'<span class="frame missing">cannot be read: {_safe(str(picture))}</span>'
    else:
        data = base64.standard_b64encode(encoded(picture)).decode("ascii")
        size = f'width="{picture.width}" height="{picture.height}"'
        frame = f'<span class="frame"><img alt="" {size} decoding="async" src="data:image/webp;base64,{data}"></span>'
    first, *rest = tile.figures or ("",)
    figures = (f"<b>{_safe(first)}</b>" if first else "") + "".join(f"<span>{_safe(each)}</span>" for each in rest)
    detail = f'<span class="detail">{_safe(tile.detail)}</span>' if tile.detail else ""
    return (
        f'<a href="{html.escape(file_link(tile.path))}" title="{_safe(tile.full_path)}">{frame}'
        f'<span class="said"><span class="figures">{figures}{detail}</span>'
        f'<bdi class="name">{_safe(tile.place)}</bdi></span></a>'
    )


def _encoded(picture: Picture, encode: Encode, room: int) -> bytes:
    """As good as goes into `room` bytes; what is all noise is made smaller still."""
    for quality in _QUALITIES:
        data = encode(picture, quality)
        if len(data) <= room:
            return data
    small = picture.resize((max(1, picture.width // 2), max(1, picture.height // 2)))
    return encode(small, _QUALITIES[-2])


def _safe(text: str) -> str:
    return html.escape(printable(text), quote=True)
