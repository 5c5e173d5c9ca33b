"""`clip models`: the models on this machine, listed, shown, verified, removed, and one of them chosen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipcli.commands.models_convert import convert
from clipcli.commands.models_import import import_
from clipcli.commands.models_library import say_if_library_differs, say_who_depends
from clipcli.commands.models_pull import pull
from clipcli.commands.models_show import NameArgument, cells_of, show, size
from clipcli.commands.options import Device, DeviceOption, Format, FormatOption
from clipcli.errors import ClipError, ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from clipcli.bundle.installed import Installed
    from clipcli.render.tables import Cell

app = typer.Typer(
    help="List, fetch, import, show, verify and remove (rm) models.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

LIST_FIELDS = (
    "name", "default", "shipped", "architecture", "image_size", "embedding_dim", "precisions", "default_precision",
    "licence", "bytes", "identity", "path", "path_b64", "problem",
)  # fmt: skip
KNOWN_FIELDS = (
    "name", "installed", "repository", "comes_as", "architecture", "image_size", "parameters_millions", "bytes",
    "licence", "licence_from", "zero_shot_imagenet", "zero_shot_from",
)  # fmt: skip
VERIFY_FIELDS = ("model", "check", "passed", "cosine", "floor", "detail", "path", "path_b64")


@app.command("list")
def list_(
    known: Annotated[bool, typer.Option("--known", help="Only those that 'clip models pull' knows by name.")] = False,
    format: FormatOption = None,
) -> None:
    """List installed models, the one that comes with clip, and those to be had by name.

    The one marked with a star is used where no other is named. With a format, records are of what is installed, or
    with --known of the catalogue, whose figures are published ones (zero_shot_from says where).
    """
    from clipcli.bundle.installed import list_models
    from clipcli.render.notes import say
    from clipcli.render.records import write_records

    models = list_models()
    if format not in (None, Format.table):
        if known:
            write_records(_catalogue(models), format=format, fields=KNOWN_FIELDS)
        else:
            write_records(cells_of(format, [_listed(model) for model in models]), format=format, fields=LIST_FIELDS)
        return
    if not known:
        _write_installed(models)
    _write_catalogue([record for record in _catalogue(models) if known or not record["installed"]], heading=not known)
    for model in models:
        if model.problem:
            say(f"{model.name} is damaged: {model.problem}")


def _write_installed(models: Sequence[Installed]) -> None:
    from clipcli.render.notes import say
    from clipcli.render.tables import Column, write_table

    if not models:
        say("no models are installed")
        return
    columns = [Column(title=""), Column(title="model"), Column(title="architecture", wide=True)]
    columns += [Column(title="precisions"), Column(title="size", right=True), Column(title="licence", wide=True)]
    rows: list[list[Cell]] = [["*" if model.default else "", model.name, *_cells(model)] for model in models]
    write_table(columns, rows)


def _write_catalogue(records: Sequence[Mapping[str, Any]], *, heading: bool) -> None:
    """The models to be had; those that need an extra that is not installed under a heading of their own."""
    from clipcli.commands.bringing import has_train
    from clipcli.render.tables import write_heading

    trains = has_train()
    lacking = [record for record in records if record["comes_as"] == "weights" and not trains]
    ready = [record for record in records if record not in lacking]
    if heading and ready:
        write_heading("to be had: clip models pull NAME")
    _write_known(ready)
    if lacking:
        write_heading("to be had as weights, which needs the extra 'train'")
        _write_known(lacking)


def _write_known(records: Sequence[Mapping[str, Any]]) -> None:
    from clipcli.render.tables import Column, write_table

    columns = [Column(title="model"), Column(title="architecture", wide=True), Column(title="about", right=True)]
    columns += [Column(title="licence"), Column(title="ImageNet", right=True)]
    rows: list[list[Cell]] = [
        [
            record["name"],
            record["architecture"],
            size(record["bytes"]),
            record["licence"] or "see its card",
            f"{record['zero_shot_imagenet']:g} %" if record["zero_shot_imagenet"] else "",
        ]
        for record in records
    ]
    if rows:
        write_table(columns, rows)


def _catalogue(models: Sequence[Installed]) -> list[dict[str, Any]]:
    from clipcli.bundle.hub.catalogue import known_models

    installed = {model.spec.provenance.get("repository") for model in models if model.spec is not None}
    return [
        {
            "name": known.name,
            "installed": known.repository in installed,
            "repository": known.repository,
            "comes_as": known.comes_as,
            "architecture": known.architecture,
            "image_size": known.image_size,
            "parameters_millions": known.parameters_millions,
            "bytes": known.size_bytes,
            "licence": known.licence,
            "licence_from": known.licence_from,
            "zero_shot_imagenet": known.zero_shot_imagenet,
            "zero_shot_from": known.zero_shot_from,
        }
        for known in known_models()
    ]


app.command()(pull)
app.command("import")(import_)
app.command()(convert)
app.command()(show)


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Models by name, or model folders.", show_default=False),
    ] = None,
    device: DeviceOption = Device.auto,
    format: FormatOption = None,
) -> None:
    """Check that models are whole, and that they compute the same here as where they were made.

    Every file is hashed, and every variant is run on the inputs the model brings along and compared with the vectors
    it brings along. Without names: every installed model. Failures stand last in the table. Exit code 8 where
    anything has failed.
    """
    from clipcli.bundle.installed import find_model, list_models
    from clipcli.bundle.verify import verify as check_model
    from clipcli.render.records import write_records
    from clipcli.render.tables import Column, write_table

    chosen = [(name, find_model(name)) for name in names or ()] or [(one.name, one.folder) for one in list_models()]
    records: list[dict[str, Any]] = []
    for label, folder in chosen:
        try:
            checks = check_model(folder, device=device)
        except ModelError as error:
            records.append(_checked(label, folder, what="model.json", passed=False, detail=str(error)))
            continue
        for check in checks:
            figures = {"cosine": check.cosine, "floor": check.floor}
            records.append(
                _checked(label, folder, what=check.what, passed=check.passed, detail=check.detail, **figures)
            )
    if format in (None, Format.table):
        columns = [Column(title="model"), Column(title="what"), Column(title=""), Column(title="detail", wide=True)]
        rows: list[list[Cell]] = [
            [record["model"], record["check"], "ok" if record["passed"] else "FAILED", record["detail"]]
            for record in records
        ]
        if rows:
            write_table(columns, sorted(rows, key=lambda row: row[2] == "FAILED"))  # where the eye is when it ends
    else:
        write_records(records, format=format, fields=VERIFY_FIELDS)
    failed = [record for record in records if not record["passed"]]
    if failed:
        raise ModelError(
            f"{len(failed)} of {len(records)} checks failed, first {failed[0]['model']}: {failed[0]['check']}"
        )


@app.command()
def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Installed models.", show_default=False)],
) -> None:
    """Remove installed models.

    Vectors a library has by a removed model stay, but need it again to be searched by words.
    """
    from clipcli.bundle.installed import default_name, find_model, remove
    from clipcli.bundle.spec import read_spec
    from clipcli.render.notes import say

    for name in names:
        try:
            identity = read_spec(find_model(name)).identity
        except ClipError:  # a damaged model can be removed as well, and `remove` knows what to say of a missing one
            identity = ""
        was_default = default_name() == name
        freed = remove(name)
        say(f"removed {name} ({size(freed)})")
        if was_default:
            say(f"the default model is {_default_now()} now")
        if identity:
            say_who_depends(identity)


@app.command()
def default(
    name: NameArgument = None,
    reset: Annotated[bool, typer.Option("--reset", help="Go back to the model that comes with clip.")] = False,
) -> None:
    """Choose the model that is used where none is named, or say which one it is.

    A library that has embeddings already goes on with the model they are of.
    """
    from clipcli.bundle.installed import find_model, set_default
    from clipcli.bundle.spec import read_spec
    from clipcli.render.notes import write_text

    if reset and name is not None:
        raise UsageError("give either a name or --reset")
    if reset or name is not None:
        set_default(name)
    chosen = read_spec(find_model(None))
    write_text(f"{chosen.name}\n")
    if reset or name is not None:
        say_if_library_differs(chosen)


def _listed(model: Installed) -> dict[str, Any]:
    spec = model.spec
    return {
        "name": model.name,
        "default": model.default,
        "shipped": model.shipped,
        "architecture": spec and spec.architecture,
        "image_size": spec and spec.preprocess.image_size,
        "embedding_dim": spec and spec.embedding_dim,
        "precisions": spec and [variant.precision for variant in spec.variants],
        "default_precision": spec and spec.default_precision,
        "licence": spec and spec.licence,
        "bytes": model.size_bytes,
        "identity": spec and spec.identity,
        "path": os.fsencode(model.folder),
        "problem": model.problem or None,
    }


def _cells(model: Installed) -> list[Cell]:
    if model.spec is None:
        return ["damaged", "", "", ""]
    precisions = " ".join(variant.precision for variant in model.spec.variants)
    return [model.spec.architecture, precisions, size(model.size_bytes), model.spec.licence]


def _checked(
    model: str, folder: Path, *, what: str, passed: bool, detail: str, **figures: float | None
) -> dict[str, Any]:
    return {"model": model, "check": what, "passed": passed, "detail": detail, **figures, "path": os.fsencode(folder)}


def _default_now() -> str:
    from clipcli.bundle.installed import find_model
    from clipcli.bundle.spec import read_spec

    try:
        return f"{read_spec(find_model(None)).name}, which comes with clip,"
    except ClipError:
        return "none"
