"""Pairs from CSV and its relatives: delimiter, heading and columns are found out."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clipcli.datasets.rows import (
    IMAGE_NAMES,
    LABEL_NAMES,
    TEXT_NAMES,
    Row,
    Source,
    as_text,
    file_beside,
    is_picture_name,
)
from clipcli.errors import DataError

__all__ = ["read_csv"]

DELIMITERS = ",\t;|"  # of equally good ones the first


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Where in a row things stand."""

    image: int
    text: int
    width: int  # cells a row has
    heading: bool  # whether the first row names the columns
    is_label: bool = False  # whether the texts are labels
    further: tuple[int | None, ...] = ()


def read_csv(path: Path, image_column: str | None, text_column: str | None, further: Sequence[str] = ()) -> Source:
    """The rows of a table in UTF-8; file names are relative to it.

    Raises:
        DataError: it is empty or no such table, or its columns cannot be told.
    """
    try:
        delimiter = _delimiter(path)
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, delimiter=delimiter)
            lines = [(reader.line_num, cells) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table in UTF-8: {error}") from error
    table = [(number, cells) for number, cells in lines if any(cell.strip() for cell in cells)]
    if not table:
        raise DataError(f"{path} is empty")
    layout = _layout([cells for _, cells in table], path, image_column, text_column)
    if layout.heading:
        heading = [cell.strip().lower() for cell in table[0][1]]
        places = (heading.index(name.lower()) if name.lower() in heading else None for name in further)
        layout = replace(layout, further=tuple(places))
    source = Source(path)
    for number, cells in table[1 if layout.heading else 0 :]:
        _add(source, f"{path.name} line {number}", cells, layout, delimiter)
    return source


def _add(source: Source, where: str, cells: list[str], layout: Layout, delimiter: str) -> None:
    if len(cells) <= max(layout.image, layout.text):
        source.refused.append((where, "too few columns"))
        return
    text = cells[layout.text]
    if any(cell.strip() for cell in cells[layout.width :]):
        if layout.text != layout.width - 1:
            source.refused.append((where, "too many columns"))
            return
        text = delimiter.join(cells[layout.text :])  # a caption with commas that nobody put in quotes
    text = as_text(text)
    file = file_beside(source.path, cells[layout.image].strip())
    if file is None:
        source.refused.append((f"{where}: {cells[layout.image]}", "missing file"))
    elif not text:
        source.refused.append((where, "empty caption"))
    else:
        values = tuple(cells[at] if at is not None and at < len(cells) else None for at in layout.further)
        label, captions = (text, ()) if layout.is_label else (None, (text,))
        source.rows.append(Row(image=file, name=str(file), captions=captions, label=label, further=values))


def _delimiter(path: Path) -> str:
    """Whichever makes of the first lines a table with pictures in it."""
    with path.open(encoding="utf-8-sig", newline="") as handle:
        lines = [line for _, line in zip(range(20), handle, strict=False) if line.strip()]

    def fitness(delimiter: str) -> tuple[int, int, int, int]:
        table = list(csv.reader(lines, delimiter=delimiter))
        width = _commonest_width(table)
        if width < 2:
            return (0, 0, 0, 0)
        there = sum(any(file_beside(path, cell.strip()) for cell in row) for row in table)
        named = sum(any(is_picture_name(cell) for cell in row) for row in table)
        return (there, named, sum(len(row) == width for row in table), -abs(width - 2))

    return max(DELIMITERS, key=fitness) if lines else DELIMITERS[0]


def _layout(table: Sequence[Sequence[str]], path: Path, image_column: str | None, text_column: str | None) -> Layout:
    """By the heading, where it says which columns hold pictures and texts; else by what the columns hold."""
    heading = [cell.strip().lower() for cell in table[0]]
    for name in (image_column, text_column):
        if name is not None and name.strip().lower() not in heading:
            raise DataError(f"{path} has no column {name!r}; its first line is: {', '.join(table[0])}")
    text = None if text_column is None else _place(heading, text_column, ())
    image = _place(heading, image_column, IMAGE_NAMES, taken=text)
    if text is None:
        text = _place(heading, None, TEXT_NAMES, taken=image)
    if image is not None and image == text:
        raise DataError(f"{path}: the column {image_column!r} cannot hold both picture and text")
    if image is None or text is None:
        image, text = _guess(table, path, image, text)
    named = image < len(heading) and not is_picture_name(heading[image])
    return Layout(
        image=image,
        text=text,
        width=len(heading) if named else _commonest_width(table),
        heading=named or image >= len(heading),
        is_label=named and text < len(heading) and heading[text] in LABEL_NAMES,
    )


def _guess(table: Sequence[Sequence[str]], path: Path, image: int | None, text: int | None) -> tuple[int, int]:
    """The column whose cells end like picture files, and the one with most to say of the others."""
    body = table[:50] if len(table) == 1 else table[1:51]
    width = _commonest_width(body)
    body = [row for row in body if len(row) >= width]
    free = [at for at in range(width) if at not in (image, text)]
    if image is None and free:
        pictures = [sum(is_picture_name(row[at]) for row in body) for at in free]
        if max(pictures) * 2 >= len(body):
            image = free.pop(pictures.index(max(pictures)))
    if text is None and free:
        lengths = [sum(len(row[at]) for row in body) for at in free]
        text = free[lengths.index(max(lengths))]
    if image is None or text is None:
        raise DataError(
            f"{path}: which columns hold picture and text cannot be told from {', '.join(table[0])!r}; "
            "name them with --image-column and --text-column"
        )
    return image, text


def _place(heading: Sequence[str], chosen: str | None, known: Sequence[str], taken: int | None = None) -> int | None:
    if chosen is not None:
        return heading.index(chosen.strip().lower())
    return next((heading.index(name) for name in known if name in heading and heading.index(name) != taken), None)


def _commonest_width(table: Sequence[Sequence[str]]) -> int:
    widths = [len(row) for row in table]
    return max(set(widths), key=widths.count)
