"""Pairs of pictures and texts from CSV, TSV, Parquet and folders of class folders, as plain rows.

Nothing is decoded here. Rows that cannot be pairs (no such file, no text) are set aside with the reason.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipcli.errors import DataError, NotFoundError

__all__ = ["Row", "Source", "read_source"]

IMAGE_NAMES = (
    "image",
    "filepath",
    "file_path",
    "path",
    "file",
    "filename",
    "file_name",
    "image_path",
    "img",
    "picture",
    "photo",
)
TEXT_NAMES = (
    "caption",
    "captions",
    "text",
    "title",
    "description",
    "sentence",
    "alt",
    "prompt",
    "label",
    "class",
    "name",
)
IMAGE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2"}
    | {".ppm", ".pgm", ".mpo", ".tga", ".qoi", ".ico"}
)
CSV_ENDINGS = frozenset({".csv", ".tsv", ".txt"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One picture with what is said of it: captions, or a label (commas separate synonyms)."""

    image: Path | bytes  # a file, or the encoded picture itself
    name: str  # how a person would find it again
    captions: tuple[str, ...] = ()
    label: str | None = None


@dataclass(slots=True)
class Source:
    """The rows of one file or folder, and what was set aside: (where, reason)."""

    path: Path
    rows: list[Row] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


def read_source(path: Path, *, image_column: str | None = None, text_column: str | None = None) -> Source:
    """Read whatever `path` is.

    Raises:
        NotFoundError: there is nothing at `path`.
        DataError: it is none of the known kinds, or its columns cannot be told.
    """
    if not path.exists():
        raise NotFoundError(f"no such file or folder: {path}")
    try:
        if path.is_dir():
            return _class_folders(path)
        if path.suffix.lower() == ".parquet":
            return _parquet(path, image_column, text_column)
        if path.suffix.lower() in CSV_ENDINGS:
            return _csv(path, image_column, text_column)
    except PermissionError as error:
        raise DataError(f"{path} may not be read: {error.strerror}") from error
    raise DataError(
        f"{path.name} is no kind of pairs this reads: a .csv, .tsv or .parquet file, or a folder of class folders"
    )


def _class_folders(folder: Path) -> Source:
    """The name of each folder is the label of the pictures in it; underscores are spaces."""
    source = Source(folder)
    for directory in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        label = directory.name.replace("_", " ").strip()
        for file in sorted(directory.rglob("*")):
            if file.suffix.lower() in IMAGE_ENDINGS and file.is_file():
                source.rows.append(Row(image=file, name=str(file), label=label))
    if not source.rows:
        raise DataError(f"{folder} holds no folders with pictures in them; expected FOLDER/LABEL/picture.jpg")
    return source


