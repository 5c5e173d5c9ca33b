"""Pairs from Parquet: columns `image` (bytes, a path, or a struct of both) and `captions` or `label`, or as named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from clipcli.datasets.rows import IMAGE_NAMES, LABEL_NAMES, TEXT_NAMES, Row, Source, as_text, file_beside
from clipcli.errors import DataError, MissingExtraError

__all__ = ["read_parquet"]

_NUMBERS = (": float>", ": double>", ": halffloat>")  # how Arrow writes the end of a list's type


def read_parquet(path: Path, image_column: str | None, text_column: str | None, further: Sequence[str] = ()) -> Source:
    """The rows of a Parquet file; file names are relative to it.

    Raises:
        DataError: it is damaged or no Parquet, or a column is missing.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingExtraError("parquet", "reading Parquet") from None
    try:
        file = pyarrow.parquet.ParquetFile(path)
        schema = file.schema_arrow
        names = schema.names
        image = _column(path, names, image_column, IMAGE_NAMES)
        texts = [_column(path, names, text_column, ())] if text_column else []
        texts = texts or [name for name in TEXT_NAMES if name in names and name not in (image, "name")]
        classes = _class_names(schema.metadata)
        # A number that stands for no name says nothing, where there are words.
        numbers = [
            name for name in texts if name not in classes and str(schema.field(name).type).startswith(("int", "uint"))
        ]
        texts = [name for name in texts if name not in numbers] or texts
        if not texts:
            raise DataError(f"{path} has no column of texts; it has: {', '.join(names)} (name one with --text-column)")
        wanted = list(
            dict.fromkeys(
                [image, *texts, *(["name"] if "name" in names else []), *(one for one in further if one in names)]
            )
        )
        source = Source(path)
        for number, values in enumerate(_records(file, wanted, further)):
            _add(source, number, values, image, texts, classes, further)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    return source


def _column(path: Path, names: Sequence[str], chosen: str | None, known: Sequence[str]) -> str:
    for name in (chosen,) if chosen is not None else known:
        if name in names:
            return name
    wanted = f"column {chosen!r}" if chosen else "column of pictures"
    raise DataError(f"{path} has no {wanted}; it has: {', '.join(names)}")


def _class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """What the numbers of a column stand for, as the Hugging Face datasets library notes it in the file."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        named = {name: feature["names"] for name, feature in features.items() if "names" in feature}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
    return {name: [str(one) for one in names] for name, names in named.items() if isinstance(names, list)}


def _records(file: Any, columns: Sequence[str], further: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Lists of numbers of `further` columns stay arrays: as Python's numbers they take eight times as much."""
    kinds = {name: str(file.schema_arrow.field(name).type) for name in further if name in columns}
    numbers = [name for name, kind in kinds.items() if kind.startswith("list<") and kind.endswith(_NUMBERS)]
    for batch in file.iter_batches(batch_size=256, columns=columns):
        rows = batch.drop_columns(numbers).to_pylist()
        for name in numbers:
            for row, value in zip(rows, batch[name], strict=True):
                row[name] = value.values.to_numpy(zero_copy_only=False) if value.is_valid else None
        yield from rows


def _add(
    source: Source,
    number: int,
    values: Mapping[str, Any],
    image_name: str,
    text_names: Sequence[str],
    classes: Mapping[str, Sequence[str]],
    further: Sequence[str],
) -> None:
    name = str(values.get("name") or f"row {number}")
    where = f"{source.path.name}: {name}"
    image = values[image_name]
    if isinstance(image, dict):  # the struct of the Hugging Face datasets library
        image = image.get("bytes") or image.get("path")
    if isinstance(image, str):
        image = file_beside(source.path, image)
    if not isinstance(image, Path | bytes) or not image:
        source.refused.append((where, "missing file"))
        return
    captions: list[str] = []
    label: str | None = None
    for text_name in text_names:
        value = values[text_name]
        for text in value if isinstance(value, list) else [value]:
            settled = _settled(text, classes.get(text_name, ()))
            if settled and text_name in LABEL_NAMES:
                label = settled
            elif settled:
                captions.append(settled)
    if captions or label:
        given = tuple(map(values.get, further))
        source.rows.append(Row(image=image, name=name, captions=tuple(captions), label=label, further=given))
    else:
        source.refused.append((where, "empty caption"))


def _settled(text: object, classes: Sequence[str]) -> str:
    """A text on one line, empty where there is none; the name of a class for its number."""
    if isinstance(text, int) and classes:
        text = classes[text] if 0 <= text < len(classes) else None  # -1 is how that library says unknown
    return "" if text is None else as_text(text)
