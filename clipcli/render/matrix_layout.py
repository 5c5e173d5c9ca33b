"""The measures of the cosine matrix: where each photograph, sentence and cell stands, so that nothing is cut off."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells

# Inches. A cell is as wide as its photograph; at 150 dots an inch the figure of the demo is about 2,000 pixels wide.
CELL_WIDTH = 1.15
LINE_HEIGHT = 0.21
FRAME_INSET = 0.035
ROW_PADDING = 0.30
MARGIN = 0.18
FOOT_LINE = 0.17
LABEL_CHARACTERS = 34
LABEL_CHARACTER_WIDTH = 0.088  # a little more than DejaVu Sans needs on average at 12 points
FOOT_CHARACTER_WIDTH = 0.072
LABEL_GAP = 0.14
PICTURE_GAP = 0.04


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Where everything stands, in inches from the top left."""

    shapes: tuple[tuple[int, int], ...]  # width and height of each picture, in pixels
    labels: tuple[str, ...]  # sentences, on as many lines as they need
    foot: str

    @property
    def label_width(self) -> float:
        longest = max(cell_len(line) for label in self.labels for line in label.split("\n"))
        return max(1.0, longest * LABEL_CHARACTER_WIDTH) + 2 * MARGIN

    @property
    def header(self) -> float:
        """The height of the tallest photograph, and the gap below it."""
        return max(self._fitted(shape)[1] for shape in self.shapes) + PICTURE_GAP

    @property
    def width(self) -> float:
        return self.label_width + len(self.shapes) * CELL_WIDTH + MARGIN

    @property
    def rows(self) -> tuple[float, ...]:
        """The height of each row."""
        return tuple(ROW_PADDING + LINE_HEIGHT * (label.count("\n") + 1) for label in self.labels)

    @property
    def foot_lines(self) -> list[str]:
        return textwrap.wrap(self.foot, max(20, int((self.width - 2 * MARGIN) / FOOT_CHARACTER_WIDTH)))

    @property
    def height(self) -> float:
        return self.top_of(len(self.labels)) + FOOT_LINE * len(self.foot_lines) + MARGIN

    def left_of(self, column: int) -> float:
        return self.label_width + column * CELL_WIDTH

    def top_of(self, row: int) -> float:
        return MARGIN + self.header + sum(self.rows[:row])

    def picture_place(self, column: int) -> tuple[float, float, float, float]:
        """Left, top, width and height of a photograph: whole, in the middle of its column, standing on the matrix."""
        width, height = self._fitted(self.shapes[column])
        left = self.left_of(column) + (CELL_WIDTH - width) / 2
        return left, MARGIN + self.header - PICTURE_GAP - height, width, height

    def _fitted(self, shape: tuple[int, int]) -> tuple[float, float]:
        scale = CELL_WIDTH * 0.94 / max(shape)
        return shape[0] * scale, shape[1] * scale


def wrapped(sentence: str, width: int = LABEL_CHARACTERS) -> str:
    """The sentence on as many lines as it needs, a wide letter counting twice; nothing of it is left out."""
    lines = [""]
    for word in sentence.split():
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) > width:
            lines.append("")
        first, *more = chop_cells(word, width) or [word]
        lines[-1] = f"{lines[-1]} {first}".lstrip()
        lines += more
    return "\n".join(lines) or " "
