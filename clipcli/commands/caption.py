"""`clip caption`: what a run that has learnt to write says of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipcli.commands.options import FormatOption
from clipcli.errors import InputError, MissingExtraError

FIELDS = ("caption", "path", "path_b64")


def caption(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="The folder of a run of --objective caption.", show_default=False),
    ],
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Pictures, or folders of pictures.", show_default=False),
    ],
    format: FormatOption = None,
) -> None:
    """Write a sentence for each picture.

    By a run of 'clip train --scratch --objective caption', word by word, always the likeliest next one. It writes as it
    was taught: with a few thousand pairs that is hardly more than what is often seen. Needs the extra 'train'.

    \b
      clip train pairs.csv --scratch --objective caption
      clip caption runs/pairs IMG_0042.jpg
    """
    from importlib.util import find_spec

    from clipcli.render.records import choose_format

    written = choose_format(format, print0=False)
    if any(find_spec(module) is None for module in ("torch", "safetensors")):
        raise MissingExtraError("train", "clip caption")
    from clipcli.bundle.spec import preprocess_from_dict
    from clipcli.commands.pictures import Skipped, decode_pictures, picture_paths
    from clipcli.render.notes import counted
    from trainer.checkpoints import read_facts
    from trainer.predicting import CaptionWriter

    writer = CaptionWriter(run)
    skipped = Skipped()
    paths = picture_paths(images, skipped)
    if not paths and not skipped.files:
        raise InputError("there are no pictures in what was given")
    preprocess = preprocess_from_dict(read_facts(run)["preprocess"])
    found: list[tuple[bytes, str]] = []
    for kept, pixels in decode_pictures(preprocess, paths, skipped):
        found += zip(kept, writer(pixels), strict=True)
    _show(found, written)
    if skipped.files:
        considered = counted(len(found) + len(skipped.files), "picture")
        raise InputError(f"{len(skipped.files):,} of {considered} could not be read")


def _show(found: list[tuple[bytes, str]], written: str) -> None:
    if written == "table":
        from clipcli.render.tables import Column, PathCell, write_table

        columns = [Column(title="caption", wide=True), Column(title="picture", wide=True)]
        if found:
            write_table(columns, [[text, PathCell(path=path)] for path, text in found])
        return
    from clipcli.render.records import write_records
    from clipcli.render.text import path_fields

    write_records(({"caption": text, **path_fields(path)} for path, text in found), format=written, fields=FIELDS)
