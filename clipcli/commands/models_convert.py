"""`clip models convert`: a model with its weights into a folder that another library loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipcli.errors import MissingExtraError


def convert(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A model by name, or a model folder.", show_default=False)
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to make.", show_default=False)],
    to: Annotated[
        str, typer.Option("--to", metavar="open-clip|transformers", help="Who is to load it.", show_default=False)
    ],
) -> None:
    """Write a model the way open_clip or transformers loads it, with the same embeddings.

    Only texts with HTML entities or broken encodings come out otherwise, where the other library does not mend
    texts, or mends them alone; that is said. What the other library cannot express is refused.

    Needs the extra 'train', and a model that carries its weights.

    \b
      clip models convert birds --to open-clip birds-open-clip
      clip models convert birds --to transformers birds-hf
    """
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in ("torch", "safetensors")):
        raise MissingExtraError("train", "clip models convert")
    from clipcli.bundle.installed import find_model
    from clipcli.bundle.spec import read_spec
    from clipcli.render.notes import say
    from export.converting import cleaned_otherwise, convert_model

    source = find_model(name)
    written = convert_model(source, folder.expanduser(), to=to)
    load = (
        f"open_clip.create_model_and_transforms('local-dir:{written}')"
        if to == "open-clip"
        else f"transformers.AutoModel.from_pretrained('{written}')"
    )
    say(f"written to {written}: {load}")
    spec = read_spec(source)
    if to == "transformers" and spec.logit_bias is not None:
        say("texts of SigLIP are filled up to their full length: ask its tokenizer for padding='max_length'")
    otherwise = cleaned_otherwise(spec, to)
    if otherwise:
        say(otherwise)
