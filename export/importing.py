"""`clip models import` as a function: another project's model into a measured, installed bundle."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clipcli.bundle.installed import check_new_name, models_folder, name_for
from clipcli.bundle.placing import building, check_writable
from clipcli.bundle.spec import TOKENIZER_FILE
from clipcli.bundle.stamps import write_stamps
from clipcli.errors import NoSpaceError, UsageError
from export.bundle import check_precisions, export_bundle
from export.exporting import Exported
from export.samples import made_samples, read_samples
from trainer.reading.found import Choices
from trainer.reading.importing import build, provenance_of, read_model
from trainer.towers import Clip

__all__ = ["import_model"]

_MADE = 16  # pictures that parity is measured on where no photographs are given
_PHOTOS = 200
_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}  # of a number in a graph


def import_model(
    path: Path,
    *,
    name: str | None = None,
    choices: Choices,
    precisions: Sequence[str] = ("fp32",),
    photos: Sequence[Path] = (),
    licence: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    replace: bool = False,
    say: Callable[[str], None],
) -> Exported:
    """Read the model at `path`, write it as a bundle and install it.

    Its name is that of the file or folder unless given; `provenance` is added to what is found out. What had to be
    decided, and each variant that is refused, is told to `say`. Raises what `read_model` raises; UsageError where the
    name is taken, ModelError where no variant is good enough, NoSpaceError.
    """
    check_precisions(precisions, precisions[0] if precisions else None)
    chosen = check_new_name(name) if name is not None else name_for(path)
    if not replace and (models_folder() / chosen).exists():
        raise UsageError(f"a model called {chosen!r} is already installed: give another --name, or --replace")
    check_writable(models_folder())
    found = read_model(path, choices)
    say(f"{found.kind}: {found.config.name}, {found.config.activation}, {found.preprocess.image_size} pixels")
    for note in found.notes:
        say(note)
    model, target = build(found), models_folder() / chosen
    _check_space(target, model, precisions)
    if photos:
        samples = read_samples(list(photos), found.preprocess, limit=_PHOTOS)
    else:
        samples = made_samples(found.preprocess, count=_MADE)
    # Where it is going to be: the giants take tens of gigabytes, and a system's temporary folder may be memory.
    with building(target) as folder, tempfile.TemporaryDirectory(prefix="clip-import-") as passing:
        tokenizer_file = Path(passing) / TOKENIZER_FILE
        tokenizer_file.write_bytes(found.tokenizer)
        spec = export_bundle(
            model,
            folder=folder,
            name=chosen,
            tokenizer_file=tokenizer_file,
            text_cleaning=found.text_cleaning,
            pad_id=found.pad_id,
            exact_weights=True,
            preprocess=found.preprocess,
            samples=samples,
            precisions=precisions,
            default_precision=precisions[0],
            provenance={
                **provenance_of(found),
                **(provenance or {}),
                "parity_on": [photo.name for photo in photos] or ["made pictures"],
            },
            licence=licence or found.licence or "unknown",
            say=say,
        )
        write_stamps(folder, spec)
    return Exported(folder=target, spec=spec, refused=spec.provenance.get("refused", {}), installed=True)


def _check_space(target: Path, model: Clip, precisions: Sequence[str]) -> None:
    """The weights in fp32, for further training, and the graphs. Raises NoSpaceError."""
    numbers = sum(tensor.numel() for tensor in model.state_dict().values())
    needed = numbers * (4 + sum(_BYTES[precision] for precision in precisions))
    existing = next(folder for folder in target.parents if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise NoSpaceError(
            f"importing needs {needed / 1e6:.0f} MB, {existing} has {free / 1e6:.0f} MB free (CLIP_MODELS may name a "
            "folder on another disk)"
        )
