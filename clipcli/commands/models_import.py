"""`clip models import`: another project's model into one to use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clipcli.commands.options import FormatOption
from clipcli.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from trainer.config import Activation

ACTIVATIONS: tuple[Activation, ...] = ("quick_gelu", "gelu", "gelu_tanh")


def import_(
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="A weights file, or a folder with its configuration.", show_default=False),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What the model is called. Default: as the file or folder.", show_default=False
        ),
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(ACTIVATIONS),
            help="What the weights were trained with, where the source does not say.",
            show_default=False,
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The vocabulary, where it does not lie beside the weights: tokenizer.json, merges.txt, or "
            "bpe_simple_vocab_16e6.txt.gz.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            metavar="fp32|fp16|int8",
            help="A variant to write; give several. The first is the model's default. Default: fp32.",
            show_default=False,
        ),
    ] = None,
    photos: Annotated[
        list[Path] | None,
        typer.Option(
            "--photos",
            metavar="PATH",
            help="Photographs to measure on: a folder, or pairs as for training. Default: made pictures.",
            show_default=False,
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="The licence of the weights. Default: what the model card says.", show_default=False
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an installed model of that name.")] = False,
    format: FormatOption = None,
) -> None:
    """Turn another project's model into one to use.

    Found out by content: OpenAI's .pt files, OpenCLIP's folders (open_clip_config.json) and checkpoints, and CLIP and
    SigLIP folders of transformers. Weights are read as data; nothing in them is executed. The result is measured
    against the towers it was made from. Needs the extra 'train'.

    \b
      clip models import ViT-B-32.pt --tokenizer bpe_simple_vocab_16e6.txt.gz
      clip models import ~/models/siglip-base-patch16-224 --name siglip
    """
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in ("torch", "onnxscript", "safetensors")):
        raise MissingExtraError("train", "clip models import")
    told = next((known for known in ACTIVATIONS if known == activation), None)
    if activation is not None and told is None:
        raise UsageError(f"--activation is one of {', '.join(ACTIVATIONS)}, not {activation!r}")
    from clipcli.commands.export import show_exported
    from clipcli.render.notes import say
    from export.importing import import_model
    from trainer.reading.found import Choices

    exported = import_model(
        path.expanduser(),
        name=name,
        choices=Choices(activation=told, tokenizer=tokenizer),
        precisions=precision or ("fp32",),
        photos=photos or (),
        licence=licence,
        replace=replace,
        say=say,
    )
    show_exported(exported, format)
    say(f"installed as {exported.spec.name}: clip embed -m {exported.spec.name} FOLDER")
