"""`clip export`: a training run, or a model with its weights, into a model to use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipcli.commands.options import Format, FormatOption
from clipcli.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clipcli.bundle.foreign.importing import Imported
    from clipcli.render.tables import Cell
    from export.exporting import Exported

PRECISIONS = ("fp32", "fp16", "int8")

FIELDS = (
    "precision", "written", "image_min_cosine", "text_min_cosine", "recall10_change", "images", "texts", "problem",
    "path", "path_b64",
)  # fmt: skip


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A training run's folder, or a model by name or folder.", show_default=False
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What the model is called. Default: as the run or model.", show_default=False
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            metavar="fp32|fp16|int8",
            help="A variant to write; give several. The first is the model's default. Default: all, with fp32 first.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Where to write, instead of installing. Default: 'bundle' in the run, unless one is there.",
            show_default=False,
        ),
    ] = None,
    photos: Annotated[
        list[Path] | None,
        typer.Option(
            "--photos",
            metavar="PATH",
            help="Photographs to measure on: a folder, or pairs as for training. Default: the run's own.",
            show_default=False,
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The licence of the weights, for the model's card.", show_default=False),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            "--image-size",
            metavar="PIXELS",
            help="Larger pictures than the model was trained on, which often suits it better: measure both.",
            min=1,
            show_default=False,
        ),
    ] = None,
    install: Annotated[
        bool | None,
        typer.Option(
            "--install/--no-install",
            help="Install the model, ready to use. Default: unless --output is given.",
            show_default=False,
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the model of that name, and one that is where it is written.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only measure the model that is there; write nothing.")
    ] = False,
    format: FormatOption = None,
) -> None:
    """Turn a training run into a model to use.

    Each variant is run on photographs and compared with the towers it was made from; one that is too far off is not
    written, and said why. fp32 is exact; fp16 is half as large and as fast; int8 is a quarter and faster. Needs the
    extra 'train'.

    \b
      clip export runs/birds --name birds
      clip export birds --precision int8 --photos ~/Pictures --replace
      clip export runs/birds --image-size 96 --name birds-96
      clip export birds --check --photos pairs.parquet
    """
    _require_train()
    from clipcli.bundle.installed import find_model
    from clipcli.render.notes import say
    from clipcli.render.progress import progress_bar
    from export.exporting import export_source, measure_bundle

    folder = Path(source) if (Path(source) / "towers.json").is_file() else find_model(source)
    if check:
        if image_size is not None:
            raise UsageError("--check measures the model that is there; --image-size makes another: give one of them")
        bundle = folder / "bundle" if (folder / "towers.json").is_file() else folder
        with progress_bar("measuring each precision"):
            figures = measure_bundle(folder, bundle, photos=photos or (), say=say)
        _finish(_records(figures, bundle), format)
        return
    with progress_bar("exporting, and measuring each precision"):
        exported = export_source(
            folder,
            output=output,
            name=name,
            precisions=precision or PRECISIONS,
            photos=photos or (),
            licence=licence,
            image_size=image_size,
            install=install,
            replace=replace,
            say=say,
        )
    show_exported(exported, format)
    if exported.installed:
        say(f"installed as {exported.spec.name}: clip embed -m {exported.spec.name} FOLDER")
    else:
        say(f"written to {exported.folder}")


def show_exported(exported: Exported | Imported, format: Format | None) -> None:
    """The parity of each variant, written and refused."""
    _finish(_records(exported.figures, exported.folder, exported.refused), format)


def _require_train() -> None:
    """The extra's own imports, looked for and not yet made. Raises MissingExtraError."""
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in ("torch", "onnxscript", "safetensors")):
        raise MissingExtraError("train", "clip export")


def _records(
    figures: Mapping[str, Mapping[str, float]], folder: Path, refused: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """A record per precision, refused ones after those written."""
    written = [{"precision": precision, "written": True, **measured} for precision, measured in figures.items()]
    poor = [{"precision": name, "written": False, "problem": why} for name, why in (refused or {}).items()]
    return [{**record, "path": os.fsencode(folder)} for record in written + poor]


def _finish(records: list[dict[str, Any]], format: Format | None) -> None:
    from clipcli.render.records import write_records
    from clipcli.render.tables import Column, write_table

    if format not in (None, Format.table):
        write_records(records, format=format, fields=FIELDS)
        return
    columns = [
        Column(title="variant"),
        Column(title="image cosine", right=True),
        Column(title="text cosine", right=True),
    ]
    columns += [Column(title="R@10 points", right=True), Column(title="photos", right=True), Column(title="")]
    rows = [_row(record) for record in records]
    filled = [number for number in range(len(columns)) if any(row[number] for row in rows)]
    write_table([columns[number] for number in filled], [[row[number] for number in filled] for row in rows])


def _row(record: Mapping[str, Any]) -> Sequence[Cell]:
    def figure(name: str, form: str) -> str:
        return format(record[name], form) if name in record else ""

    cosines = [figure("image_min_cosine", ".6f"), figure("text_min_cosine", ".6f")]
    note = "" if record["written"] else "refused"
    return [record["precision"], *cosines, figure("recall10_change", "z.2f"), figure("images", ".0f"), note]
