"""A person's tags of pictures that are gone. They cannot be computed again, and a disk or a folder may come back.

Triggers keep them by the content of the file, whatever removes a picture, and give them to every picture of that
content that comes in. Here is what is left to do: counting, handing over, and letting go.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable

from clipcli.library.tags import BY_HAND

__all__ = ["are_kept", "count_by_hand", "drop_kept", "hand_over"]

_IN = "IN (SELECT value FROM json_each(?))"


def are_kept(connection: sqlite3.Connection, digest: str) -> bool:
    """Whether tags are kept for this content."""
    return connection.execute("SELECT 1 FROM kept_tags WHERE digest = ?", (digest,)).fetchone() is not None


def count_by_hand(connection: sqlite3.Connection, image_ids: Iterable[int]) -> int:
    """How many tags of a person these pictures carry."""
    (count,) = connection.execute(
        f"SELECT count(*) FROM tags WHERE image_id {_IN} AND {BY_HAND}", (json.dumps(list(image_ids)),)
    ).fetchone()
    return int(count)


def drop_kept(connection: sqlite3.Connection, digests: Iterable[str]) -> None:
    """Keep nothing any longer for these contents: they are back, or were taken out on purpose."""
    connection.execute(f"DELETE FROM kept_tags WHERE digest {_IN}", (json.dumps(list(digests)),))


def hand_over(connection: sqlite3.Connection, image_ids: Iterable[int], heir: int) -> None:
    """Give a person's tags of pictures that are about to go to the one that stays for them."""
    connection.execute(
        f"INSERT INTO tags (image_id, label, created_at) SELECT ?, label, min(created_at) FROM tags "
        f"WHERE image_id {_IN} AND {BY_HAND} GROUP BY label "
        "ON CONFLICT (image_id, label) DO UPDATE SET score = NULL, model_id = NULL, created_at = excluded.created_at "
        f"WHERE NOT ({BY_HAND})",
        (heir, json.dumps(list(image_ids))),
    )
