"""`clip models import`: another project's model into one to use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipcli.commands.bringing import ACTIVATIONS, Wishes, bring_in
from clipcli.commands.options import FormatOption


def import_(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A folder of ONNX graphs or of weights, with its configurations; or a weights file.",
            show_default=False,
        ),
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
            help="The vocabulary, where it does not lie beside the model: tokenizer.json (the only kind for ONNX "
            "graphs), merges.txt, bpe_simple_vocab_16e6.txt.gz, or SigLIP's spiece.model.",
            show_default=False,
        ),
    ] = None,
    logit_scale: Annotated[
        float | None,
        typer.Option(
            "--logit-scale",
            metavar="X",
            help="What cosines are multiplied with, where ONNX graphs do not say. OpenAI's models have 100.",
            show_default=False,
        ),
    ] = None,
    logit_bias: Annotated[
        float | None,
        typer.Option(
            "--logit-bias", metavar="X", help="What is added afterwards; sigmoid models only.", show_default=False
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            "--precision",
            metavar="fp32|fp16|int8",
            help="A variant; give several. Default: of ONNX graphs all there are, else fp32. Of those made from "
            "weights the first is the model's default, of graphs the most exact.",
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

    Found out by content. ONNX graphs in the layouts of transformers.js and Immich, and models of this program, are
    read as they are. OpenAI's .pt files, Apple's of MobileCLIP, OpenCLIP's folders (open_clip_config.json) and
    checkpoints, and CLIP and SigLIP folders of transformers are made into graphs, which needs the extra 'train'.
    Weights are read as data; nothing in them is executed. The result is measured: against the towers it was made
    from, and precisions that come as graphs against the most exact of them.

    \b
      clip models import ViT-B-32.pt --tokenizer bpe_simple_vocab_16e6.txt.gz
      clip models import ~/models/siglip-base-patch16-224 --name siglip
      clip models import ~/immich/clip/ViT-B-32__openai --logit-scale 100
    """
    wishes = Wishes(
        name=name,
        activation=activation,
        tokenizer=tokenizer,
        logit_scale=logit_scale,
        logit_bias=logit_bias,
        precisions=tuple(precision or ()),
        photos=tuple(photos or ()),
        licence=licence,
        replace=replace,
    )
    bring_in(path.expanduser(), wishes, format=format)
