"""Options that mean the same in every command, written down once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How results are written to stdout."""

    table = "table"
    json = "json"
    ndjson = "ndjson"
    csv = "csv"
    tsv = "tsv"
    paths = "paths"


class Device(StrEnum):
    """Where the model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Precision(StrEnum):
    """Which variant of the model's graphs is used."""

    auto = "auto"
    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


def installed_names() -> list[str]:
    """What the tab key offers after -m: the installed models."""
    from clipcli.bundle.installed import list_models

    return [model.name for model in list_models()]


LibraryOption = Annotated[
    Path | None,
    typer.Option(
        "--db",
        metavar="FILE",
        help="The library. Default: CLIP_DB, else the nearest .clip/library.db here or above, else your own.",
        show_default=False,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="An installed model by name, or a model folder.",
        autocompletion=installed_names,
        show_default=False,
    ),
]
DeviceOption = Annotated[
    Device, typer.Option(metavar="auto|cpu|cuda", help="Where the model runs; auto takes a GPU that works.")
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        metavar="auto|fp32|fp16|int8",
        help="Which variant of the model; auto: the fastest that is exact enough. bf16 is for training only: "
        "ONNX Runtime does not compute in it.",
    ),
]
FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="table, json, ndjson, csv, tsv or paths. Default: table; in a pipe without colour and never cut off.",
        show_default=False,
    ),
]
NullOption = Annotated[
    bool,
    typer.Option("-0", "--print0", help="Only the paths, each ended by a NUL byte, as they are on disk: for xargs -0."),
]
