"""Pictures as a terminal takes them: kitty's escape codes, iTerm2's, sixels, and half blocks of colour.

Each takes an RGB picture that is already as large as it is to appear. Shapes: H W pixels.
"""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

__all__ = ["half_blocks", "iterm2", "kitty", "sixel"]

_KITTY_CHUNK = 4096  # the protocol's limit for one escape code
_RUN = re.compile(rb"(.)\1{3,}", re.DOTALL)  # from four alike on, a count is shorter


def kitty(picture: Picture, *, columns: int | None = None) -> bytes:
    """Draw at the cursor, which stays: pixel for pixel, or scaled to so many columns.

    Kitty graphics protocol: a=T transmit and show, f=100 a PNG, C=1 leave the cursor, q=2 no answer.
    """
    data = base64.standard_b64encode(_as_file(picture, "PNG"))
    scale = f",c={columns}" if columns else ""
    parts = [data[at : at + _KITTY_CHUNK] for at in range(0, len(data), _KITTY_CHUNK)]
    codes = []
    for number, part in enumerate(parts):
        keys = f"a=T,f=100,t=d,C=1,q=2{scale}," if number == 0 else ""
        codes.append(b"\x1b_G%sm=%d;%s\x1b\\" % (keys.encode(), number < len(parts) - 1, part))
    return b"".join(codes)


def iterm2(picture: Picture, *, columns: int, rows: int) -> bytes:
    """Draw at the cursor within so many cells, its shape kept. Where the cursor goes differs: save and restore it."""
    data = _as_file(picture, "JPEG")
    keys = f"inline=1;size={len(data)};width={columns};height={rows};preserveAspectRatio=1;doNotMoveCursor=1"
    return b"\x1b]1337;File=%s:%s\x07" % (keys.encode(), base64.standard_b64encode(data))


def sixel(picture: Picture, *, registers: int = 256) -> bytes:
    """Draw at the cursor, pixel for pixel, in at most `registers` colours. The cursor moves.

    DEC STD 070: six rows of pixels at a time, for each colour in them a line of characters of which each says which of
    its six pixels have the colour; `!n` repeats, `$` goes back to the left, `-` to the next six.
    """
    import numpy as np
    from PIL import Image

    reduced = picture.quantize(registers, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)
    palette = np.asarray(reduced.getpalette() or [], dtype=np.int64).reshape(-1, 3)
    index = np.asarray(reduced)  # (H, W)
    height, width = index.shape
    out = [b"\x1bP0;1;0q", b'"1;1;%d;%d' % (width, height)]
    for number in np.unique(index).tolist():
        red, green, blue = (round(part * 100 / 255) for part in palette[number].tolist())
        out.append(b"#%d;2;%d;%d;%d" % (number, red, green, blue))
    for top in range(0, height, 6):
        out.append(_six_rows(index[top : top + 6]) + b"-")
    out.append(b"\x1b\\")
    return b"".join(out)


def _six_rows(band: NDArray[np.uint8]) -> bytes:
    """(up to 6, W) of colour numbers as the lines of a band."""
    import numpy as np

    places = (1 << np.arange(len(band), dtype=np.uint8))[:, None]  # (6, 1)
    lines = []
    for number in np.unique(band).tolist():
        bits = np.where(band == number, places, 0).sum(axis=0, dtype=np.uint8)  # (W,)
        line = (bits + 63).astype(np.uint8).tobytes().rstrip(b"?")  # '?' is no pixel at all
        lines.append(b"#%d" % number + _RUN.sub(lambda run: b"!%d%s" % (len(run[0]), run[1]), line))
    return b"$".join(lines)


def half_blocks(picture: Picture, *, true_colour: bool) -> list[str]:
    """A line of text for each two rows of pixels: the upper one is the ink of a half block, the lower one its paper."""
    colours = _of_24_bits(picture) if true_colour else _of_256(picture)
    lines = []
    for top in range(0, len(colours), 2):
        paper = colours[top + 1] if top + 1 < len(colours) else None
        line, last = [], ""
        for column, colour in enumerate(colours[top]):
            code = f"\x1b[38;{colour};{'48;' + paper[column] if paper else '49'}m"
            line.append("▀" if code == last else code + "▀")
            last = code
        lines.append("".join(line) + "\x1b[0m")
    return lines


def _of_24_bits(picture: Picture) -> list[list[str]]:
    """Each row of pixels as parameters of SGR 38 and 48."""
    import numpy as np

    return [[f"2;{red};{green};{blue}" for red, green, blue in row] for row in np.asarray(picture).tolist()]


def _of_256(picture: Picture) -> list[list[str]]:
    """The same in xterm's colours; what a pixel is off goes to those beside it, so that a lawn stays green."""
    import numpy as np
    from PIL import Image

    levels = (0, 95, 135, 175, 215, 255)  # of the colour cube, numbers 16 to 231
    cube = [part for red in levels for green in levels for blue in levels for part in (red, green, blue)]
    greys = [8 + 10 * step for step in range(24) for _ in range(3)]  # numbers 232 to 255
    palette = Image.new("P", (1, 1))
    palette.putpalette(cube + greys)
    numbers = np.asarray(picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG))  # (H, W)
    return [[f"5;{16 + number}" for number in row] for row in numbers.tolist()]


def _as_file(picture: Picture, format: str) -> bytes:
    buffer = io.BytesIO()
    if format == "JPEG":
        picture.save(buffer, format, quality=90)
    else:
        picture.save(buffer, format, compress_level=3)
    return buffer.getvalue()
