"""The library follows single files to where they are now, so that none is embedded again."""

from __future__ import annotations

import os

from clipcli.library.roots import add_root, contains, read_roots, relative_to
from clipcli.library.store import Library
from clipcli.library.stored_paths import to_stored

__all__ = ["follow", "root_above"]


def root_above(library: Library, path: bytes) -> bytes | None:
    """The deepest root that is the folder or holds it."""
    holding = [root.path for root in read_roots(library) if contains(root.path, path)]
    return max(holding, key=len, default=None)


def follow(library: Library, image_id: int, before: os.stat_result, now: bytes) -> bool:
    """The picture is at `now` from here on; False where the library has it no more, or another one is there.

    `before` is the file's state before it moved: where that is what the library knows, so is the new one, and the next
    `clip embed` does not open it. A file in no root gets its folder as one.
    """
    folder = os.path.dirname(now)
    with library.write() as connection:
        if not connection.execute("SELECT 1 FROM images WHERE id = ?", (image_id,)).fetchone():
            return False
        root = root_above(library, folder)
        if root is None:
            root = folder
        root_id = add_root(library, connection, root)
        path = to_stored(relative_to(now, root))
        if connection.execute(
            "SELECT 1 FROM images WHERE root_id = ? AND path = ? AND id <> ?", (root_id, path, image_id)
        ).fetchone():
            return False
        after = os.stat(now)
        connection.execute(
            "UPDATE images SET root_id = ?, path = ?, updated_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') WHERE id = ?",
            (root_id, path, image_id),
        )
        connection.execute(
            "UPDATE images SET size = ?, mtime_ns = ? WHERE id = ? AND size = ? AND mtime_ns = ?",
            (after.st_size, after.st_mtime_ns, image_id, before.st_size, before.st_mtime_ns),
        )
        return True
