"""Tags and decisions of a library on their way into a file of embeddings, and out of one into another library."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from clipcli.errors import InputError
from clipcli.library.embedding_rows import Extras, Origin, TagGiven
from clipcli.library.tags import BY_HAND

__all__ = ["TagWriter", "exported_extras", "exported_tags", "import_decisions", "import_kept_tags"]


def exported_extras(connection: sqlite3.Connection) -> tuple[Extras, dict[int, int]]:
    """What is written beside the rows, and which place each model that gave tags has in it."""
    rows = connection.execute(
        "SELECT id, identity, precision, name, folder, dimension FROM models "
        "WHERE id IN (SELECT DISTINCT model_id FROM tags) ORDER BY id"
    ).fetchall()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def rows_of(table: str, columns: str) -> list[tuple[str, str, str]]:
        """None of a table that an older library, which may only be read, does not have."""
        return list(connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2")) if table in tables else []

    models = [
        Origin(identity=identity, precision=precision, model=name, folder=folder, dimension=dimension)
        for _, identity, precision, name, folder, dimension in rows
    ]
    extras = Extras(
        models=models,
        not_duplicates=rows_of("not_duplicates", "digest, other_digest, decided_at"),
        kept_tags=rows_of("kept_tags", "digest, label, created_at"),
    )
    return extras, {row[0]: place for place, row in enumerate(rows)}


def exported_tags(
    connection: sqlite3.Connection, image_ids: Sequence[int], models: dict[int, int]
) -> list[list[TagGiven]]:
    """The tags of each picture, in the order of `image_ids`."""
    places = {image_id: place for place, image_id in enumerate(image_ids)}
    found: list[list[TagGiven]] = [[] for _ in image_ids]
    for image_id, label, score, model_id, created_at in connection.execute(
        "SELECT image_id, label, score, model_id, created_at FROM tags "
        "WHERE image_id IN (SELECT value FROM json_each(?)) ORDER BY image_id, label",
        (json.dumps(image_ids),),
    ):
        model = None if model_id is None else models[model_id]
        found[places[image_id]].append(TagGiven(label=label, score=score, model=model, at=created_at))
    return found


class TagWriter:
    """Writes tags out of a file. What the library has stays, but a person's tag comes before a model's."""

    def __init__(self, extras: Extras) -> None:
        self._models = extras.models
        self._ids: dict[int, int] = {}

    def write(self, connection: sqlite3.Connection, image_id: int, tags: Sequence[TagGiven]) -> int:
        """To be called within `write()`; how many are new. Raises IndexError, TypeError, ValueError for nonsense."""
        new = 0
        for tag in tags:
            if not tag.label or not isinstance(tag.label, str) or not isinstance(tag.at, str):
                raise ValueError("a tag that is none")
            by_hand = tag.score is None and tag.model is None
            score = None if tag.score is None else float(tag.score)
            model_id = None if tag.model is None else self._model_id(connection, tag.model)
            new += connection.execute(
                "INSERT INTO tags (image_id, label, score, model_id, created_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (image_id, label) "
                + (
                    "DO UPDATE SET score = NULL, model_id = NULL, created_at = excluded.created_at "
                    f"WHERE NOT ({BY_HAND})"
                    if by_hand
                    else "DO NOTHING"
                ),
                (image_id, tag.label, score, model_id, tag.at),
            ).rowcount
        return new

    def _model_id(self, connection: sqlite3.Connection, place: int) -> int:
        """The library's id of a model that gave tags; one that is there keeps its name."""
        if place < 0:
            raise IndexError("a model that is not in the file")
        if place not in self._ids:
            model = self._models[place]
            connection.execute(
                "INSERT OR IGNORE INTO models (identity, precision, name, folder, dimension) VALUES (?, ?, ?, ?, ?)",
                (model.identity, model.precision, model.model, model.folder, model.dimension),
            )
            (self._ids[place],) = connection.execute(
                "SELECT id FROM models WHERE identity = ? AND precision = ?", (model.identity, model.precision)
            ).fetchone()
        return self._ids[place]


def import_decisions(source: Path, connection: sqlite3.Connection, extras: Extras) -> int:
    """Remember which pairs of contents are no duplicates; how many the library did not know. Raises InputError."""
    for one, other, _ in extras.not_duplicates:
        if not (re.fullmatch("[0-9a-f]{64}", one) and re.fullmatch("[0-9a-f]{64}", other) and one <= other):
            raise InputError(f"{os.fsdecode(source)} is damaged (a decision about digests that are none)")
    return sum(
        connection.execute(
            "INSERT OR IGNORE INTO not_duplicates (digest, other_digest, decided_at) VALUES (?, ?, ?)", pair
        ).rowcount
        for pair in extras.not_duplicates
    )


def import_kept_tags(source: Path, connection: sqlite3.Connection, extras: Extras) -> int:
    """A person's tags of pictures the other library had: given to those of that content here, else kept for them.

    How many the library did not know. Raises InputError.
    """
    new = 0
    for digest, label, at in extras.kept_tags:
        if not (re.fullmatch("[0-9a-f]{64}", digest) and label and at):
            raise InputError(f"{os.fsdecode(source)} is damaged (a tag of nothing)")
        here = [number for (number,) in connection.execute("SELECT id FROM images WHERE digest = ?", (digest,))]
        if not here:
            statement = "INSERT OR IGNORE INTO kept_tags (digest, label, created_at) VALUES (?, ?, ?)"
            new += connection.execute(statement, (digest, label, at)).rowcount
        for image_id in here:
            new += TagWriter(extras).write(connection, image_id, [TagGiven(label=label, score=None, model=None, at=at)])
    return new
