"""Tags: words that pictures of the library carry, given by a person or by a model.

A tag without a model and without a score is a person's own. A model may give it again as often as it likes, it stays a
person's; a person who gives a tag that a model gave makes it their own. The score of a model's tag is the cosine of
picture and label: it says the same whatever other labels were asked about at the time.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clipcli.errors import NotFoundError, UsageError
from clipcli.library.store import Library

__all__ = [
    "BY_HAND", "LabelCount", "add_tags", "checked_label", "count_labels", "labels", "remove_tags", "tags_of",
]  # fmt: skip

BY_HAND = "tags.model_id IS NULL AND tags.score IS NULL"  # of a model that the library has forgotten the score is left
_MAX_CHARACTERS = 200
_THESE = "SELECT value FROM json_each(?)"  # any number of ids as one value


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelCount:
    """How many pictures carry a label, how many of them by a person's hand, and the scores models gave it for."""

    label: str
    pictures: int
    by_hand: int
    lowest: float | None = None
    highest: float | None = None


def add_tags(
    library: Library, image_ids: Sequence[int], label: str, *, score: float | None = None, model_id: int | None = None
) -> int:
    """Tag pictures; how many tags that made or changed. Without `score` and `model_id` it is a person who does.

    The library is open for writing, and no transaction is. Raises NotFoundError for an id that is not there (nothing is
    written then), UsageError for a label that is none.
    """
    label = checked_label(label)
    if score is not None and not math.isfinite(score):
        raise UsageError(f"a score is a finite number, not {score}")
    ids = json.dumps(sorted(set(image_ids)))
    with library.write() as connection:
        missing = connection.execute(
            f"SELECT value FROM ({_THESE}) WHERE value NOT IN (SELECT id FROM images) LIMIT 1", (ids,)
        ).fetchone()
        if missing is not None:
            raise NotFoundError(f"the library has no picture with the id {missing[0]}")
        if model_id is not None and not connection.execute("SELECT 1 FROM models WHERE id = ?", (model_id,)).fetchone():
            raise NotFoundError(f"the library has no model with the id {model_id}")
        a_person = score is None and model_id is None
        # A person's tag is written over nothing; over a person's tag nothing is written.
        return connection.execute(
            f"INSERT INTO tags (image_id, label, score, model_id) SELECT value, ?, ?, ? FROM ({_THESE}) WHERE true "
            "ON CONFLICT (image_id, label) DO UPDATE SET score = excluded.score, model_id = excluded.model_id, "
            f"created_at = excluded.created_at WHERE NOT ({BY_HAND}) "
            + ("" if a_person else "AND (score IS NOT excluded.score OR model_id IS NOT excluded.model_id)"),
            (label, score, model_id, ids),
        ).rowcount


def remove_tags(library: Library, image_ids: Sequence[int], label: str) -> int:
    """Take a tag off pictures, whoever gave it; how many had it. The library is open for writing."""
    with library.write() as connection:
        return connection.execute(
            f"DELETE FROM tags WHERE label = ? AND image_id IN ({_THESE})", (label, json.dumps(list(image_ids)))
        ).rowcount


def labels(library: Library) -> list[tuple[str, int]]:
    """Every label with the number of pictures that carry it, the commonest first."""
    return [(one.label, one.pictures) for one in count_labels(library)]


def count_labels(library: Library) -> list[LabelCount]:
    """As `labels`, with who gave them."""
    with library.read() as connection:
        rows = connection.execute(
            f"SELECT label, count(*) AS pictures, sum({BY_HAND}), min(score), max(score) FROM tags "
            "GROUP BY label ORDER BY pictures DESC, label"
        ).fetchall()
    return [
        LabelCount(label=label, pictures=pictures, by_hand=by_hand, lowest=lowest, highest=highest)
        for label, pictures, by_hand, lowest, highest in rows
    ]


def tags_of(library: Library, image_ids: Iterable[int]) -> dict[int, list[str]]:
    """The labels of each picture, a person's own first, then the best score; an empty list for one without."""
    wanted = list(image_ids)
    found: dict[int, list[str]] = {image_id: [] for image_id in wanted}
    with library.read() as connection:
        for image_id, label in connection.execute(
            f"SELECT image_id, label FROM tags WHERE image_id IN ({_THESE}) "
            f"ORDER BY image_id, NOT ({BY_HAND}), score IS NULL, score DESC, label",
            (json.dumps(wanted),),
        ):
            found[image_id].append(label)
    return found


def checked_label(label: str) -> str:
    """A label without the blanks around it. Raises UsageError for one that is empty, endless, or no line of text."""
    text = label.strip()
    if not text:
        raise UsageError("a label cannot be empty")
    if len(text) > _MAX_CHARACTERS:
        raise UsageError(f"a label has at most {_MAX_CHARACTERS} characters, not {len(text):,}")
    # Control characters and halves of characters have no place in a line of text, in XML or in UTF-8.
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise UsageError(f"a label is a line of text, which {label!r} is not")
    return text
