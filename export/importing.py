"""`clip models import` as a function: another project's model into a measured, installed bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clipcli.bundle.installed import check_new_name, models_folder, name_for
from clipcli.bundle.installed import install as install_bundle
from clipcli.bundle.placing import check_writable
from clipcli.bundle.spec import TOKENIZER_FILE
from clipcli.errors import UsageError
from export.bundle import check_precisions, export_bundle
from export.exporting import Exported
from export.samples import made_samples, read_samples
from trainer.reading.found import Choices
from trainer.reading.importing import build, provenance_of, read_model

__all__ = ["import_model"]

_MADE = 16  # pictures that parity is measured on where no photographs are given
_PHOTOS = 200


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
    name is taken, ModelError where no variant is good enough.
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
    with tempfile.TemporaryDirectory(prefix="clip-import-") as passing:
        tokenizer_file = Path(passing) / TOKENIZER_FILE
        tokenizer_file.write_bytes(found.tokenizer)
        if photos:
            samples = read_samples(list(photos), found.preprocess, limit=_PHOTOS)
        else:
            samples = made_samples(found.preprocess, count=_MADE)
        spec = export_bundle(
            build(found),
            folder=Path(passing) / "bundle",
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
        folder = install_bundle(Path(passing) / "bundle", name=chosen, replace=replace)
    return Exported(folder=folder, spec=spec, refused=spec.provenance.get("refused", {}))
