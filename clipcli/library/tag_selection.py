"""Some of the library's tags, chosen by label, giver, score and picture: to show, to hand on, or to take away."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clipcli.errors import NotFoundError, UsageError
from clipcli.library.roots import read_roots
from clipcli.library.schema import KEPT_TAGS_SINCE
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored
from clipcli.library.tags import BY_HAND

__all__ = ["Selection", "Tag", "remove_selected", "selected_tags"]

_ROWS_AT_ONCE = 2048
_KEPT = "? OR label IN (SELECT value FROM json_each(?))"  # all of them, or those with these labels


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Everything that is given has to hold. Of `labels` one is enough. `model` is a name as the library has it; `below`
    is a score, which no tag by hand has. `image_ids` None means all pictures.
    """

    labels: tuple[str, ...] = ()
    model: str | None = None
    by_hand: bool = False
    below: float | None = None
    image_ids: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.by_hand and (self.model is not None or self.below is not None):
            raise UsageError("a tag by hand has neither a model nor a score")
        if self.below is not None and not math.isfinite(self.below):
            raise UsageError(f"a score is a finite number, not {self.below}")

    def __bool__(self) -> bool:
        """Whether anything is asked for at all."""
        return self != Selection()


@dataclass(frozen=True, kw_only=True, slots=True)
class Tag:
    """A label of a picture. Without `model` and `score` a person gave it; `path` is absolute."""

    image_id: int
    path: bytes
    label: str
    score: float | None
    model: str | None
    created_at: str


def selected_tags(library: Library, selection: Selection) -> Iterator[Tag]:
    """Picture by picture, a person's own first, then the best score. Raises NotFoundError for an unknown model."""
    condition, values = _condition(library, selection)
    with library.read() as connection:
        roots = {root.id: root.path for root in read_roots(library)}
        cursor = connection.execute(
            "SELECT tags.image_id, images.root_id, images.path, label, score, models.name, created_at FROM tags "
            "JOIN images ON images.id = tags.image_id LEFT JOIN models ON models.id = tags.model_id "
            f"WHERE {condition} ORDER BY tags.image_id, NOT ({BY_HAND}), score IS NULL, score DESC, label",
            values,
        )
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            for image_id, root_id, path, label, score, model, created_at in rows:
                yield Tag(
                    image_id=image_id,
                    path=absolute(roots[root_id], from_stored(path)),
                    label=label,
                    score=score,
                    model=model,
                    created_at=created_at,
                )


def remove_selected(library: Library, selection: Selection, *, dry_run: bool = False) -> list[tuple[str, int, int]]:
    """Take the tags away, in one transaction: labels, how many tags of each, and how many of those were by hand.

    With `dry_run` only counts; the library need not be open for writing then. Raises NotFoundError.
    """
    condition, values = _condition(library, selection)
    found, asked = f"SELECT label, {BY_HAND} AS own FROM tags WHERE {condition}", list(values)
    kept = (not selection.labels, json.dumps(selection.labels))
    of_all = selection.image_ids is None and selection.model is None and selection.below is None
    with library.read() if dry_run else library.write() as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if of_all and version >= KEPT_TAGS_SINCE:  # of every picture: of those that are gone as well
            found += f" UNION ALL SELECT label, 1 FROM kept_tags WHERE {_KEPT}"
            asked += kept
        counts = connection.execute(
            f"SELECT label, count(*), sum(own) FROM ({found}) GROUP BY label ORDER BY label", asked
        ).fetchall()
        if not dry_run:
            connection.execute(f"DELETE FROM tags WHERE {condition}", values)
            if of_all:
                connection.execute(f"DELETE FROM kept_tags WHERE {_KEPT}", kept)
    return [(label, count, by_hand) for label, count, by_hand in counts]


def _condition(library: Library, selection: Selection) -> tuple[str, list[object]]:
    parts: list[str] = []
    values: list[object] = []
    if selection.labels:
        parts.append("tags.label IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(selection.labels))
    if selection.model is not None:
        parts.append("tags.model_id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(_models_called(library, selection.model)))
    if selection.by_hand:
        parts.append(BY_HAND)
    if selection.below is not None:
        parts.append("tags.score < ?")
        values.append(selection.below)
    if selection.image_ids is not None:
        parts.append("tags.image_id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps([int(number) for number in selection.image_ids]))
    return " AND ".join(parts) or "1", values


def _models_called(library: Library, name: str) -> list[int]:
    with library.read() as connection:
        known = connection.execute("SELECT id, name, folder FROM models").fetchall()
    found = [number for number, *names in known if name in names]
    if not found:
        names = ", ".join(dict.fromkeys(row[1] for row in known)) or "none"
        raise NotFoundError(f"the library knows no model {name}; it knows {names}")
    return found
