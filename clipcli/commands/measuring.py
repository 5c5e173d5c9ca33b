"""What the commands of `clip eval` have in common: the data, the models, their features."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.options import Device, Format, Precision, installed_names
from clipcli.errors import DataError, InputError, NotFoundError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.datasets.features import Features
    from clipcli.datasets.measured import Measured
    from clipcli.datasets.rows import Row

_TABLES = ".csv, .tsv, .jsonl or .parquet file (.parquet: extra 'parquet') or WebDataset tars"
LABELLED_DATA_HELP = f"A folder of class folders; a {_TABLES} with labels; or a library file (tags by hand)."
CAPTIONED_DATA_HELP = f"A {_TABLES} with captions."
EITHER_DATA_HELP = f"Class folders, a {_TABLES} with labels or captions, or a library file; give several."
MODELS_HELP = "An installed model, a model folder, a training run or a weights file; give several to compare them."
MODEL_HELP = "An installed model by name, a model folder, a training run or a weights file."
ModelsOption = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="NAME", help=MODELS_HELP, autocompletion=installed_names, show_default=False),
]
OneModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="NAME", help=MODEL_HELP, autocompletion=installed_names, show_default=False),
]
ImageColumnOption = Annotated[
    str | None,
    typer.Option("--image-column", metavar="NAME", help="The column of a table with pictures.", show_default=False),
]
TextColumnOption = Annotated[
    str | None,
    typer.Option("--text-column", metavar="NAME", help="The column of a table with texts.", show_default=False),
]
DarkOption = Annotated[bool, typer.Option("--dark", help="Draw it light on a dark ground.")]
NoCacheOption = Annotated[bool, typer.Option("--no-cache", help="Compute all embeddings anew, and keep none of them.")]


def figures_format(format: Format | None) -> str:
    """The format to write. Raises UsageError for paths, which figures have none of."""
    if format == Format.paths:
        raise UsageError("--format paths is for results that are pictures; figures have none")
    return str(format or Format.table)


def read_rows(data: Path, image_column: str | None, text_column: str | None) -> list[Row]:
    """The rows of a table or a folder; rows that are none, and folders without pictures, are said and left out."""
    from clipcli.datasets.rows import as_text
    from clipcli.datasets.sources import read_source
    from clipcli.render.notes import counted, say

    source = read_source(data, image_column=image_column, text_column=text_column)
    if not source.rows and not library_in(data):
        raise DataError(_why_nothing(data, source.refused))
    for where, reason in source.refused[:3]:
        say(f"left out {where}: {reason}")
    if len(source.refused) > 3:
        say(f"left out {counted(len(source.refused), 'row')} in all")
    if data.is_dir():
        full = {row.label for row in source.rows}
        names = [entry.name for entry in sorted(data.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
        empty = [name for name in names if as_text(name.replace("_", " ")) not in full]
        if empty:
            shown = ", ".join(empty[:3]) + (", …" if len(empty) > 3 else "")
            say(f"left out {counted(len(empty), 'class', 'classes')} without pictures: {shown}")
    return source.rows


def _why_nothing(data: Path, refused: Sequence[tuple[str, str]]) -> str:
    """What is wrong with data of which no row can be used, by the commonest reason."""
    from clipcli.datasets.tar_pairs import is_shards

    if not refused:
        return f"{data} has no rows: below its heading it needs one for each picture, with what is said of it"
    reasons = [reason for _, reason in refused]
    commonest = max(dict.fromkeys(reasons), key=reasons.count)
    share = f"{reasons.count(commonest):,} of {len(refused):,}" if len(set(reasons)) > 1 else f"all {len(refused):,}"
    found = f"{share} rows: {commonest}, as {next(where for where, reason in refused if reason == commonest)}"
    if commonest != "missing file" or is_shards(data):
        return f"{data} has no row that can be used ({found})"
    beside = data.resolve().parent
    return f"{data} names no picture that is there ({found}): a relative name is looked for in {beside}"


def rows_of(data: Path | None, db: Path | None, image_column: str | None, text_column: str | None) -> list[Row]:
    """As `read_rows`; without `data` the pictures of the library that a person has given exactly one tag."""
    if data is not None:
        return read_rows(data, image_column, text_column)
    from clipcli.datasets.tagged import tagged_rows
    from clipcli.library.location import find_library
    from clipcli.library.store import Library
    from clipcli.render.notes import counted, say

    with Library.open(find_library(db)) as library:
        rows, left_out = tagged_rows(library)
    if left_out:
        say(f"left out {counted(left_out, 'picture')} with several tags by hand: which one is meant cannot be told")
    return rows


def library_in(data: Path | None, db: Path | None = None) -> Path | None:
    """The library that is measured on, with --library or as DATA: its vectors need not be computed again."""
    from clipcli.datasets.sources import is_library
    from clipcli.library.location import find_library

    if data is None:
        return find_library(db)
    try:
        return data if is_library(data) else None
    except OSError:
        return None  # reading the data says why


def each_model(
    names: Sequence[str] | None, *, device: Device, precision: Precision, cached: bool, library: Path | None = None
) -> list[Features]:
    """The models named, or the library's own, or the default one; vectors that the library has are taken from it.

    A name may be a training run's folder or a weights file. Raises what opening them does, before anything is measured.
    """
    from clipcli.commands.measured_models import open_measured
    from clipcli.library.store import Library

    asked: list[str | None] = list(dict.fromkeys(names or ())) or [None]
    with nullcontext() if library is None else Library.open(library) as opened:
        models = [open_measured(name, device=device, precision=precision, library=opened) for name in asked]
    return [features_of(model, cached=cached, library=library) for model in models]


def features_of(model: Measured, *, cached: bool, library: Path | None) -> Features:
    """The model with what is known already: in the cache, and in the library that is measured on."""
    from clipcli.datasets.features import Features

    if library is None or not cached:
        return Features(model, cached=cached)
    from clipcli.datasets.tagged import tagged_vectors
    from clipcli.library.store import Library

    with Library.open(library) as opened:
        stored = tagged_vectors(opened, identity=model.identity, precision=model.precision)
    return Features(model, cached=cached, stored=stored)


class Refusals:
    """Pictures that could not be read, said once however many models wanted them."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.considered = 0

    def pictures(
        self, features: Features, pictures: Sequence[Path | bytes], names: Sequence[str], *, change: str | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """(N, D) of the readable ones, and their places. Raises InputError where there are none."""
        from clipcli.render.notes import say
        from clipcli.render.progress import progress_bar

        self.considered = len(pictures)
        with progress_bar("Looking", total=len(pictures), unit="pictures") as bar:
            vectors, places, refused = features.encode_pictures(pictures, bar.advance, change=change)
        for place, reason, detail in refused:
            if names[place] not in self.seen:
                say(f"skipped {names[place]}: {reason} ({detail})")
                self.seen[names[place]] = reason
        if not len(places):
            raise InputError("none of the pictures could be read")
        return vectors, places

    def raise_at_the_end(self) -> None:
        """Raises InputError where a picture could not be read: figures are of the others."""
        if self.seen:
            raise InputError(f"{len(self.seen):,} of {self.considered:,} pictures could not be read")


def texts_of(features: Features, texts: Sequence[str]) -> NDArray[np.float32]:
    """B texts -> (B, D), with a progress bar."""
    with _reading(features, len(texts)):
        return features.encode_texts(texts)


def prototypes_of(features: Features, labels: Sequence[str], templates: Sequence[str]) -> NDArray[np.float32]:
    """C labels -> (C, D), as `class_prototypes`, with a progress bar."""
    from clipcli.bundle.templates import class_prototypes

    with _reading(features, len(labels) * len(templates)):
        return class_prototypes(features, labels, templates)


@contextmanager
def _reading(features: Features, total: int) -> Iterator[None]:
    from clipcli.render.progress import progress_bar

    before = features.told
    with progress_bar("Reading", total=total, unit="texts") as bar:
        features.told = bar.advance
        try:
            yield
        finally:
            features.told = before


def told_model(model: Measured) -> dict[str, object]:
    return {"model": model.name, "precision": model.precision}


def say_how(features: Sequence[Features], considered: int) -> None:
    """A remark for a person: how many pictures, and whether anything had to be computed."""
    from clipcli.render.notes import aside, counted

    computed = sum(one.computed for one in features)
    taken = sum(one.taken for one in features)
    said = [counted(considered, "picture")]
    said += [f"{counted(taken, 'embedding')} taken from the library"] if taken else []
    said += [f"{computed:,} embeddings of pictures and texts computed" if computed else "all embeddings were known"]
    aside("; ".join(said))


def source_path(picture: Path | bytes, name: str) -> bytes:
    """What a picture is called on a sheet: its file, or its name in a table."""
    return os.fsencode(picture if isinstance(picture, Path) else name)


def read_lines(path: Path, kind: str) -> list[str]:
    """The lines of a text file, each once, empty ones left out. Raises NotFoundError, UsageError."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {path}") from None
    except (UnicodeDecodeError, IsADirectoryError, PermissionError) as error:
        raise UsageError(f"{path} is no readable text file in UTF-8") from error
    texts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not texts:
        raise UsageError(f"there is no {kind} in {path}")
    return texts
