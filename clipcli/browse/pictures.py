"""One picture of the library: what is known of it, and the picture itself for looking at. By id, never by path."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

from clipcli.browse.answers import NOT_A_PICTURE, NOT_FOUND, Refusal
from clipcli.browse.columns import shown_name
from clipcli.errors import ImageError
from clipcli.library.roots import read_roots
from clipcli.library.stored_paths import absolute, from_stored
from clipcli.library.tags import BY_HAND
from clipcli.photos.formats import HEAD_BYTES, identify
from clipcli.photos.thumbnails import LONGEST_SIDE
from clipcli.render.text import printable

if TYPE_CHECKING:
    from clipcli.browse.makers import Makers
    from clipcli.browse.model_in_use import ModelInUse
    from clipcli.library.store import Library

__all__ = ["Place", "Viewable", "describe", "place_of", "viewable"]

_MOST_COPIES = 100
# What browsers show as it is, and turn upright by themselves where it says so.
_AS_IT_IS = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
_TURNED_BY_BROWSERS = frozenset(("JPEG",))


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a picture's file should be, and its content when it was indexed. `orientation` as in its metadata."""

    id: int
    path: bytes
    digest: str
    orientation: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewable:
    """An open file of `size` bytes that a browser shows. Whoever gets it closes it."""

    file: IO[bytes]
    size: int
    media_type: str


def place_of(library: Library, image_id: int) -> Place:
    """Raises Refusal for an id that is not in the library."""
    with library.read() as connection:
        row = connection.execute(
            "SELECT root_id, path, digest, orientation FROM images WHERE id = ?", (image_id,)
        ).fetchone()
        if row is None:
            raise Refusal(*NOT_FOUND, f"the library has no picture with the id {image_id}")
        roots = {root.id: root.path for root in read_roots(library)}
    root_id, path, digest, orientation = row
    return Place(
        id=image_id,
        path=absolute(roots[root_id], from_stored(path)),
        digest=digest,
        orientation=orientation,
    )


def describe(library: Library, image_id: int, using: ModelInUse | None) -> dict[str, object]:
    """Everything that is known of a picture. All texts are safe to show, but none is HTML."""
    with library.read() as connection:
        place = place_of(library, image_id)
        (width, height, form, size, mtime_ns, taken_at, taken_from, camera, lens, north, east, stale, added_at) = (
            connection.execute(
                "SELECT width, height, format, size, mtime_ns, taken_at, taken_from, camera, lens, latitude, "
                "longitude, stale, added_at FROM images WHERE id = ?",
                (image_id,),
            ).fetchone()
        )
        tags = connection.execute(
            f"SELECT label, {BY_HAND}, score, models.name FROM tags LEFT JOIN models ON models.id = tags.model_id "
            f"WHERE image_id = ? ORDER BY NOT ({BY_HAND}), score IS NULL, score DESC, label",
            (image_id,),
        ).fetchall()
        copies = connection.execute(
            "SELECT id, root_id, path FROM images WHERE digest = ? AND id <> ? ORDER BY id LIMIT ?",
            (place.digest, image_id, _MOST_COPIES),
        ).fetchall()
        roots = {root.id: root.path for root in read_roots(library)}
        vector = connection.execute(
            "SELECT 1 FROM embeddings JOIN models ON models.id = embeddings.model_id "
            "WHERE image_id = ? AND models.identity = ? AND models.precision = ?",
            (image_id, *(("", "") if using is None else (using.model.identity, using.stored_precision))),
        ).fetchone()
    folder = os.fsdecode(os.path.dirname(place.path))
    return {
        "id": image_id,
        "name": shown_name(place.path),
        "path": printable(os.fsdecode(place.path)),
        "folder": folder,
        "folder_shown": printable(folder),
        "width": width,
        "height": height,
        "format": form,
        "bytes": size,
        "modified": datetime.fromtimestamp(mtime_ns / 1e9, UTC).isoformat(timespec="seconds"),
        "taken_at": taken_at,
        "taken_from": taken_from,
        "camera": None if camera is None else printable(camera),
        "lens": None if lens is None else printable(lens),
        "latitude": north,
        "longitude": east,
        "stale": bool(stale),
        "present": os.path.isfile(place.path),
        "added_at": added_at,
        "tags": [
            {"label": label, "by_person": bool(by_hand), "score": score, "model": name}
            for label, by_hand, score, name in tags
        ],
        "copies": [_copy(number, absolute(roots[root], from_stored(path))) for number, root, path in copies],
        "vector": vector is not None,
    }


def _copy(image_id: int, path: bytes) -> dict[str, object]:
    return {
        "id": image_id,
        "name": shown_name(path),
        "folder": printable(os.fsdecode(os.path.dirname(path))),
        "path": printable(os.fsdecode(path)),
    }


def viewable(place: Place, makers: Makers, *, original: bool) -> Viewable:
    """The picture for the browser: its own bytes where those can be shown, else a JPEG, upright.

    Without `original` a converted one has at most 4,096 pixels on its longer side. Raises Refusal.
    """
    try:
        if not os.path.isfile(place.path):  # a pipe in its place would be waited for without end
            raise Refusal(*NOT_FOUND, "the file is not there")
        file = open(place.path, "rb")  # noqa: SIM115 - it is handed on
    except OSError as error:
        raise Refusal(*NOT_FOUND, "the file is not there") from error
    try:
        # By content and by nothing else: what lies there now may be another file than the one that was indexed.
        form = identify(file.read(HEAD_BYTES))
        if form in _AS_IT_IS and (place.orientation == 1 or form in _TURNED_BY_BROWSERS):
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            return Viewable(file=file, size=size, media_type=_AS_IT_IS[form])
    except BaseException:
        file.close()
        raise
    file.close()
    try:
        made = makers.make(place.path, long_side=None if original else LONGEST_SIDE, quality=90)
    except ImageError as error:
        status = NOT_FOUND if error.reason == "missing" else NOT_A_PICTURE
        raise Refusal(*status, str(error)) from error
    kept = tempfile.TemporaryFile()  # noqa: SIM115 - on disk, not in memory, for as long as it takes to be fetched
    kept.write(made.jpeg)
    kept.seek(0)
    return Viewable(file=kept, size=len(made.jpeg), media_type="image/jpeg")
