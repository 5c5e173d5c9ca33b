"""The models whose embeddings a library holds, and the one it is searched with."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clipcli.errors import ModelError, NotFoundError
from clipcli.library.store import Library

if TYPE_CHECKING:
    from clipcli.bundle.installed import Installed

__all__ = [
    "StoredModel",
    "find_stored",
    "installed_folder",
    "keep_own_model",
    "own_model",
    "register_model",
    "stored_models",
]

_COLUMNS = "id, identity, precision, name, folder, dimension, state"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredModel:
    """A model as the library knows it. `name` and `folder` are what they were when it was last used.

    `pictures` is how many have an embedding of it. `state` changes with every change of one of them.
    """

    id: int
    identity: str
    precision: str
    name: str
    folder: str
    dimension: int
    state: str
    pictures: int


def stored_models(library: Library) -> list[StoredModel]:
    """All of them, the one with most pictures first."""
    with library.read() as connection:
        rows = connection.execute(f"SELECT {_COLUMNS} FROM models ORDER BY id").fetchall()
        states = tuple((row[0], row[-1]) for row in rows)
        if library.counted is None or library.counted[0] != states:  # counting takes 50 ms for a million pictures
            counts = dict(connection.execute("SELECT model_id, count(*) FROM embeddings GROUP BY model_id"))
            library.counted = states, counts
    models = [_model(row, library.counted[1].get(row[0], 0)) for row in rows]
    return sorted(models, key=lambda model: -model.pictures)


def own_model(library: Library) -> StoredModel | None:
    """The model that searches use unless told otherwise: the last one that all pictures were embedded with."""
    models = stored_models(library)
    chosen = library.setting("own_model")
    return next((model for model in models if str(model.id) == chosen), models[0] if models else None)


def find_stored(library: Library, *, identity: str, precision: str | None) -> StoredModel:
    """The model of that identity; with `precision` None, in the precision that most pictures have.

    Raises NotFoundError when the library has no embeddings of it.
    """
    models = stored_models(library)
    for model in models:
        if model.identity == identity and precision in (None, model.precision) and model.pictures:
            return model
    wanted = identity[:12] if precision is None else f"{identity[:12]} in {precision}"
    known = ", ".join(f"{model.name} ({model.precision})" for model in models if model.pictures)
    raise NotFoundError(
        f"the library has no embeddings of this model ({wanted}); it has {known or 'none at all'}; "
        "'clip embed -m NAME FOLDER' adds them"
    )


def register_model(
    connection: sqlite3.Connection, *, identity: str, precision: str, name: str, folder: str, dimension: int
) -> int:
    """The id of the model in the library, added where it is new. To be called within `write()`."""
    (model_id,) = connection.execute(
        """
INSERT INTO models (identity, precision, name, folder, dimension) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (identity, precision) DO UPDATE SET name = excluded.name, folder = excluded.folder,
  used_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now')
RETURNING id""",
        (identity, precision, name, folder, dimension),
    ).fetchone()
    return int(model_id)


def keep_own_model(library: Library, model_id: int) -> None:
    """Make this the library's own model, unless another one has more of its pictures. To be called within `write()`."""
    counts = {model.id: model.pictures for model in stored_models(library)}
    own = library.setting("own_model")
    if own is None or counts.get(model_id, 0) >= counts.get(int(own), 0):
        library.set_setting("own_model", str(model_id))


def installed_folder(stored: StoredModel) -> Path:
    """Where the model that made embeddings of the library is now, recognised by its identity and not by its name.

    Of several that are the same one, a whole one: damage to one of them need not stop a search.
    Raises NotFoundError when it is not on this machine.
    """
    from clipcli.bundle.installed import find_model, list_models
    from clipcli.bundle.spec import read_spec

    same = [model for model in list_models() if model.spec is not None and model.spec.identity == stored.identity]
    if same:
        return same[0].folder if len(same) == 1 else next(filter(_is_whole, same), same[0]).folder
    try:  # a model folder that was given by its path
        folder = find_model(stored.folder)
        if read_spec(folder).identity == stored.identity:
            return folder
    except (NotFoundError, ModelError):
        pass
    raise NotFoundError(
        f"the model this library was made with, {stored.name}, is not installed; "
        "-m NAME searches with another, after 'clip embed -m NAME FOLDER'"
    )


def _is_whole(model: Installed) -> bool:
    """Whether all its files are there, in the size recorded, and with their SHA-256 where they were changed since."""
    from clipcli.bundle.stamps import check_stamps

    try:
        if model.spec is not None:
            check_stamps(model.folder, model.spec, model.spec.required_files)
    except ModelError:
        return False
    return True


def _model(row: tuple[int, str, str, str, str, int, str], pictures: int) -> StoredModel:
    number, identity, precision, name, folder, dimension, state = row
    return StoredModel(
        id=number,
        identity=identity,
        precision=precision,
        name=name,
        folder=folder,
        dimension=dimension,
        state=state,
        pictures=pictures,
    )
