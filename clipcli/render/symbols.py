"""Coloured symbols in figures: matplotlib draws outlines only, so an emoji is put into the line as a small picture.

Only where a figure becomes pixels; in PDF and SVG symbols are spelled out. Lengths are pixels, from the left top.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from clipcli.render.fonts import stays_with_the_one_before
from clipcli.render.lettering import symbol

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = ["has_symbol", "pieces_of", "put_symbols_in"]

_MEASURED_AT = 32
_BELOW = 0.2  # of its height, what stands below the line


def has_symbol(character: str) -> bool:
    """Whether a font of coloured symbols of this computer has it."""
    return symbol(character, _MEASURED_AT) is not None


def pieces_of(text: str, has: Callable[[str], bool]) -> list[tuple[str, bool]]:
    """The text in pieces, and whether each is of coloured symbols: what `has` denies and such a font has."""
    pieces: list[tuple[str, bool]] = []
    for character in text:
        if pieces and stays_with_the_one_before(character):
            coloured = pieces[-1][1]
        else:
            coloured = not character.isspace() and not has(character) and has_symbol(character)
        if pieces and pieces[-1][1] == coloured:
            pieces[-1] = (pieces[-1][0] + character, coloured)
        else:
            pieces.append((character, coloured))
    return pieces


def put_symbols_in(canvas: Any, has: Callable[[str], bool]) -> None:
    """Have everything that is drawn on a canvas of Agg measured and drawn with coloured symbols."""
    make = canvas.get_renderer

    def get_renderer(*given: Any, **named: Any) -> Any:
        renderer = make(*given, **named)
        if not isinstance(getattr(renderer.draw_text, "__self__", None), _Writer):
            writer = _Writer(renderer, has)
            renderer.draw_text, renderer.get_text_width_height_descent = writer.draw, writer.measure
        return renderer

    canvas.get_renderer = get_renderer


class _Writer:
    """What a renderer does with text, with symbols; all other text goes to it as before."""

    def __init__(self, renderer: Any, has: Callable[[str], bool]) -> None:
        self._renderer, self._has = renderer, has
        self._draw, self._measure = renderer.draw_text, renderer.get_text_width_height_descent

    def measure(self, text: str, font: Any, ismath: Any) -> tuple[float, float, float]:
        pieces = self._pieces(text, ismath)
        if pieces is None:
            width, height, descent = self._measure(text, font, ismath)
            return width, height, descent
        sizes = [self._size(piece, font, coloured) for piece, coloured in pieces]
        return sum(size[0] for size in sizes), max(size[1] for size in sizes), max(size[2] for size in sizes)

    def draw(
        self, gc: Any, x: float, y: float, text: str, font: Any, angle: float, ismath: Any = False, mtext: Any = None
    ) -> None:
        pieces = self._pieces(text, ismath)
        if pieces is None:
            self._draw(gc, x, y, text, font, angle, ismath, mtext)
            return
        along = 0.0
        cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        for piece, coloured in pieces:
            width, height, descent = self._size(piece, font, coloured)
            if coloured:
                middle = (along + width / 2, height / 2 - descent)
                centre = (x + middle[0] * cosine - middle[1] * sine, y - middle[0] * sine - middle[1] * cosine)
                self._put(gc, piece, font, angle, centre)
            else:
                self._draw(gc, x + along * cosine, y - along * sine, piece, font, angle, ismath, mtext)
            along += width

    def _pieces(self, text: str, ismath: Any) -> list[tuple[str, bool]] | None:
        """None where there is nothing to add."""
        if ismath or text.isascii():
            return None
        pieces = pieces_of(text, self._has)
        return pieces if any(coloured for _, coloured in pieces) else None

    def _size(self, piece: str, font: Any, coloured: bool) -> tuple[float, float, float]:
        if coloured:
            drawn = self._symbol(piece, font)
            return drawn.width, drawn.height, drawn.height * _BELOW
        width, height, descent = self._measure(piece, font, False)
        return width, height, descent

    def _symbol(self, piece: str, font: Any) -> Picture:
        drawn = symbol(piece, max(4, round(self._renderer.points_to_pixels(font.get_size_in_points()))))
        assert drawn is not None  # `pieces_of` asked
        return drawn

    def _put(self, gc: Any, piece: str, font: Any, angle: float, centre: tuple[float, float]) -> None:
        import numpy as np
        from PIL import Image

        turned = self._symbol(piece, font).rotate(angle, Image.Resampling.BICUBIC, expand=True)
        left = round(centre[0] - turned.width / 2)
        bottom = round(self._renderer.height - centre[1] - turned.height / 2)
        self._renderer.draw_image(gc, left, bottom, np.array(turned)[::-1].copy())  # Agg counts rows from below
