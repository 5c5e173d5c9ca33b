"""Pairs as plain rows, whatever they were read from, and the words by which tables call their columns."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipcli.errors import ImageError
from clipcli.photos.formats import IMAGE_SUFFIXES
from clipcli.photos.refusals import file_error

__all__ = [
    "IMAGE_ENDINGS",
    "IMAGE_NAMES",
    "LABEL_NAMES",
    "TEXT_NAMES",
    "Row",
    "Source",
    "Stored",
    "as_text",
    "content_of",
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


@dataclass(frozen=True, slots=True)
class Stored:
    """An encoded picture within a file that is left where it is."""

    path: Path
    offset: int  # bytes
    size: int

    def read(self) -> bytes:
        """Raises ImageError where the file is gone or shorter than it was."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                content = file.read(self.size)
        except OSError as error:
            raise file_error(error) from error
        if len(content) < self.size:
            raise ImageError(f"{self.path} is shorter than it was", reason="truncated")
        return content


def content_of(image: Path | bytes | Stored) -> Path | bytes:
    """What `open_image` takes. Raises ImageError."""
    return image.read() if isinstance(image, Stored) else image


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One picture with what is said of it: captions, or a label (commas separate synonyms)."""

    image: Path | bytes | Stored  # a file, a part of one, or the encoded picture itself
    name: str  # how a person would find it again
    captions: tuple[str, ...] = ()
    label: str | None = None
    further: tuple[Any, ...] = ()  # the values of further columns that were asked for; None where there is none


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