def _csv(path: Path, image_column: str | None, text_column: str | None) -> Source:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            lines = list(csv.reader(handle, delimiter=_delimiter(path)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table in UTF-8: {error}") from error
    table = [(number, cells) for number, cells in enumerate(lines, 1) if any(cell.strip() for cell in cells)]
    if not table:
        raise DataError(f"{path} is empty")
    image_at, text_at, header = _columns([cells for _, cells in table], path, image_column, text_column)
    is_label = header is not None and header[text_at].strip().lower() in ("label", "class")
    source = Source(path)
    for number, cells in table[0 if header is None else 1 :]:
        where = f"{path.name} line {number}"
        if len(cells) <= max(image_at, text_at):
            source.refused.append((where, "too few columns"))
            continue
        file, text = Path(cells[image_at].strip()), " ".join(cells[text_at].split())
        file = file if file.is_absolute() else path.parent / file
        if not cells[image_at].strip() or not file.is_file():
            source.refused.append((f"{where}: {cells[image_at]}", "missing file"))
        elif not text:
            source.refused.append((where, "empty caption"))
        elif is_label:
            source.rows.append(Row(image=file, name=str(file), label=text))
        else:
            source.rows.append(Row(image=file, name=str(file), captions=(text,)))
    return source


def _delimiter(path: Path) -> str:
    """Whichever of tab, semicolon, comma and bar splits the first lines most evenly."""
    with path.open(encoding="utf-8-sig", newline="") as handle:
        lines = [line for _, line in zip(range(20), handle, strict=False) if line.strip()]

    def evenness(delimiter: str) -> tuple[int, int]:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        commonest = max(set(widths), key=widths.count) if widths else 1
        return (widths.count(commonest) if commonest > 1 else 0, -abs(commonest - 2))

    return max("\t;,|", key=evenness) if lines else ","


def _columns(
    table: Sequence[Sequence[str]], path: Path, image_column: str | None, text_column: str | None
) -> tuple[int, int, Sequence[str] | None]:
    """Places of picture and text, and the heading where there is one."""
    heading = [cell.strip().lower() for cell in table[0]]
    chosen = (image_column, text_column)
    for name in chosen:
        if name is not None and name.strip().lower() not in heading:
            raise DataError(f"{path} has no column {name!r}; its first line is: {', '.join(table[0])}")
    image_at = _place(heading, image_column, IMAGE_NAMES)
    text_at = _place(heading, text_column, TEXT_NAMES)
    if image_at is not None and text_at is not None and image_at != text_at:
        return image_at, text_at, table[0]
    # No heading that says so: the column whose cells end like picture files, and the longest of the others.
    body = table[:50] if len(table) == 1 else table[1:51]
    width = min(len(row) for row in body)
    pictures = [sum(Path(row[at].strip()).suffix.lower() in IMAGE_ENDINGS for row in body) for at in range(width)]
    if width < 2 or max(pictures) < len(body) / 2:
        raise DataError(
            f"{path}: which columns hold picture and text cannot be told from {', '.join(table[0])!r}; "
            "name them with --image-column and --text-column"
        )
    image_at = image_at if image_at is not None else pictures.index(max(pictures))
    lengths = [-1 if at == image_at else sum(len(row[at]) for row in body) for at in range(width)]
    text_at = text_at if text_at is not None else lengths.index(max(lengths))
    has_heading = Path(table[0][image_at].strip()).suffix.lower() not in IMAGE_ENDINGS
    return image_at, text_at, table[0] if has_heading else None


def _place(heading: Sequence[str], chosen: str | None, known: Sequence[str]) -> int | None:
    if chosen is not None:
        return heading.index(chosen.strip().lower())
    return next((heading.index(name) for name in known if name in heading), None)


def _parquet(path: Path, image_column: str | None, text_column: str | None) -> Source:
    """Columns `image` (bytes, a path, or a struct of both) and `captions` or `label`, or as named."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
        image = _parquet_column(path, names, image_column, IMAGE_NAMES)
        texts = [_parquet_column(path, names, text_column, ())] if text_column else []
        texts = texts or [name for name in TEXT_NAMES if name in names and name not in (image, "name")]
        if not texts:
            raise DataError(f"{path} has no column of texts; it has: {', '.join(names)} (name one with --text-column)")
        wanted = list(dict.fromkeys([image, *texts, *(["name"] if "name" in names else [])]))
        source = Source(path)
        for number, values in enumerate(_records(file, wanted)):
            _add_record(source, path, number, values, image, texts)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    return source


def _parquet_column(path: Path, names: Sequence[str], chosen: str | None, known: Sequence[str]) -> str:
    for name in (chosen,) if chosen is not None else known:
        if name in names:
            return name
    wanted = f"column {chosen!r}" if chosen else "column of pictures"
    raise DataError(f"{path} has no {wanted}; it has: {', '.join(names)}")


def _records(file: Any, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(batch_size=256, columns=columns):
        yield from batch.to_pylist()


def _add_record(
    source: Source, path: Path, number: int, values: dict[str, Any], image_name: str, text_names: Sequence[str]
) -> None:
    name = str(values.get("name") or f"row {number}")
    where = f"{path.name}: {name}"
    image = values[image_name]
    if isinstance(image, dict):  # the struct of the Hugging Face datasets library
        image = image.get("bytes") or image.get("path")
    if isinstance(image, str):
        image = Path(image) if Path(image).is_absolute() else path.parent / image
    if not isinstance(image, Path | bytes) or not image or (isinstance(image, Path) and not image.is_file()):
        source.refused.append((where, "missing file"))
        return
    captions: list[str] = []
    label: str | None = None
    for text_name in text_names:
        value = values[text_name]
        for text in value if isinstance(value, list) else [value]:
            settled = " ".join(str(text).split()) if text is not None else ""
            if settled and text_name in ("label", "class"):
                label = settled
            elif settled:
                captions.append(settled)
    if captions or label:
        source.rows.append(Row(image=image, name=name, captions=tuple(captions), label=label))
    else:
        source.refused.append((where, "empty caption"))
