"""`clip models convert` as a function: a model with its weights as a folder that another library loads."""

from __future__ import annotations

from pathlib import Path

from clipcli.bundle.placing import building
from clipcli.bundle.spec import WEIGHTS_FILE, read_spec
from clipcli.errors import ModelError, UsageError
from export.source import open_source
from trainer.writing.openclip import write_openclip
from trainer.writing.transformers_folder import write_transformers

__all__ = ["FORMATS", "convert_model"]

FORMATS = ("open-clip", "transformers")


def convert_model(bundle: Path, folder: Path, *, to: str) -> Path:
    """Write the model in `bundle` to `folder`, which must not be there yet.

    Raises:
        UsageError: the folder is there, the format is unknown, or the other library has no such model.
        ModelError: the bundle has no weights, or is damaged.
    """
    if to not in FORMATS:
        raise UsageError(f"--to is one of {', '.join(FORMATS)}, not {to!r}")
    if folder.exists():
        raise UsageError(f"{folder} is there already: name a folder that is to be made")
    spec = read_spec(bundle)
    if not spec.towers or WEIGHTS_FILE not in spec.files:
        raise ModelError(f"model {spec.name} comes without weights, and its graphs alone cannot be converted")
    model = open_source(bundle).model
    write = write_openclip if to == "open-clip" else write_transformers
    with building(folder) as partial:
        write(partial, spec, model.config, model.state_dict(), bundle)
        if spec.licence != "unknown":
            (partial / "README.md").write_text(f"---\nlicense: {spec.licence}\n---\n\n{spec.name}\n", "utf-8")
    return folder
