"""One look for every picture of numbers: colours, letters, sizes, in light and in dark; and how it is saved.

Sizes are inches at `DPI`: letters of 12 points are 33 pixels high in a figure 1,280 wide, and still 10 where that is
shown 400 wide.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipcli.errors import MissingExtraError, UsageError
from clipcli.render.fonts import FURTHER, font_files, font_with, spelled_out
from clipcli.render.made_files import MAKER, new_file
from clipcli.render.notes import say_missing_letters
from clipcli.render.symbols import has_symbol, put_symbols_in
from clipcli.render.text import printable

__all__ = [
    "DARK",
    "DPI",
    "LIGHT",
    "SUFFIXES",
    "Look",
    "check_figure",
    "letters_for",
    "new_figure",
    "save_figure",
    "styled",
    "writable",
]

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")
DPI = 200
TITLE, LABEL, TICK = 14, 12, 12  # points
LINE_WIDTH, MARKER = 2.2, 7
_FIRST = "DejaVu Sans"  # comes with matplotlib, so that every machine has it


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """Colours as #rrggbb. `series` are told apart with every kind of colour vision; each has a marker and a dash."""

    paper: str
    ink: str
    faint: str
    grid: str
    series: tuple[str, ...]
    colours: str = "viridis"  # a map of matplotlib: even to the eye, and read alike with every kind of colour vision
    markers: tuple[str, ...] = ("o", "s", "^", "D", "v", "P")
    dashes: tuple[str, ...] = ("-", "--", "-.", ":", "-", "--")


# After the palette of Okabe and Ito (2008), darker on white and lighter on black, so that thin lines stand out as well.
LIGHT = Look(
    paper="#ffffff",
    ink="#1b1b1b",
    faint="#555555",
    grid="#dddddd",
    series=("#0064a8", "#d55e00", "#009069", "#b05a9c", "#6b5600", "#111111"),
)
DARK = Look(
    paper="#161616",
    ink="#ececea",
    faint="#b0b0ab",
    grid="#3a3a38",
    series=("#56b4e9", "#ff9f4d", "#2fcfa0", "#e79cc9", "#f0e442", "#d0d0d0"),
)


def check_figure(path: Path, purpose: str) -> None:
    """Raises UsageError for a name whose ending is no format of ours, MissingExtraError without matplotlib."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path.name!r} does not end in one of {', '.join(SUFFIXES)}")
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise MissingExtraError("plot", purpose)


def new_figure(look: Look, *, width: float, height: float, dpi: int = DPI) -> Any:
    """An empty figure, made without pyplot and its global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, facecolor=look.paper)
    put_symbols_in(FigureCanvasAgg(figure), _outlined)
    return figure


def styled(axes: Any, look: Look) -> None:
    """Axes with a quiet grid behind what is drawn, and no box around it."""
    axes.set_facecolor(look.paper)
    axes.grid(visible=True, color=look.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(look.faint)
    axes.tick_params(colors=look.ink, labelsize=TICK, length=4)


def writable(text: str) -> str:
    """Text that is safe to show, with the letters that no font here has spelled out; ends of lines are kept."""
    lines = [printable(line) for line in text.split("\n")]
    return "\n".join(line if line.isascii() else spelled_out(line, _has) for line in lines)


def letters_for(text: str) -> dict[str, Any]:
    """The arguments that a text of matplotlib needs to be written as it stands: its fonts, and no mathematics."""
    return {"family": [_FIRST] if text.isascii() else _families(), "parse_math": False}


def save_figure(figure: Any, path: Path) -> None:
    """Write it whole or not at all, in the format of the name's ending. Raises as `made_files.new_file`."""
    format = path.suffix.lower().lstrip(".")
    if format in ("pdf", "svg"):
        _spell_symbols(figure)
    with new_file(path) as file:
        figure.savefig(file, format=format, dpi=figure.dpi, **_remark(format))
    say_missing_letters()


def _spell_symbols(figure: Any) -> None:
    """What only a font of coloured symbols has, in plain letters: among lines and outlines there are no pictures."""
    from matplotlib.text import Text

    for axis in [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]:  # it makes its labels anew
        labels = [label.get_text() for label in axis.get_ticklabels()]
        if not all(map(str.isascii, labels)):
            axis.set_ticks(axis.get_majorticklocs(), [spelled_out(label, _outlined) for label in labels])
    for text in figure.findobj(Text):
        if not text.get_text().isascii():
            text.set_text(spelled_out(text.get_text(), _outlined))


def _remark(format: str) -> dict[str, Any]:
    """By which the file is known again as ours, in the place its format has for that."""
    if format in ("png", "pdf", "svg"):
        return {"metadata": {"Software" if format == "png" else "Creator": MAKER}}
    if format == "webp":
        from PIL.Image import Exif

        exif = Exif()
        exif[0x0131] = MAKER  # Software (EXIF 2.32, 4.6.5)
        return {"pil_kwargs": {"exif": exif}}
    return {"pil_kwargs": {"comment": MAKER.encode()}}


@functools.cache
def _fonts() -> tuple[tuple[str, Any], ...]:
    """The family and the opened font of each file there is, in the order they are tried."""
    from matplotlib import font_manager

    files = [str(font_manager.findfont(_FIRST))]
    found = font_files()
    files += [str(found[name]) for name in FURTHER if name in found]
    return tuple(font for font in map(_opened, files) if font is not None)


def _opened(file: str) -> tuple[str, Any] | None:
    """The family of a font and the font; None for one that matplotlib or its FreeType does not take."""
    from matplotlib import font_manager

    try:
        font_manager.fontManager.addfont(file)
        font = font_manager.get_font(file)
    except (OSError, RuntimeError, NotImplementedError):
        return None
    return font.family_name, font


_others: list[tuple[str, Any]] = []  # fonts that were found for single letters


def _families() -> list[str]:
    return list(dict.fromkeys(name for name, _ in (*_fonts(), *_others)))


def _has(character: str) -> bool:
    return _outlined(character) or has_symbol(character)


@functools.cache
def _outlined(character: str) -> bool:
    """Whether a font of outlines has it: first those that are named, then any that this computer has."""
    if any(font.get_char_index(ord(character)) for _, font in (*_fonts(), *_others)):
        return True
    file = font_with(character)
    other = _opened(str(file)) if file else None
    if other is None or not other[1].get_char_index(ord(character)):
        return False
    _others.append(other)
    return True
