"""Pairs from JSON lines: one object a line, with a picture's file name and a caption, a list of captions or a label."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clipcli.datasets.rows import IMAGE_NAMES, LABEL_NAMES, TEXT_NAMES, Row, Source, as_text, file_beside
from clipcli.errors import DataError

__all__ = ["read_jsonl", "texts_of"]


def read_jsonl(path: Path, image_column: str | None, text_column: str | None, further: Sequence[str] = ()) -> Source:
    """The rows of a file of JSON objects in UTF-8, one a line; file names are relative to it.

    Raises:
        DataError: it is empty, not UTF-8, or no line names a picture and a text.
    """
    source = Source(path)
    keys: dict[str, None] = {}
    understood = 0
    try:
        with path.open(encoding="utf-8-sig") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    understood += _add(
                        source, f"{path.name} line {number}", line, image_column, text_column, keys, further
                    )
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read as JSON lines in UTF-8: {error}") from error
    if not understood:
        if keys:
            raise DataError(
                f"{path}: which columns hold picture and text cannot be told from {', '.join(keys)}; "
                "name them with --image-column and --text-column"
            )
        raise DataError(f"{path} holds no JSON objects, one a line")
    return source


def _add(
    source: Source,
    where: str,
    line: str,
    image_column: str | None,
    text_column: str | None,
    keys: dict[str, None],
    further: Sequence[str],
) -> bool:
    """Take in one line; whether both columns stood in it."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        source.refused.append((where, "no JSON object"))
        return False
    keys.update(dict.fromkeys(values))
    image = next((name for name in ((image_column,) if image_column else IMAGE_NAMES) if name in values), None)
    captions, label, found = texts_of(values, text_column, image)
    if image is None or not found:
        source.refused.append((where, "no picture named" if image is None else "no text named"))
        return False
    name = values[image] if isinstance(values[image], str) else ""
    file = file_beside(source.path, name.strip())
    if file is None:
        source.refused.append((f"{where}: {name}", "missing file"))
    elif not captions and not label:
        source.refused.append((where, "empty caption"))
    else:
        source.rows.append(
            Row(image=file, name=str(file), captions=captions, label=label, further=tuple(map(values.get, further)))
        )
    return True


def texts_of(
    values: Mapping[str, Any], text_column: str | None, image: str | None = None
) -> tuple[tuple[str, ...], str | None, bool]:
    """(captions, label, whether any column of texts is there): all captions that an object has, and its label."""
    names = (text_column,) if text_column else tuple(name for name in TEXT_NAMES if name not in (image, "name"))
    captions: list[str] = []
    label: str | None = None
    present = [name for name in names if name in values]
    for name in present:
        value = values[name]
        for one in value if isinstance(value, list) else [value]:
            text = as_text(one) if isinstance(one, str | int | float) else ""
            if text and name in LABEL_NAMES:
                label = label or text
            elif text:
                captions.append(text)
    return tuple(captions), label, bool(present)
