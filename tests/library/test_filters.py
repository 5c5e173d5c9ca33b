"""Filters against a plain-Python oracle, over pictures as odd as a person's folders."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipcli.errors import NotFoundError, UsageError
from clipcli.library import filters as filters_module
from clipcli.library.filters import Around, Filters, MinSize, chosen_ids, distance_km
from clipcli.library.moments import Span
from clipcli.library.search import find
from clipcli.library.store import Library
from clipcli.library.stored_paths import to_stored
from clipcli.photos import formats
from tests.library.test_search import A, fill, unit

FOLDERS = [b"", b"a", b"a b", b"a_", b"a%", b"A", b"a/inner", "größe".encode(), b"\xff", b"\xff/x", b"a0", b"a.b"]
CAMERAS = [None, "Canon EOS 5D", "NIKON D90", "Leica Größe", "canon powershot", "SONY_A7%"]
ZONES = ["", "", "Z", "+02:00", "-08:00", "+05:30", "+14:00"]
TAGS = ["dog", "Dog", "cat's", "größe", "%"]
SIZES = [(100, 50), (50, 100), (1920, 1080), (4000, 3000), (1, 1)]
FORMATS = ["JPEG", "PNG", "HEIF", "RAW"]
PLACES = [(48.86, 2.35), (48.85, 2.29), (-33.9, 151.2), (65.0, 179.9), (65.0, -179.9), (89.9, 10.0), (89.9, -170.0)]
ROOTS = [b"/photos", b"/photos2", b"/other/deep"]
COUNT = 400
HERE = timezone(timedelta(hours=3))  # what TZ below means


@dataclass
class Picture:
    id: int
    root: bytes
    path: bytes
    width: int
    height: int
    format: str
    taken_at: str | None
    taken_from: str | None
    camera: str | None
    place: tuple[float, float] | None
    tags: set[str]


def made_up() -> list[Picture]:
    chance = random.Random(4)
    pictures = []
    for number in range(1, COUNT + 1):
        folder = chance.choice(FOLDERS)
        moment = datetime(2019, 12, 30) + timedelta(hours=chance.randrange(0, 24 * 500), minutes=chance.randrange(3))
        source = chance.choice(["exif", "xmp", "file", None])
        zone = "Z" if source == "file" else chance.choice(ZONES)
        width, height = chance.choice(SIZES)
        pictures.append(
            Picture(
                id=number,
                root=chance.choice(ROOTS),
                path=(folder + b"/" if folder else b"") + b"%d.jpg" % number,
                width=width,
                height=height,
                format=chance.choice(FORMATS),
                taken_at=moment.isoformat() + zone if source else None,
                taken_from=source,
                camera=chance.choice(CAMERAS),
                place=chance.choice([None, *PLACES]),
                tags={tag for tag in TAGS if chance.random() < 0.3},
            )
        )
    return pictures


PICTURES = made_up()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """The made-up pictures, opened the way a search does, in a place three hours east of Greenwich."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "XXX-3"
    time.tzset()
    path = tmp_path_factory.mktemp("filters") / "library.db"
    with Library.open(path, write=True, create=True) as opened:
        fill(opened, unit(COUNT))
        with opened.write() as connection:
            roots = {ROOTS[0]: 1}
            for number, root in enumerate(ROOTS[1:], start=2):
                connection.execute("INSERT INTO roots (id, path) VALUES (?, ?)", (number, to_stored(root)))
                roots[root] = number
            for each in PICTURES:
                latitude, longitude = each.place or (None, None)
                connection.execute(
                    "UPDATE images SET root_id = ?, path = ?, width = ?, height = ?, format = ?, taken_at = ?, "
                    "taken_from = ?, camera = ?, latitude = ?, longitude = ? WHERE id = ?",
                    (roots[each.root], to_stored(each.path), each.width, each.height, each.format, each.taken_at,
                     each.taken_from, each.camera, latitude, longitude, each.id),
                )  # fmt: skip
                connection.executemany(
                    "INSERT INTO tags (image_id, label) VALUES (?, ?)", [(each.id, t) for t in each.tags]
                )
    with Library.open(path) as opened:
        yield opened
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def is_in_time(picture: Picture, since: Span | None, until: Span | None) -> bool:
    for span in (since, until):
        if span is None:
            continue
        if picture.taken_at is None:
            return False
        taken = moment(picture.taken_at)
        if span.zone is None:
            if picture.taken_from == "file":
                taken = taken.astimezone(HERE)
            taken = taken.replace(tzinfo=None)
            start, end = span.start, span.end
        else:
            taken = taken if taken.tzinfo else taken.replace(tzinfo=span.zone)
            start, end = span.start.replace(tzinfo=span.zone), span.end.replace(tzinfo=span.zone)
        if (span is since and taken < start) or (span is until and taken >= end):
            return False
    return True


