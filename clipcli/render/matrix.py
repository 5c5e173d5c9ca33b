"""The cosine-similarity matrix as a picture: photographs along the top, a sentence for each row, cosines written in.

After the figure in the notebook that came with the original CLIP. Shapes: T sentences, N photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipcli.errors import UsageError
from clipcli.render.figure_style import LIGHT, Look, check_figure, letters_for, new_figure, save_figure, writable
from clipcli.render.matrix_layout import CELL_WIDTH, FRAME_INSET, LABEL_GAP, MARGIN, Layout, wrapped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

MOST_PICTURES = 60
MOST_SENTENCES = 100

DPI = 150
THUMBNAIL = 4 * DPI  # pixels; enough for a photograph in a figure that is printed

# Luminance of the cell above which black is easier to read on it than white (WCAG 2.1, relative luminance).
BLACK_ABOVE = 0.18


def check_size(pictures: int, sentences: int) -> None:
    """Raises UsageError for a matrix that nobody could read."""
    if pictures > MOST_PICTURES or sentences > MOST_SENTENCES:
        raise UsageError(
            f"{pictures} pictures and {sentences} sentences are too many for one figure: "
            f"at most {MOST_PICTURES} and {MOST_SENTENCES} can be read"
        )


def draw_matrix(
    pictures: Sequence[Picture],
    sentences: Sequence[str],
    cosines: NDArray[np.floating],  # (T, N)
    path: Path,
    *,
    model: str = "",
    look: Look = LIGHT,
) -> None:
    """Write the figure to `path`, as PNG, JPEG, WebP, PDF or SVG by its ending.

    The colours run from the smallest to the largest cosine there is, in viridis: perceptually even, and read alike with
    every kind of colour vision. The best sentence of each photograph is framed.
    Raises UsageError for a matrix that nobody could read, MissingExtraError without matplotlib, NotFoundError for a
    folder that is not there.
    """
    check_figure(path, "drawing a matrix")
    if not len(pictures) or cosines.shape != (len(sentences), len(pictures)):
        raise ValueError(f"expected ({len(sentences)}, {len(pictures)}) cosines, got {cosines.shape}")
    check_size(len(pictures), len(sentences))
    layout = Layout(
        shapes=tuple(picture.size for picture in pictures),
        labels=tuple(wrapped(writable(text)) for text in sentences),
        foot=_foot(cosines, writable(model)),
    )
    figure = new_figure(look, width=layout.width, height=layout.height, dpi=DPI)
    _draw_pictures(figure, layout, pictures)
    _draw_cells(figure, layout, cosines, look)
    _draw_texts(figure, layout, look)
    save_figure(figure, path)


def _foot(cosines: NDArray[np.floating], model: str) -> str:
    parts = [f"Cosine similarity by the model {model}" if model else "Cosine similarity"]
    parts.append(f"colours from {cosines.min():z.2f} to {cosines.max():z.2f}")
    if len(cosines) > 1:
        parts.append("framed: the best sentence of each picture")
    return "; ".join(parts)


def _axes(figure: Any, layout: Layout, *, left: float, top: float, width: float, height: float) -> Any:
    """Axes at a place given in inches from the top left, with nothing around them."""
    place = (
        left / layout.width,
        1 - (top + height) / layout.height,
        width / layout.width,
        height / layout.height,
    )
    axes = figure.add_axes(place)
    axes.set_axis_off()
    return axes


def _draw_pictures(figure: Any, layout: Layout, pictures: Sequence[Picture]) -> None:
    """Each photograph whole above its column, standing on the matrix."""
    import numpy as np

    for column, picture in enumerate(pictures):
        left, top, width, height = layout.picture_place(column)
        axes = _axes(figure, layout, left=left, top=top, width=width, height=height)
        small = picture.convert("RGB")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        axes.imshow(np.asarray(small), interpolation="lanczos", aspect="auto")


def _draw_cells(figure: Any, layout: Layout, cosines: NDArray[np.floating], look: Look) -> None:
    import matplotlib
    from matplotlib.patches import Rectangle

    axes = _whole(figure, layout)
    low, high = float(cosines.min()), float(cosines.max())
    colours = matplotlib.colormaps[look.colours]
    best = cosines.argmax(axis=0)
    for row, height in enumerate(layout.rows):
        for column in range(len(layout.shapes)):
            left, top = layout.left_of(column), layout.top_of(row)
            share = (float(cosines[row, column]) - low) / (high - low) if high > low else 0.5
            colour = colours(share)
            axes.add_patch(
                Rectangle((left, top), CELL_WIDTH, height, facecolor=colour, edgecolor=look.paper, linewidth=1)
            )
            ink = "black" if _luminance(colour) > BLACK_ABOVE else "white"
            framed = len(cosines) > 1 and row == best[column]
            axes.text(
                left + CELL_WIDTH / 2,
                top + height / 2,
                f"{cosines[row, column]:z.2f}",  # z: what rounds to nothing has no sign
                ha="center",
                va="center_baseline",
                fontsize=13,
                fontweight="bold" if framed else "normal",
                color=ink,
            )
            if framed:
                inside = (left + FRAME_INSET, top + FRAME_INSET)
                size = (CELL_WIDTH - 2 * FRAME_INSET, height - 2 * FRAME_INSET)
                axes.add_patch(Rectangle(inside, *size, fill=False, edgecolor=ink, linewidth=1.6))


def _luminance(colour: tuple[float, float, float, float]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _draw_texts(figure: Any, layout: Layout, look: Look) -> None:
    axes = _whole(figure, layout)
    for row, label in enumerate(layout.labels):
        text = axes.text(
            layout.label_width - LABEL_GAP,
            layout.top_of(row) + layout.rows[row] / 2,
            label,
            ha="right",
            va="center",
            fontsize=12,
            linespacing=1.15,
            color=look.ink,
            **letters_for(label),
        )
        _shrink(figure, text, layout.label_width - LABEL_GAP - MARGIN / 2)
    words = "\n".join(layout.foot_lines)
    foot = axes.text(
        layout.width - MARGIN,
        layout.height - MARGIN / 2,
        words,
        ha="right",
        va="bottom",
        fontsize=9,
        color=look.faint,
        **letters_for(words),
    )
    _shrink(figure, foot, layout.width - 1.5 * MARGIN)


def _whole(figure: Any, layout: Layout) -> Any:
    """Axes over the whole figure, in inches from the top left."""
    axes = _axes(figure, layout, left=0, top=0, width=layout.width, height=layout.height)
    axes.set_xlim(0, layout.width)
    axes.set_ylim(layout.height, 0)
    return axes


def _shrink(figure: Any, text: Any, width: float) -> None:
    """Make text that is wider than `width` inches smaller, so that nothing of it is cut off."""
    taken = text.get_window_extent(figure.canvas.get_renderer()).width / DPI
    if taken > width:
        text.set_fontsize(text.get_fontsize() * width / taken)
