"""Which models `clip eval` measures: bundles as everywhere, and what training leaves before anything is exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.commands.opening import open_model
from clipcli.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from clipcli.datasets.measured import Measured
    from clipcli.library.store import Library

RUN_FILE = "towers.json"
WEIGHT_ENDINGS = frozenset({".pt", ".pth", ".ckpt", ".bin", ".safetensors"})


def open_measured(name: str | None, *, device: str, precision: str, library: Library | None = None) -> Measured:
    """A model to be measured: as `open_model`, or a training run's folder, or a file of weights.

    Of a library whose vectors are to be used: its own model where no name is given, and where no precision is asked for
    the one its vectors have. Raises MissingExtraError where weights are given and PyTorch is not there, UsageError.
    """
    checkpoint = None if name is None else _checkpoint(name)
    if checkpoint is not None:
        return _open_checkpoint(checkpoint, device=device, precision=precision)
    if library is not None:
        folder, precision = _of_library(library, name, precision)
        if folder is not None:
            from clipcli.bundle.encoder import Model

            return Model.load(folder, device=device, precision=precision)
    return open_model(name, device=device, precision=precision)


def _of_library(library: Library, name: str | None, precision: str) -> tuple[Path | None, str]:
    """The bundle meant, None where the library has no own, and the precision its vectors have where any will do."""
    from clipcli.bundle.installed import find_model
    from clipcli.bundle.spec import read_spec
    from clipcli.library.models import installed_folder, own_model, stored_models

    stored = [model for model in stored_models(library) if model.pictures]
    if name is None:
        own = own_model(library)
        if own is None or not own.pictures:
            return None, precision
        folder, stored = installed_folder(own), [own, *stored]
    else:
        folder = find_model(name)
    spec = read_spec(folder)
    if precision == "auto":
        variants = {variant.precision for variant in spec.variants}
        there = (model.precision for model in stored if model.identity == spec.identity)
        precision = next((each for each in there if each in variants), precision)
    return folder, precision


def _checkpoint(name: str) -> Path | None:
    """The run's folder or weights file that is meant; None where it is a model, or nothing of the kind."""
    from clipcli.bundle.installed import models_folder
    from clipcli.bundle.spec import MODEL_FILE

    path = Path(name).expanduser()
    if (models_folder() / name / MODEL_FILE).is_file() or (path / MODEL_FILE).is_file():
        return None
    is_run = (path / RUN_FILE).is_file()
    return path if is_run or (path.suffix.lower() in WEIGHT_ENDINGS and path.is_file()) else None


def _open_checkpoint(path: Path, *, device: str, precision: str) -> Measured:
    from importlib.util import find_spec

    from clipcli.render.notes import say

    if precision not in ("auto", "fp32"):
        raise UsageError(f"{path} is measured as it was trained, in fp32; 'clip export' makes other precisions of it")
    if any(find_spec(module) is None for module in ("torch", "safetensors")):
        raise MissingExtraError("train", "measuring a checkpoint")
    from trainer.measurable import open_checkpoint

    return open_checkpoint(path, device=device, say=say)
