"""What the commands of `clip eval` have in common: the data, the models, their features."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.options import Device, Format, Precision, installed_names
from clipcli.errors import InputError, NotFoundError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from clipcli.bundle.encoder import Model
    from clipcli.datasets.features import Features
    from clipcli.datasets.rows import Row

MODELS_HELP = "An installed model by name, or a model folder; give several to compare them."
ModelsOption = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="NAME", help=MODELS_HELP, autocompletion=installed_names, show_default=False),
]
ImageColumnOption = Annotated[
    str | None,
    typer.Option("--image-column", metavar="NAME", help="The column of a table with pictures.", show_default=False),
]
TextColumnOption = Annotated[
    str | None,
    typer.Option("--text-column", metavar="NAME", help="The column of a table with texts.", show_default=False),
]
NoCacheOption = Annotated[bool, typer.Option("--no-cache", help="Compute all embeddings anew, and keep none of them.")]


def figures_format(format: Format | None) -> str:
    """The format to write. Raises UsageError for paths, which figures have none of."""
    if format == Format.paths:
        raise UsageError("--format paths is for results that are pictures; figures have none")
    return str(format or Format.table)


def read_rows(data: Path, image_column: str | None, text_column: str | None) -> list[Row]:
    """The rows of a table or a folder; rows that are none are said, and left out."""
    from clipcli.datasets.sources import read_source
    from clipcli.render.notes import counted, say

    source = read_source(data, image_column=image_column, text_column=text_column)
    for where, reason in source.refused[:3]:
        say(f"left out {where}: {reason}")
    if len(source.refused) > 3:
        say(f"left out {counted(len(source.refused), 'row')} in all")
    return source.rows


def library_rows(db: Path | None) -> list[Row]:
    """The pictures of the library that a person has given exactly one tag."""
    from clipcli.commands.opening import open_library
    from clipcli.datasets.examples import tagged_rows
    from clipcli.render.notes import counted, say

    with open_library(db) as library:
        rows, left_out = tagged_rows(library)
    if left_out:
        say(f"left out {counted(left_out, 'picture')} with several tags by hand: which one is meant cannot be told")
    return rows


def each_model(names: Sequence[str] | None, *, device: Device, precision: Precision, cached: bool) -> list[Features]:
    """The models named, or the default one. Raises what opening them does, before anything is measured."""
    from clipcli.commands.opening import open_model
    from clipcli.datasets.features import Features

    opened = [open_model(name, device=device, precision=precision) for name in dict.fromkeys(names or ())]
    opened = opened or [open_model(None, device=device, precision=precision)]
    return [Features(model, cached=cached) for model in opened]


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


def told_model(model: Model) -> dict[str, object]:
    return {"model": model.name, "precision": model.precision}


def say_how(features: Sequence[Features], considered: int) -> None:
    """A remark for a person: how many pictures, and whether anything had to be computed."""
    from clipcli.render.notes import aside, counted

    computed = sum(one.computed for one in features)
    aside(
        f"{counted(considered, 'picture')}; "
        + (f"{computed:,} embeddings of pictures and texts computed" if computed else "all embeddings were known")
    )


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
