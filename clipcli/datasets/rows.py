"""Pairs as plain rows, whatever they were read from, and the words by which tables call their columns."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from clipcli.photos.formats import IMAGE_SUFFIXES

__all__ = [
    "IMAGE_ENDINGS",
    "IMAGE_NAMES",
    "LABEL_NAMES",
    "TEXT_NAMES",
    "Row",
    "Source",
    "as_text",
    "file_beside",
    "is_picture_name",
]

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
LABEL_NAMES = ("label", "class")  # columns of short names that templates turn into sentences
IMAGE_ENDINGS = frozenset(os.fsdecode(ending) for ending in IMAGE_SUFFIXES)


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


def as_text(value: object) -> str:
    """What is said, on one line and without what is no character (half of a file name's bytes)."""
    return " ".join(str(value).encode("utf-8", "replace").decode("utf-8").split())


def file_beside(table: Path, name: str) -> Path | None:
    """The file that a table at `table` calls `name`; None where there is no such file."""
    file = table.parent / name  # an absolute name stays what it is
    return file if name and os.path.isfile(file) else None  # which never raises, whatever the name


def is_picture_name(name: str) -> bool:
    return Path(name.strip()).suffix.lower() in IMAGE_ENDINGS
