"""What a command works with: the library, the model, and the line about the small model that comes with the package."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.errors import NotFoundError

if TYPE_CHECKING:
    from clipcli.bundle.encoder import Model
    from clipcli.library.models import StoredModel
    from clipcli.library.store import Library

STARTER_NOTE = (
    "using the small model that comes with clip; 'clip train' makes a better one from your own pictures and texts"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """A loaded model, the precision of its embeddings in the library it is compared with, and how many those are.

    `without` pictures of the library have embeddings of other models only.
    """

    model: Model
    stored_precision: str
    pictures: int
    without: int = 0


def open_library(db: Path | None) -> Library:
    """The library meant, for reading. Raises what `Library.open` does: NotFoundError says how to make one."""
    from clipcli.library.location import find_library
    from clipcli.library.store import Library

    return Library.open(find_library(db))


def open_model(name: str | None, *, device: str, precision: str) -> Model:
    """The model meant by `-m NAME`, or the default one; says so when that is only the one that ships."""
    from clipcli.bundle.encoder import Model
    from clipcli.bundle.installed import find_model

    folder = find_model(name)
    model = Model.load(folder, device=device, precision=precision)
    if name is None:
        mention_starter(folder)
    return model


def open_model_of(
    library: Library, name: str | None, *, device: str, precision: str, brief: bool = False
) -> Chosen | None:
    """The model meant by `-m NAME`, or the library's own; None for a library without any pictures.

    A query need not be as precise as what it is compared with: embeddings of the same precision are taken where the
    library has them, else the ones most pictures have. Without a wish the model runs in the precision they have.
    `brief` is as in `Model.load`.
    Raises NotFoundError where the library has no embeddings of the model, or its own model is not installed.
    """
    from clipcli.bundle.encoder import Model
    from clipcli.bundle.installed import find_model
    from clipcli.bundle.spec import read_spec
    from clipcli.library.counts import count_pictures
    from clipcli.library.models import installed_folder, own_model, stored_models

    stored = [model for model in stored_models(library) if model.pictures]
    if not stored:
        return None
    own = own_model(library)
    own = own if own is not None and own.pictures else stored[0]
    folder = installed_folder(own) if name is None else find_model(name)
    spec = read_spec(folder)
    fitting = [model for model in stored if model.identity == spec.identity]
    if not fitting:
        raise NotFoundError(
            f"the library has no embeddings by the model {spec.name}; 'clip embed -m {name} FOLDER' makes them"
            + (f", or search with what it has: {', '.join(present)}" if (present := _installed(stored)) else "")
        )
    wanted = precision if precision != "auto" else None
    if wanted is None and name is None:
        wanted = own.precision
    best = next((model for model in fitting if model.precision == wanted), fitting[0])
    if precision == "auto" and best.precision in {variant.precision for variant in spec.variants}:
        precision = best.precision
    model = Model.load(folder, device=device, precision=precision, brief=brief)
    if name is None:
        mention_starter(folder)
    without = count_pictures(library) - best.pictures if len(stored) > 1 else 0  # one model has all there are
    return Chosen(model=model, stored_precision=best.precision, pictures=best.pictures, without=without)


def _installed(stored: Sequence[StoredModel]) -> list[str]:
    """The names of those that are still there to search with."""
    from clipcli.library.models import installed_folder

    names = []
    for model in stored:
        with suppress(NotFoundError):
            installed_folder(model)
            names.append(model.name)
    return list(dict.fromkeys(names))


def model_and_device(model: Model) -> str:
    """`starter (fp16) on the CPU`: which model has been at work, and where it really ran, if it had to run."""
    where = {"cuda": " on the GPU", "cpu": " on the CPU", None: ""}[model.ran_on]
    return f"{model.name} ({model.precision}){where}"


def mention_starter(folder: Path, *, always: bool = False) -> None:
    """Say that the shipped model is in use and how to get a better one: the first time on this machine, or `always`.

    Nothing is said to somebody who has other models installed: they know.
    """
    from clipcli.bundle.installed import list_models, shipped_model
    from clipcli.render.notes import say

    shipped = shipped_model()
    if shipped is None or folder != shipped or any(not model.shipped for model in list_models()):
        return
    if _first_time() or always:
        say(STARTER_NOTE)


def _first_time() -> bool:
    """Whether nothing has been said yet. Where that cannot be remembered, it is always the first time."""
    import platformdirs

    mark = platformdirs.user_cache_path("clip", appauthor=False) / "starter-mentioned"
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True
