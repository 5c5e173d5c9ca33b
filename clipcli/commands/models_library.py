"""What `clip models` says of the library of this place, where there is one: which model it goes on with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipcli.errors import ClipError

if TYPE_CHECKING:
    from pathlib import Path

    from clipcli.bundle.spec import ModelSpec
    from clipcli.library.models import StoredModel


def say_who_depends(identity: str) -> None:
    """After a model of this identity was removed: what the library has of it, and what can search that now."""
    from clipcli.bundle.installed import list_models
    from clipcli.render.notes import counted, say

    path, models, _ = _library_here()
    pictures = max((model.pictures for model in models if model.identity == identity), default=0)
    if not pictures:
        return
    twins = [one.name for one in list_models() if one.spec is not None and one.spec.identity == identity]
    then = f"{twins[0]} is the same and searches them" if twins else "they can be searched again once it is installed"
    say(f"{path} has {counted(pictures, 'picture')} by this model; {then}")


def say_if_library_differs(chosen: ModelSpec) -> None:
    """After a default was chosen: that the library goes on with its own model, where that is another one."""
    from clipcli.render.notes import say

    path, _, own = _library_here()
    if own is not None and own.pictures and own.identity != chosen.identity:
        say(
            f"{path} goes on with its own model, {own.name}; 'clip embed -m {chosen.name} FOLDER' with all its folders "
            "changes that"
        )


def _library_here() -> tuple[Path | None, list[StoredModel], StoredModel | None]:
    """Where it is, the models it knows, its own; nothing where there is none that can be read."""
    from clipcli.library.location import find_library
    from clipcli.library.models import own_model, stored_models
    from clipcli.library.store import Library

    try:
        path = find_library(None)
        with Library.open(path) as library:
            return path, stored_models(library), own_model(library)
    except ClipError:
        return None, [], None