def kilometres(one: tuple[float, float], other: tuple[float, float]) -> float:
    """By the angle between vectors from the centre of the globe: another formula than the program's."""

    def vector(place: tuple[float, float]) -> np.ndarray:
        north, east = np.radians(place)
        return np.array([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])

    a, b = vector(one), vector(other)
    return 6371.0088 * math.atan2(float(np.linalg.norm(np.cross(a, b))), float(a @ b))


def passes(picture: Picture, filters: Filters) -> bool:
    full = picture.root + b"/" + picture.path
    if filters.folders and not any(full.startswith(folder.rstrip(b"/") + b"/") for folder in filters.folders):
        return False
    if not is_in_time(picture, filters.since, filters.until):
        return False
    if filters.cameras and not any(
        picture.camera and all(word.casefold() in picture.camera.casefold() for word in text.split())
        for text in filters.cameras
    ):
        return False
    if not set(filters.tags) <= picture.tags or (filters.formats and picture.format not in filters.formats):
        return False
    size = filters.min_size or MinSize()
    if picture.width < size.width or picture.height < size.height or picture.width * picture.height < size.pixels:
        return False
    if filters.around is not None:
        centre = (filters.around.latitude, filters.around.longitude)
        return picture.place is not None and kilometres(centre, picture.place) <= filters.around.km
    return True


@st.composite
def spans(draw: st.DrawFn) -> Span:
    at = datetime(2019, 12, 30) + timedelta(minutes=draw(st.integers(0, 60 * 24 * 510)))
    shape = draw(st.sampled_from(["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"]))
    zone = draw(st.sampled_from(["", "Z", "+02:00", "-0930"])) if "%H" in shape else ""
    return Span.read(at.strftime(shape) + zone)


@st.composite
def wanted(draw: st.DrawFn) -> Filters:
    folder = st.tuples(st.sampled_from(ROOTS), st.sampled_from(FOLDERS)).map(lambda pair: b"/".join(filter(None, pair)))
    place = st.builds(
        Around,
        latitude=st.sampled_from([48.86, -33.9, 65.0, 90.0, 0.0]),
        longitude=st.sampled_from([2.35, 151.2, 180.0, -180.0, 0.0]),
        km=st.sampled_from([0.5, 4.0, 12.0, 20.0, 1000.0, 11000.0, 30000.0]),
    )
    options = {
        "folders": st.lists(folder | st.sampled_from([b"/", b"/other", b"/photos"]), min_size=1, max_size=2).map(tuple),
        "since": spans(),
        "until": spans(),
        "cameras": st.sampled_from([("canon",), ("5D eos",), ("GRÖSSE",), ("größe", "nikon"), ("_",), ("%",)]),
        "around": place,
        "tags": st.lists(st.sampled_from([*TAGS, "no such"]), min_size=1, max_size=2).map(tuple),
        "formats": st.lists(st.sampled_from(["jpg", "JPEG", "heic", "raw"]), min_size=1, max_size=2).map(tuple),
        "min_size": st.sampled_from(["100x50", "1X1", "1920×1080", "2MP", "0.005mp", "12MP", "12.1MP"]).map(
            MinSize.read
        ),
    }
    names = draw(st.sets(st.sampled_from(sorted(options)), max_size=3))
    try:
        return Filters(**{name: draw(options[name]) for name in names})
    except UsageError:  # since after until
        return Filters()


def is_known(folder: bytes) -> bool:
    return any((each.root + b"/" + each.path).startswith(folder.rstrip(b"/") + b"/") for each in PICTURES)


@given(filters=wanted())
def test_the_same_pictures_as_plain_python(filters: Filters, library: Library) -> None:
    if not all(is_known(folder) or os.path.isdir(folder) for folder in filters.folders):
        with pytest.raises(NotFoundError, match="no such folder"):
            chosen_ids(library, filters)
        return
    expected = [picture.id for picture in PICTURES if passes(picture, filters)]
    assert chosen_ids(library, filters).tolist() == expected


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_by_itself(root: bytes, folder: bytes, library: Library) -> None:
    filters = Filters(folders=(b"/".join(filter(None, (root, folder))),))
    expected = [picture.id for picture in PICTURES if passes(picture, filters)]
    assert expected
    assert chosen_ids(library, filters).tolist() == expected


