"""Which pictures a search looks at, decided from what the library knows of them before anything is scored."""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.errors import NotFoundError, UsageError
from clipcli.library.known_files import place_condition
from clipcli.library.moments import Span, date_conditions
from clipcli.library.roots import contains, read_roots, relative_to
from clipcli.library.store import Library
from clipcli.library.stored_paths import range_below, to_stored
from clipcli.library.where import ids_where

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Around", "Filters", "MinSize", "chosen_ids", "distance_km"]

EARTH_RADIUS_KM = 6371.0088  # mean radius of GRS 80; the sphere is at most 0.6 % off
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "HEIF", "JPEG2000", "PPM", "ICO", "TGA", "QOI", "RAW")
_OTHER_NAMES = {"JPG": "JPEG", "TIF": "TIFF", "HEIC": "HEIF", "JP2": "JPEG2000", "PGM": "PPM", "PBM": "PPM"}

Condition = tuple[str, list[object]]
Place = tuple[int, bytes]  # a root, and a folder below it


@dataclass(frozen=True, kw_only=True, slots=True)
class Around:
    """A circle on the globe: degrees north and east, and kilometres."""

    latitude: float
    longitude: float
    km: float

    def __post_init__(self) -> None:
        if not (-90 <= self.latitude <= 90 and -180 <= self.longitude <= 180):
            raise UsageError(f"{self.latitude:g},{self.longitude:g} is no place: latitudes go to 90, longitudes to 180")
        if not (math.isfinite(self.km) and self.km > 0):
            raise UsageError(f"a distance in kilometres is above zero, not {self.km:g}")

    @classmethod
    def read(cls, text: str) -> Around:
        """`48.86,2.35,10`. Raises UsageError."""
        try:
            latitude, longitude, km = (float(part) for part in text.split(","))
        except ValueError:
            raise UsageError(f"{text!r} is no LAT,LON,KM such as 48.86,2.35,10") from None
        return cls(latitude=latitude, longitude=longitude, km=km)


@dataclass(frozen=True, kw_only=True, slots=True)
class MinSize:
    """At least so many pixels across, down, and in all; upright."""

    width: int = 0
    height: int = 0
    pixels: int = 0

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.pixels) < 0:
            raise UsageError("a picture's size is not below zero")

    @classmethod
    def read(cls, text: str) -> MinSize:
        """`1920x1080`, or megapixels: `12MP`. Raises UsageError."""
        if match := re.fullmatch(r"\s*(\d{1,9})\s*[x×*]\s*(\d{1,9})\s*", text, re.IGNORECASE):
            return cls(width=int(match[1]), height=int(match[2]))
        if match := re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*MP\s*", text, re.IGNORECASE):
            return cls(pixels=math.ceil(round(float(match[1]) * 1e6, 3)))
        raise UsageError(f"{text!r} is no size: write 1920x1080 in pixels, or 12MP for megapixels")


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """What a picture has to be to count. Of `folders` and `formats` one is enough, of `cameras` too; of `tags` all.

    `folders` are absolute. A camera fits where every word of the text stands in its name, large or small. Tags are
    compared exactly. `where` is an SQL expression over the columns of the view `pictures`.
    """

    folders: tuple[bytes, ...] = ()
    since: Span | None = None
    until: Span | None = None
    cameras: tuple[str, ...] = ()
    around: Around | None = None
    tags: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    min_size: MinSize | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        for folder in self.folders:
            if not os.path.isabs(folder):
                raise UsageError(f"a folder to search in has to be absolute, not {os.fsdecode(folder)}")
        if any(not camera.strip() for camera in self.cameras) or any(not tag for tag in self.tags):
            raise UsageError("a camera or a tag to filter by cannot be empty")
        named = tuple(_OTHER_NAMES.get(name.upper(), name.upper()) for name in self.formats)
        if unknown := [given for given, name in zip(self.formats, named, strict=True) if name not in _FORMATS]:
            raise UsageError(f"no format is called {unknown[0]!r}; there are {', '.join(_FORMATS).lower()}")
        object.__setattr__(self, "formats", named)
        since, until = self.since, self.until
        if since is not None and until is not None and since.zone == until.zone and since.start >= until.end:
            raise UsageError(f"no date is both {since.start} or later and before {until.end}")

    def __bool__(self) -> bool:
        """Whether anything is asked for at all."""
        return self != Filters()


def chosen_ids(library: Library, filters: Filters) -> NDArray[np.int64]:
    """Ids, ascending, of the pictures that pass every filter. Nothing is written.

    Raises NotFoundError for a folder that is neither on the disk nor in the library, UsageError for an SQL expression
    that makes no sense or wants more than to read.
    """
    import numpy as np

    from clipcli.library.columns import known_columns
    from clipcli.library.picking import Question, ids_that_pass

    with library.read() as connection:
        if filters.around is not None:
            connection.create_function("clip_distance_km", 4, distance_km, deterministic=True)
        places = _places(library, filters.folders) if filters.folders else None
        cameras = _cameras(library, filters.cameras) if filters.cameras else None
        columns = known_columns(library)
        ids = None
        if columns is not None:
            question = Question(
                places=places,
                formats=filters.formats,
                cameras=cameras,
                min_size=filters.min_size,
                since=filters.since,
                until=filters.until,
            )
            ids = ids_that_pass(connection, columns, question)
        rest = list(_rare_conditions(filters))
        if ids is None:
            ids = _ids(connection, [*_common_conditions(filters, places, cameras), *rest])
        elif rest:
            ids = np.intersect1d(ids, _ids(connection, rest), assume_unique=True)
        if filters.where is None:
            return ids
        return np.intersect1d(ids, np.array(ids_where(library, filters.where), dtype=np.int64), assume_unique=True)


