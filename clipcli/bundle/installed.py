"""The models on this machine: where they live, which one is meant, putting one in, taking one out.

The models folder holds a bundle folder per name. One more comes with the package itself and cannot be removed.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clipcli.bundle.damage import SHIPPED_FOLDER
from clipcli.bundle.placing import aside, building, writing_in
from clipcli.bundle.spec import MODEL_FILE, ModelSpec, read_spec, write_spec
from clipcli.bundle.stamps import check_hashes, write_stamps
from clipcli.errors import ClipError, NoSpaceError, NotFoundError, UsageError

__all__ = [
    "Installed",
    "check_name",
    "check_new_name",
    "default_name",
    "find_model",
    "install",
    "list_models",
    "models_folder",
    "name_for",
    "remove",
    "set_default",
    "shipped_model",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DEFAULT_FILE = ".default"
_RUN_FILE = "towers.json"  # what a training run's folder has
_FOREIGN = ("config.json", "open_clip_config.json")  # what folders of other projects have


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """A line of `clip models list`. `spec` is None where the bundle is damaged, and `problem` says how."""

    name: str
    folder: Path
    spec: ModelSpec | None
    problem: str = ""
    shipped: bool = False
    default: bool = False

    @property
    def size_bytes(self) -> int:
        return 0 if self.spec is None else sum(int(facts["bytes"]) for facts in self.spec.files.values())


def models_folder() -> Path:
    """`CLIP_MODELS`, else the platform's data directory for programs of this person. It need not exist.

    Raises UsageError where `CLIP_MODELS` is no folder.
    """
    chosen = os.environ.get("CLIP_MODELS")
    if chosen:
        folder = Path(chosen).expanduser()
        if folder.is_file():
            raise UsageError(f"CLIP_MODELS names a file, {folder}: it is the folder that models are in")
        return folder
    import platformdirs

    return platformdirs.user_data_path("clip", appauthor=False) / "models"


def shipped_model() -> Path | None:
    """The model that comes with the package."""
    return SHIPPED_FOLDER if (SHIPPED_FOLDER / MODEL_FILE).is_file() else None


def check_name(name: str) -> str:
    """`name`, where it can be the name of an installed model. Raises UsageError."""
    if _NAME.fullmatch(name) is None or name.endswith("."):
        raise UsageError(
            f"not a usable model name: {name!r} (letters, digits, . _ -, at most 64, no dot at either end)"
        )
    return name


def check_new_name(name: str) -> str:
    """`name`, where a model may be installed under it: that of the shipped model is taken. Raises UsageError."""
    check_name(name)
    shipped = shipped_model()
    if shipped is not None and name.casefold() == read_spec(shipped).name.casefold():
        raise UsageError(f"{name!r} is the name of the model that comes with clip: give another --name")
    return name


def name_for(path: Path) -> str:
    """A name for a model that is brought in: that of its file or folder, as far as it can be one. Raises UsageError."""
    stem = path.resolve().name
    for ending in (".pt", ".pth", ".bin", ".safetensors", ".ckpt"):
        stem = stem.removesuffix(ending)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")
    if not plain:
        raise UsageError(f"{path} has no name that a model could have: give --name NAME")
    return check_new_name(plain[:64].rstrip("."))


def find_model(name: str | None) -> Path:
    """The bundle folder meant by `name`: an installed name, the shipped model's, or a path. None is the default model.

    Raises NotFoundError.
    """
    if name is None:
        return _default_model()
    if _NAME.fullmatch(name) is not None:
        folder = models_folder() / name
        if (folder / MODEL_FILE).is_file():
            return folder
        shipped = shipped_model()
        if shipped is not None and name == read_spec(shipped).name:
            return shipped
    path = Path(name).expanduser()
    if (path / MODEL_FILE).is_file():
        return path
    if path.is_dir():
        advice = ""
        if any((path / one).is_file() for one in _FOREIGN):
            advice = f"; 'clip models import {shlex.quote(name)}' makes one of another project's"
        elif (path / _RUN_FILE).is_file():
            advice = f": it is a training run; 'clip export {shlex.quote(name)}' makes a model of it"
        raise NotFoundError(f"no model in {path} ({MODEL_FILE} is missing){advice}")
    if path.is_file():
        raise NotFoundError(
            f"{path} is a file, a model is a folder; 'clip models import {shlex.quote(name)}' makes one of weights"
        )
    raise _unknown(name)


def _unknown(name: str) -> NotFoundError:
    known = ", ".join(model.name for model in list_models()) or "none"
    return NotFoundError(f"no model is called {name!r} (installed: {known})")


def _default_model() -> Path:
    name = default_name()
    if name is not None:
        try:
            return find_model(name)
        except NotFoundError:
            again = "choose another with clip models default NAME"
            raise NotFoundError(f"the default model {name!r} is not installed any more: {again}") from None
    shipped = shipped_model()
    if shipped is None:
        raise NotFoundError("no default model is chosen (clip models default NAME), and none came with this package")
    return shipped


def list_models() -> list[Installed]:
    """Every installed model by name, then the shipped one; damaged ones with their problem."""
    chosen = default_name()
    models = [_look_at(folder, folder.name, default=folder.name == chosen) for folder in _folders()]
    shipped = shipped_model()
    if shipped is not None:
        entry = _look_at(shipped, None, default=False)
        if entry.name not in {model.name for model in models}:
            models.append(dataclasses.replace(entry, shipped=True, default=chosen is None or chosen == entry.name))
    return models


def install(folder: Path, *, name: str, replace: bool = False) -> Path:
    """Copy the bundle in `folder` into the models folder under `name`, hashes checked on the copy, by rename.

    Raises UsageError where the name is taken, ModelError where the bundle is damaged, NoSpaceError.
    """
    check_new_name(name)
    spec = read_spec(folder)
    target = models_folder() / name
    if target.exists() and not replace:
        raise UsageError(
            f"a model called {name!r} is already installed (clip models rm {name}, or choose another name)"
        )
    check_hashes(folder, spec)
    _check_space(target, spec)
    with building(target) as partial:
        for file in spec.files:
            shutil.copyfile(folder / file, partial / file)
        renamed = dataclasses.replace(spec, name=name)
        check_hashes(partial, renamed)
        write_spec(partial, renamed)
        write_stamps(partial, renamed)
    return target


def remove(name: str) -> int:
    """Take an installed model away and return the bytes it held. Raises NotFoundError, UsageError."""
    check_name(name)
    folder = models_folder() / name
    if not folder.is_dir():
        shipped = shipped_model()
        if shipped is not None and read_spec(shipped).name == name:
            raise UsageError(f"{name} came with this package and stays (clip models default chooses another)")
        raise _unknown(name)
    held = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    # Renamed first: a model half deleted must never be found under its name.
    with writing_in(folder.parent):
        doomed = folder.replace(aside(folder))
    if default_name() == name:
        set_default(None)
    shutil.rmtree(doomed)
    return held


def default_name() -> str | None:
    """The model chosen with `clip models default`; None is the shipped one."""
    try:
        name = (models_folder() / _DEFAULT_FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return name or None


def set_default(name: str | None) -> None:
    """Choose the model used where none is named; None goes back to the shipped one. Raises NotFoundError."""
    path = models_folder() / _DEFAULT_FILE
    if name is None:
        with writing_in(path.parent):
            path.unlink(missing_ok=True)
        return
    if not any(model.name == name for model in list_models()):
        raise _unknown(name)
    with writing_in(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{_DEFAULT_FILE}.{os.getpid()}.part")
        with partial.open("w", encoding="utf-8") as out:
            out.write(f"{name}\n")
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)


def _folders() -> Iterator[Path]:
    folder = models_folder()
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _look_at(folder: Path, name: str | None, *, default: bool) -> Installed:
    try:
        spec = read_spec(folder)
    except ClipError as error:
        return Installed(name=name or folder.name, folder=folder, spec=None, problem=str(error), default=default)
    return Installed(name=name or spec.name, folder=folder, spec=spec, default=default)


def _check_space(target: Path, spec: ModelSpec) -> None:
    needed = sum(int(facts["bytes"]) for facts in spec.files.values())
    existing = next(folder for folder in target.parents if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise NoSpaceError(
            f"installing {spec.name} needs {needed / 1e6:.0f} MB, {existing} has {free / 1e6:.0f} MB free"
        )
