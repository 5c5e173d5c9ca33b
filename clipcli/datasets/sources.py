"""Pairs of pictures and texts from tables, JSON lines, Parquet, tar shards, class folders and libraries, as plain rows.

Nothing is decoded here. Rows that cannot be pairs (no such file, no text) are set aside with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clipcli.datasets.csv_pairs import read_csv
from clipcli.datasets.jsonl_pairs import read_jsonl
from clipcli.datasets.parquet_pairs import read_parquet
from clipcli.datasets.rows import IMAGE_ENDINGS, Row, Source, as_text, is_picture_name
from clipcli.datasets.tar_pairs import is_shards, read_shards
from clipcli.errors import DataError, NotFoundError

__all__ = ["IMAGE_ENDINGS", "Row", "Source", "is_library", "read_source"]

CSV_ENDINGS = frozenset({".csv", ".tsv", ".txt"})
SQLITE = b"SQLite format 3\0"
JSON_ENDINGS = frozenset({".jsonl", ".ndjson"})
PARTS_OF_DATA = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})


def read_source(
    path: Path, *, image_column: str | None = None, text_column: str | None = None, further: Sequence[str] = ()
) -> Source:
    """Read whatever `path` is. `further` names columns whose values rows are to have beside picture and text.

    Raises:
        NotFoundError: there is nothing at `path`.
        DataError: it is none of the known kinds, or its columns cannot be told.
    """
    if is_shards(path) and not path.is_dir():
        return read_shards(path, text_column, further)
    if not path.exists():
        raise NotFoundError(f"no such file or folder: {path}")
    try:
        if path.is_dir():
            return _class_folders(path)
        if path.suffix.lower() == ".parquet":
            return read_parquet(path, image_column, text_column, further)
        if path.suffix.lower() in CSV_ENDINGS:
            return read_csv(path, image_column, text_column, further)
        if path.suffix.lower() in JSON_ENDINGS:
            return read_jsonl(path, image_column, text_column, further)
        if is_library(path):
            return _tagged(path)
    except PermissionError as error:
        raise DataError(f"{path} may not be read: {error.strerror}") from error
    raise DataError(
        f"{path.name} is no kind of pairs this reads: a .csv, .tsv, .jsonl, .parquet or .tar file, "
        "or a folder of class folders"
    )


def is_library(path: Path) -> bool:
    """Whether `path` is an SQLite file, by its content. Raises OSError where it cannot be read."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def _tagged(path: Path) -> Source:
    """The pictures of a library that a person gave one tag, which is their label."""
    from clipcli.datasets.tagged import tagged_rows
    from clipcli.library.store import Library

    with Library.open(path) as library:
        rows, several = tagged_rows(library)
    refused = [(path.name, "several tags by hand")] * several
    return Source(path, rows=rows, refused=refused)


def _class_folders(folder: Path) -> Source:
    """The name of each folder is the label of the pictures in it; underscores are spaces."""
    source = Source(folder)
    directories = [entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    names = [directory.name.lower() for directory in directories]
    if names and PARTS_OF_DATA.issuperset(names):
        one = min(directories, key=lambda directory: not directory.name.lower().startswith("train"))
        raise DataError(
            f"{folder} holds {' and '.join(sorted(names))}, which are no labels; "
            f"name the folder of class folders, as {folder / one.name}; 'clip train' takes another with --validation"
        )
    for directory in sorted(directories):
        label = as_text(directory.name.replace("_", " "))
        for file in sorted(directory.rglob("*")):
            if is_picture_name(file.name) and not file.name.startswith(".") and file.is_file():
                source.rows.append(Row(image=file, name=str(file), label=label))
    if not source.rows:
        raise DataError(f"{folder} holds no folders with pictures in them; expected FOLDER/LABEL/picture.jpg")
    return source
