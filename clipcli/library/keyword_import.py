"""Keywords that other programs have written, in side-cars or in the pictures themselves, taken as a person's tags.

In a picture they stand in an XMP packet, which is looked for at the beginning and the end of the file without decoding
it (XMP specification part 3, "packet scanning"). Nothing but `dc:subject` is read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from clipcli.errors import UsageError
from clipcli.library.search import paths_of
from clipcli.library.sidecars import SidecarError, sidecar_labels
from clipcli.library.store import Library
from clipcli.library.tags import add_tags, checked_label, tags_of
from clipcli.photos.companions import companions

__all__ = ["Keywords", "import_keywords", "keywords_of"]

_IDS_AT_ONCE = 2000
_MAX_BYTES, _MAX_PACKET = 64_000_000, 4_000_000
_AT_BEGINNING, _AT_END = 1 << 19, 1 << 17
_PACKET = b"<x:xmpmeta", b"</x:xmpmeta>"


@dataclass(kw_only=True, slots=True)
class Keywords:
    """`tags` are new, by label how many pictures got it. `refused` are side-cars that cannot be understood, and why."""

    pictures: int = 0
    tags: dict[str, int] = field(default_factory=dict)
    refused: list[tuple[bytes, str]] = field(default_factory=list)


def import_keywords(
    library: Library,
    image_ids: Sequence[int] | None,
    *,
    dry_run: bool = False,
    on_progress: Callable[[], None] = lambda: None,
) -> Keywords:
    """Tag pictures (None: all) with what they lack of their keywords; tags that they carry stay as they are.

    The library is open for writing unless `dry_run`. `on_progress` is called for each picture.
    """
    result = Keywords()
    if image_ids is None:
        with library.read() as connection:
            image_ids = [number for (number,) in connection.execute("SELECT id FROM images ORDER BY id")]
    for start in range(0, len(image_ids), _IDS_AT_ONCE):
        part = image_ids[start : start + _IDS_AT_ONCE]
        with library.read():
            paths, known = paths_of(library, part), tags_of(library, part)
        wanted: dict[str, list[int]] = {}
        for image_id, path in paths.items():
            on_progress()
            new = set(keywords_of(path, result.refused)).difference(known[image_id])
            result.pictures += bool(new)
            for label in new:
                wanted.setdefault(label, []).append(image_id)
        for label, ids in wanted.items():
            result.tags[label] = result.tags.get(label, 0) + (len(ids) if dry_run else add_tags(library, ids, label))
    return result


def keywords_of(picture: bytes, refused: list[tuple[bytes, str]]) -> list[str]:
    """Those of its side-cars first. A side-car that cannot be understood goes to `refused`."""
    found: dict[str, None] = {}
    for path, ending in companions(picture):
        if ending.lower().endswith(b".xmp"):
            try:
                with open(path, "rb") as file:
                    found.update(dict.fromkeys(sidecar_labels(file.read(_MAX_BYTES))))
            except (SidecarError, OSError) as error:
                refused.append((path, (error.strerror if isinstance(error, OSError) else None) or str(error)))
    with contextlib.suppress(SidecarError, OSError):  # a picture need not have any, and need not be there
        found.update(dict.fromkeys(sidecar_labels(_packet(picture))))
    labels = []
    for label in found:
        try:
            labels.append(checked_label(label))
        except UsageError:  # an empty one, or one of several lines
            continue
    return labels


def _packet(picture: bytes) -> bytes:
    """The first packet in a file, empty where there is none where one is looked for."""
    with open(picture, "rb") as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        data = file.read(_AT_BEGINNING)
        if _PACKET[0] not in data and size > len(data):
            at = file.seek(max(len(data) - len(_PACKET[0]), size - _AT_END))
            data = file.read(_AT_END)
        begin = data.find(_PACKET[0])
        if begin < 0:
            return b""
        file.seek(at + begin)
        data = file.read(_MAX_PACKET)
    return data[: data.find(_PACKET[1]) + len(_PACKET[1])] if _PACKET[1] in data else b""
