"""`clip matrix`: pictures against sentences, as a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.options import Device, DeviceOption, ModelOption, Precision, PrecisionOption
from clipcli.errors import ImageError, InputError, UsageError

if TYPE_CHECKING:
    from clipcli.bundle.encoder import Model
    from clipcli.commands.pictures import Skipped


def matrix(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE", help="Pictures, or folders of pictures, for the columns.", show_default=False),
    ],
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text", "-t", metavar="SENTENCE", help="A sentence for a row; give several.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to: .png, .jpg, .webp, .pdf or .svg. Only a figure made by clip is replaced.",
        ),
    ] = Path("matrix.png"),
    dark: Annotated[bool, typer.Option("--dark", help="Light letters on a dark ground.")] = False,
    model: ModelOption = None,
    device: DeviceOption = Device.auto,
    precision: PrecisionOption = Precision.auto,
) -> None:
    """Draw pictures against sentences, the cosine of each pair written in.

    The pictures stand along the top, a sentence stands before each row, and the colours run from the smallest cosine
    to the largest. Needs the extra 'plot'.

    \b
      clip matrix cat.jpg bike.jpg -t "a cat" -t "a red motorcycle" -o matrix.png
    """
    from clipcli.commands.opening import open_model
    from clipcli.commands.pictures import Skipped, picture_paths
    from clipcli.render.figure_style import check_figure
    from clipcli.render.made_files import check_replaceable
    from clipcli.render.matrix import check_size
    from clipcli.render.notes import counted, say

    sentences = [sentence for sentence in text or [] if sentence.strip()]
    if not sentences:
        raise UsageError("no sentences: give some with -t SENTENCE (see 'clip matrix --help')")
    check_figure(output, "drawing a matrix")
    check_replaceable(output)
    skipped = Skipped()
    paths = picture_paths(images, skipped)
    if not paths and not skipped.files:
        raise InputError("there are no pictures in what was given")
    check_size(len(paths), len(sentences))
    loaded = open_model(model, device=device, precision=precision)
    drawn = draw_files(loaded, paths, sentences, output, skipped, dark=dark)
    if drawn:
        say(f"{output}: {counted(drawn, 'picture')} against {counted(len(sentences), 'sentence')}")
    if skipped.files:
        considered = counted(drawn + len(skipped.files), "picture")
        raise InputError(f"{len(skipped.files):,} of {considered} could not be read")


def draw_files(
    model: Model,
    paths: Sequence[bytes],
    sentences: Sequence[str],
    output: Path,
    skipped: Skipped,
    *,
    dark: bool = False,
) -> int:
    """Draw the readable ones of `paths` against the sentences; how many those were. Nothing is written without any."""
    import numpy as np

    from clipcli.commands.pictures import embed_pictures
    from clipcli.photos.thumbnails import small_pictures
    from clipcli.render.figure_style import DARK, LIGHT
    from clipcli.render.matrix import THUMBNAIL, draw_matrix

    batches = list(embed_pictures(model, paths, skipped))
    if not batches:
        return 0
    readable = [path for kept, _ in batches for path in kept]
    vectors = np.concatenate([batch for _, batch in batches])  # (N, D)
    cosines = model.encode_texts(sentences) @ vectors.T  # (T, N)
    thumbnails = []
    for picture in small_pictures([os.fsdecode(path) for path in readable], long_side=THUMBNAIL):
        if isinstance(picture, ImageError):  # gone since it was looked at a moment ago
            raise picture
        thumbnails.append(picture)
    draw_matrix(thumbnails, sentences, cosines, output, model=model.name, look=DARK if dark else LIGHT)
    return len(readable)
