"""All the library knows of single pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from clipcli.library.known_files import has_frames
from clipcli.library.roots import read_roots
from clipcli.library.store import Library
from clipcli.library.stored_paths import absolute, from_stored
from clipcli.library.tag_selection import Selection, Tag, selected_tags

__all__ = ["Picture", "Vector", "pictures_shown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Vector:
    """An embedding: by which model, whether it is of the file's present content, and the mean of how many frames."""

    model: str
    precision: str
    current: bool
    frames: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """`path` is absolute, `size` in bytes. What is not known is None; `stale`: the file could not be read lately."""

    image_id: int
    path: bytes
    size: int
    digest: str
    width: int
    height: int
    format: str
    orientation: int
    taken_at: str | None
    taken_from: str | None
    camera: str | None
    lens: str | None
    latitude: float | None
    longitude: float | None
    frames: int | None
    truncated: bool
    stale: bool
    tags: tuple[Tag, ...]
    vectors: tuple[Vector, ...]


def pictures_shown(library: Library, image_ids: Sequence[int]) -> list[Picture]:
    """Those of the pictures that are in the library, by id."""
    ids = json.dumps([int(number) for number in image_ids])
    chosen = "(SELECT value FROM json_each(?))"
    with library.read() as connection:
        later = has_frames(connection)  # else an older library that may only be read
        roots = {root.id: root.path for root in read_roots(library)}
        vectors: dict[int, list[Vector]] = {}
        for image_id, model, precision, current, frames in connection.execute(
            f"SELECT image_id, name, precision, embeddings.digest = images.digest, "
            f"{'embeddings.frames' if later else '1'} FROM embeddings JOIN models ON models.id = model_id "
            f"JOIN images ON images.id = image_id WHERE image_id IN {chosen} ORDER BY image_id, model_id",
            (ids,),
        ):
            one = Vector(model=model, precision=precision, current=bool(current), frames=frames)
            vectors.setdefault(image_id, []).append(one)
        tags: dict[int, list[Tag]] = {}
        for tag in selected_tags(library, Selection(image_ids=image_ids)):
            tags.setdefault(tag.image_id, []).append(tag)
        rows = connection.execute(
            "SELECT id, root_id, path, size, digest, width, height, format, orientation, taken_at, taken_from, camera, "
            f"lens, latitude, longitude, stale, {'frames, truncated' if later else 'NULL, 0'} FROM images "
            f"WHERE id IN {chosen} ORDER BY id",
            (ids,),
        ).fetchall()
    return [
        Picture(
            image_id=row[0],
            path=absolute(roots[row[1]], from_stored(row[2])),
            size=row[3],
            digest=row[4],
            width=row[5],
            height=row[6],
            format=row[7],
            orientation=row[8],
            taken_at=row[9],
            taken_from=row[10],
            camera=row[11],
            lens=row[12],
            latitude=row[13],
            longitude=row[14],
            stale=bool(row[15]),
            frames=row[16],
            truncated=bool(row[17]),
            tags=tuple(tags.get(row[0], ())),
            vectors=tuple(vectors.get(row[0], ())),
        )
        for row in rows
    ]
