"""Deleting the copies of pictures from the disk, each only after a look at the files themselves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from clipcli.library.duplicates import Copy, Group
from clipcli.library.kept_tags import drop_kept, hand_over
from clipcli.library.store import Library

__all__ = ["Deleted", "delete_copies", "lone_sidecars"]


@dataclass(kw_only=True, slots=True)
class Deleted:
    """How many files are gone and how many bytes that freed; `refused` are those left alone, with the reason, and
    `sidecars` what lies beside the deleted ones with nothing to belong to any more.
    """

    files: int = 0
    size: int = 0
    refused: list[tuple[bytes, str]] = field(default_factory=list)
    sidecars: list[bytes] = field(default_factory=list)


def delete_copies(
    library: Library, groups: Sequence[Group], *, on_progress: Callable[[], None] = lambda: None
) -> Deleted:
    """Delete every copy of every group, for good, and take it out of the library. The caller holds the `RunLock`.

    What a person had tagged a copy with passes to the picture that is kept for it. A side-car stays: it may hold more.

    A file is deleted only while it and the one that is kept for it have the content the library knows, read just
    before, and while it is not itself a file that is kept, under another name. A group at a time: interrupted, what is
    deleted is out of the library as well. `on_progress` is called after each group.
    """
    deleted = Deleted()
    needed = {os.path.realpath(group.kept.path) for group in groups}  # behind a link that is kept
    for group in groups:
        changed = _why_not(group.kept)
        if changed is not None:
            deleted.refused += [(copy.path, f"the one to keep {changed}") for copy in group.copies]
            continue
        gone: list[Copy] = []
        try:
            for copy in group.copies:
                reason = _delete(copy, group.kept, needed)
                if reason is None:
                    gone.append(copy)
                    deleted.sidecars += lone_sidecars(copy.path)
                    deleted.files += 1
                    deleted.size += copy.size
                else:
                    deleted.refused.append((copy.path, reason))
        finally:
            with library.write() as connection:
                hand_over(connection, [copy.image_id for copy in gone], group.kept.image_id)
                connection.executemany("DELETE FROM images WHERE id = ?", [(copy.image_id,) for copy in gone])
                drop_kept(connection, {copy.digest for copy in gone})
        on_progress()
    return deleted


def lone_sidecars(path: bytes) -> list[bytes]:
    """The XMP files beside a picture that belong to no other file once it is gone."""
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0]
    found = [sidecar for sidecar in (path + b".xmp", path + b".XMP") if os.path.lexists(sidecar)]
    shared = [os.path.join(folder, stem + ending) for ending in (b".xmp", b".XMP")]
    if any(os.path.lexists(sidecar) for sidecar in shared):
        others = {other for other in os.listdir(folder) if os.path.splitext(other)[0] == stem and other != name}
        if all(other.lower().endswith(b".xmp") for other in others):  # else a raw photograph of that name may need it
            found += [sidecar for sidecar in shared if os.path.lexists(sidecar)]
    return found


def _delete(copy: Copy, kept: Copy, needed: Collection[bytes]) -> str | None:
    """Delete a file, or say why it stays."""
    changed = _why_not(copy)
    if changed is not None:
        return changed
    try:
        if os.path.samefile(copy.path, kept.path) or os.path.realpath(copy.path) in needed:
            return "is the same file as one to keep"
        os.unlink(copy.path)
    except OSError as error:
        return f"cannot be deleted: {error.strerror or error}"
    return None


def _why_not(picture: Copy) -> str | None:
    """Why a file cannot be relied on to be what the library takes it for."""
    try:
        with open(picture.path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None if digest == picture.digest else "has changed since it was indexed"
