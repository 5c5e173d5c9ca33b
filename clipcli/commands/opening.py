"""The model a command works with, and the line about the small one that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clipcli.bundle.encoder import Model

STARTER_NOTE = (
    "using the small model that comes with clip; 'clip train' makes a better one from your own pictures and texts"
)


def open_model(name: str | None, *, device: str, precision: str) -> Model:
    """The model meant by `-m NAME`, or the default one; says so when that is only the one that ships."""
    from clipcli.bundle.encoder import Model
    from clipcli.bundle.installed import find_model

    folder = find_model(name)
    model = Model.load(folder, device=device, precision=precision)
    if name is None:
        mention_starter(folder)
    return model


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