def _ids(connection: sqlite3.Connection, conditions: list[Condition]) -> NDArray[np.int64]:
    """Ascending ids of the pictures for which all conditions hold."""
    import numpy as np

    text = " AND ".join(f"({condition})" for condition, _ in conditions) or "1"
    values = [value for _, each in conditions for value in each]
    # One value instead of a row each: a hundred thousand ids in half the time.
    (found,) = connection.execute(f"SELECT json_group_array(id) FROM images WHERE {text}", values).fetchone()
    return np.sort(np.array(json.loads(found), dtype=np.int64))


def distance_km(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Along the globe's surface, by the haversine formula (Sinnott 1984): exact enough for neighbours and antipodes."""
    north, other_north = math.radians(latitude), math.radians(other_latitude)
    half = math.sin((other_north - north) / 2) ** 2
    half += math.cos(north) * math.cos(other_north) * math.sin(math.radians(other_longitude - longitude) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(half)))


def _common_conditions(filters: Filters, places: list[Place] | None, cameras: list[str] | None) -> Iterable[Condition]:
    """The cheap ones first: SQLite goes through them in order and stops at the first that fails."""
    if places is not None:
        below = [place_condition("images.path", place) for _, place in places]
        text = " OR ".join(f"(images.root_id = ? AND {condition})" for condition, _ in below) or "0"
        yield text, [value for (root, _), (_, these) in zip(places, below, strict=True) for value in (root, *these)]
    if filters.formats:
        yield _one_of("images.format", filters.formats)
    if filters.min_size is not None:
        least = filters.min_size
        yield (
            "images.width >= ? AND images.height >= ? AND images.width * images.height >= ?",
            [least.width, least.height, least.pixels],
        )
    yield from date_conditions(filters.since, filters.until)
    if cameras is not None:
        yield _one_of("images.camera", cameras)


def _rare_conditions(filters: Filters) -> Iterable[Condition]:
    """Those that no column of `columns.py` can answer."""
    for tag in filters.tags:
        yield "images.id IN (SELECT image_id FROM tags WHERE label = ?)", [tag]
    if filters.around is not None:
        place = filters.around
        band = math.degrees(place.km / EARTH_RADIUS_KM) * (1 + 1e-9)  # no place outside it can be near enough
        yield (
            "images.latitude BETWEEN ? AND ? AND clip_distance_km(images.latitude, images.longitude, ?, ?) <= ?",
            [place.latitude - band, place.latitude + band, place.latitude, place.longitude, place.km],
        )


def _one_of(column: str, values: Iterable[str]) -> Condition:
    return f"{column} IN (SELECT value FROM json_each(?))", [json.dumps(list(values))]


def _cameras(library: Library, wanted: Iterable[str]) -> list[str]:
    """The library's cameras that fit; decided here because SQLite knows the letters of English only."""
    with library.read() as connection:
        names = [row[0] for row in connection.execute("SELECT DISTINCT camera FROM images WHERE camera IS NOT NULL")]
    asked = [text.casefold().split() for text in wanted]
    return [name for name in names if any(all(word in name.casefold() for word in words) for words in asked)]


def _places(library: Library, folders: Iterable[bytes]) -> list[Place]:
    """Roots and what of each is meant (empty: all). Compared as bytes, not as patterns: a folder may be called `_`."""
    places: dict[Place, None] = {}
    roots = [(root.id, root.path) for root in read_roots(library) if root.id is not None]
    for folder in folders:
        known = False
        for path in dict.fromkeys((os.path.realpath(folder), os.path.normpath(folder))):
            for root_id, root in roots:
                below = None
                if contains(path, root):
                    below = b""  # all of the root
                elif contains(root, path):
                    below = relative_to(path, root)
                if below is not None:
                    places[root_id, below] = None
                    known = known or not below or _any(library, root_id, below)
        if not known and not os.path.isdir(folder):
            raise NotFoundError(f"no such folder, on the disk or in the library: {os.fsdecode(folder)}")
    return list(places)


def _any(library: Library, root_id: int, below: bytes) -> bool:
    """Whether there is a picture. Three questions to the index; of one with OR, SQLite goes through the whole root."""
    first, end = range_below(below)
    questions = (
        ("path = ?", (to_stored(below),)),
        ("path >= ? AND path < ?", (to_stored(first), to_stored(end))),
        ("path >= ? AND path < ?", (first, end)),
    )
    with library.read() as connection:
        for condition, values in questions:
            text = f"SELECT 1 FROM images WHERE root_id = ? AND {condition} LIMIT 1"
            if connection.execute(text, (root_id, *values)).fetchone() is not None:
                return True
    return False
