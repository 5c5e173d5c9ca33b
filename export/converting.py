"""`clip models convert` as a function: a model with its weights as a folder that another library loads."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from safetensors import SafetensorError

from clipcli.bundle.placing import building, check_writable
from clipcli.bundle.spec import WEIGHTS_FILE, ModelSpec, read_spec
from clipcli.errors import ModelError, NoSpaceError, UsageError
from export.source import open_source
from trainer.writing.openclip import write_openclip
from trainer.writing.transformers_folder import write_transformers

__all__ = ["FORMATS", "cleaned_otherwise", "convert_model"]

FORMATS = ("open-clip", "transformers")


def convert_model(bundle: Path, folder: Path, *, to: str) -> Path:
    """Write the model in `bundle` to `folder`, which must not be there yet.

    Raises:
        UsageError: the folder is there, the format is unknown, or the other library has no such model.
        ModelError: the bundle has no weights, or is damaged.
        LibraryLockedError, NoSpaceError: the folder cannot be made, or the weights do not fit beside what is there.
    """
    if to not in FORMATS:
        raise UsageError(f"--to is one of {', '.join(FORMATS)}, not {to!r}")
    if folder.exists():
        raise UsageError(f"{folder} is there already: name a folder that is to be made")
    spec = read_spec(bundle)
    if not spec.towers or WEIGHTS_FILE not in spec.files:
        raise ModelError(f"model {spec.name} comes without weights, and its graphs alone cannot be converted")
    check_writable(folder.parent)
    model = open_source(bundle).model
    _check_space(folder, sum(tensor.nbytes for tensor in model.state_dict().values()))
    write = write_openclip if to == "open-clip" else write_transformers
    with building(folder) as partial:
        try:
            write(partial, spec, model.config, model.state_dict(), bundle)
        except SafetensorError as error:  # which is what a failing disk looks like from inside its library
            number = re.search(r"\(os error (\d+)\)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(folder)) from error
        if spec.licence != "unknown":
            (partial / "README.md").write_text(f"---\nlicense: {spec.licence}\n---\n\n{spec.name}\n", "utf-8")
    return folder


def cleaned_otherwise(spec: ModelSpec, to: str) -> str:
    """Which texts come out otherwise in the library `to` than here, in a line; empty where none do."""
    mends = spec.text_cleaning != "none"
    if to == "transformers" and mends:
        return (
            "texts with HTML entities (&amp;) or broken encodings (cafÃ©) come out otherwise there: this model's texts "
            "are mended first, and transformers' tokenizer does not mend"
        )
    if to == "open-clip" and not mends:
        return (
            "texts with HTML entities (&amp;), broken encodings (cafÃ©) or more than single spaces come out otherwise "
            "there: open_clip mends every text first, and this model's are taken as they are"
        )
    return ""


def _check_space(folder: Path, needed: int) -> None:
    existing = next(place for place in folder.absolute().parents if place.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise NoSpaceError(f"converting needs {needed / 1e6:.0f} MB, {existing} has {free / 1e6:.0f} MB free")