def test_a_folder_behind_a_link_and_one_that_holds_nothing(tmp_path: Path, library_file: Path) -> None:
    (tmp_path / "real" / "in").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with Library.open(library_file, write=True, create=True) as library:
        fill(library, unit(2))
        with library.write() as connection:
            connection.execute("UPDATE roots SET path = ?", (str(tmp_path / "real"),))
            connection.execute("UPDATE images SET path = 'in/1.png' WHERE id = 1")
        assert chosen_ids(library, Filters(folders=(os.fsencode(tmp_path / "link" / "in"),))).tolist() == [1]
        assert chosen_ids(library, Filters(folders=(os.fsencode(library_file.parent),))).tolist() == []


@given(
    one=st.tuples(st.floats(-90, 90), st.floats(-180, 180)), other=st.tuples(st.floats(-90, 90), st.floats(-180, 180))
)
def test_distances(one: tuple[float, float], other: tuple[float, float]) -> None:
    # The haversine loses digits towards the antipodes: measured 0.1 m there, 1e-9 km elsewhere.
    assert distance_km(*one, *other) == pytest.approx(kilometres(one, other), abs=1e-3)


def test_formats_are_those_pictures_are_recorded_with() -> None:
    from importlib import import_module

    recorded = {getattr(import_module(f"PIL.{module}"), name).format for module, name in formats._DECODERS.values()} | {
        "HEIF",
        formats.RAW,
    }
    assert set(filters_module._FORMATS) == recorded
    assert set(filters_module._OTHER_NAMES.values()) <= recorded


def test_filters_come_before_scores_and_results_are_brute_force(library: Library) -> None:
    values = unit(COUNT).astype(np.float64)
    query = unit(1, seed=9)[0]
    cosines = values @ (query / np.linalg.norm(query.astype(np.float64)))
    filters = Filters(formats=("jpg", "png"), where="width > height OR tags LIKE '%dog%'")
    answer = find(library, query, identity=A, k=7, filters=filters, leave_out=(PICTURES[0].id,))
    kept = [
        each.id for each in PICTURES[1:]
        if each.format in ("JPEG", "PNG") and (each.width > each.height or {"dog", "Dog"} & each.tags)
    ]  # fmt: skip
    expected = sorted(kept, key=lambda number: -cosines[number - 1])[:7]
    assert [hit.image_id for hit in answer.hits] == expected
    assert [hit.score for hit in answer.hits] == pytest.approx([cosines[number - 1] for number in expected], abs=1e-12)
    assert (answer.searched, answer.considered) == (COUNT, len(kept))
    nothing = find(library, query, identity=A, filters=Filters(tags=("no such",)))
    assert (nothing.hits, nothing.considered, nothing.best) == ([], 0, None)


@pytest.mark.parametrize(
    ("text", "start", "end", "zone"),
    [
        ("2020", "2020-01-01", "2021-01-01", None),
        ("2020-12", "2020-12-01", "2021-01-01", None),
        (" 2020-02-29 ", "2020-02-29", "2020-03-01", None),
        ("2020-02-29 23:59", "2020-02-29T23:59", "2020-03-01", None),
        ("2020-02-29t23:59:59z", "2020-02-29T23:59:59", "2020-03-01", UTC),
        ("2020-02-29T10:00-0330", "2020-02-29T10:00", "2020-02-29T10:01", timezone(-timedelta(hours=3, minutes=30))),
    ],
)
def test_dates(text: str, start: str, end: str, zone: timezone | None) -> None:
    expected = Span(start=datetime.fromisoformat(start), end=datetime.fromisoformat(end), zone=zone)
    assert Span.read(text) == expected


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((Span.read, text) for text in ("", "yesterday", "2020-13", "2021-02-29", "0900", "2020-1-1", "20-01-01")),
        *((Span.read, text) for text in ("2020-01-01 25:00", "2020-01-01 10:00+15:00", "2020-01-01Z")),
        *((Around.read, text) for text in ("", "1,2", "1,2,3,4", "91,0,1", "0,181,1", "0,0,0", "0,0,nan", "nan,0,1")),
        *((MinSize.read, text) for text in ("", "12", "x", "10x", "-1x5", "MP", "1e3MP")),
        (lambda text: Filters(formats=(text,)), "xyz"),
        (lambda text: Filters(folders=(text.encode(),)), "relative"),
        (lambda text: Filters(cameras=(text,)), " "),
        (lambda text: Filters(since=Span.read("2021"), until=Span.read(text)), "2020"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(read: object, text: str) -> None:
    with pytest.raises(UsageError):
        read(text)  # type: ignore[operator]
