"""Paths of any bytes through everything that takes or gives one: nothing is folded, decoded, or taken for a pattern."""

from __future__ import annotations

import os
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcli.errors import NotFoundError
from clipcli.library.filters import Filters, chosen_ids
from clipcli.library.forgetting import forget
from clipcli.library.pictures import image_at, images_at
from clipcli.library.relocation import relocate
from clipcli.library.roots import add_root, contains
from clipcli.library.search import paths_of
from clipcli.library.store import Library
from clipcli.library.stored_paths import to_stored
from clipcli.library.tag_selection import Selection, selected_tags

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are any bytes")

# Names that some part of a program might take for the same, for a pattern, for an option, or for no text at all.
ODD = [
    b"a", b"A", b"a%", b"a_", b"a*", b"a?", b"[a]", b"a b", b" a", b"a ", b"a.", b"a0", b"-a", b"id:1", b"'", b'"',
    b"\\", b"a\nb", b"\x1b[2J", b"\xff", b"\xff\xfe", b"\xc3", b"SS", b"~", b"$HOME", b"%41", b"{}", b"?", b";--",
    *(name.encode() for name in ("é", "e\u0301", "É", "ß", "ſ", "İ", "i\u0307", "日本", "\u202e")),
]  # fmt: skip
PART = st.sampled_from(ODD) | st.binary(min_size=1, max_size=4).map(
    lambda part: part.replace(b"\0", b"0").replace(b"/", b"1")
).filter(lambda part: part not in (b".", b".."))
BELOW = st.lists(PART, min_size=1, max_size=3).map(b"/".join)


def without_folders_that_are_files(paths: set[bytes]) -> list[bytes]:
    """As on a disk: what is a picture is no folder."""
    return sorted(path for path in paths if not any(other.startswith(path + b"/") for other in paths))


PLACES = st.tuples(
    st.lists(PART, min_size=1, max_size=2, unique=True), st.sets(BELOW, min_size=1, max_size=8)
).map(lambda drawn: (drawn[0], without_folders_that_are_files(drawn[1])))  # fmt: skip


@contextmanager
def filled(names: list[bytes], below: list[bytes]) -> Iterator[tuple[Library, dict[int, bytes], bytes]]:
    """A library with a root for each name, and the same pictures in each; the paths by id."""
    with tempfile.TemporaryDirectory() as folder:
        top = os.path.realpath(os.fsencode(folder))
        with Library.open(Path(folder) / "library.db", write=True, create=True) as library:
            paths: dict[int, bytes] = {}
            with library.write() as connection:
                for name in names:
                    root = os.path.join(top, name)
                    root_id = add_root(library, connection, root)
                    for path in below:
                        (image_id,) = connection.execute(
                            "INSERT INTO images (root_id, path, size, mtime_ns, digest, width, height, format) "
                            "VALUES (?, ?, 1, 1, 'd', 1, 1, 'PNG') RETURNING id",
                            (root_id, to_stored(path)),
                        ).fetchone()
                        paths[image_id] = os.path.join(root, path)
            yield library, paths, top


def ids(library: Library) -> set[int]:
    return {number for (number,) in library.connection.execute("SELECT id FROM images")}


@settings(max_examples=15)
@given(place=PLACES)
def test_a_path_leads_to_its_picture_and_back(place: tuple[list[bytes], list[bytes]]) -> None:
    with filled(*place) as (library, paths, _):
        assert paths_of(library, paths) == paths
        assert images_at(library, paths.values()) == list(paths)
        for number, path in paths.items():
            for other in (path + b"x", path[:-1], path.swapcase(), path.replace(b"%", b"_"), path + b"/"):
                found = image_at(library, other)
                assert found is None or paths[found] == os.path.abspath(other)
            text = path.decode("utf-8", "surrogateescape")
            for form in ("NFC", "NFD"):
                other = unicodedata.normalize(form, text).encode("utf-8", "surrogateescape")
                found = image_at(library, other)
                assert (found == number) == (other == path)
        with library.write() as connection:
            connection.execute("INSERT INTO tags (image_id, label) SELECT id, 'x' FROM images")
        assert {tag.image_id: tag.path for tag in selected_tags(library, Selection())} == paths


@settings(max_examples=12)
@given(place=PLACES, pick=st.integers(0, 99))
def test_a_folder_is_what_lies_below_it(place: tuple[list[bytes], list[bytes]], pick: int) -> None:
    with filled(*place) as (library, paths, top):
        folders = {folder for path in paths.values() for folder in above(path, top)}
        folder = sorted(folders)[pick % len(folders)]
        meant = {number for number, path in paths.items() if contains(folder, path)}
        assert set(chosen_ids(library, Filters(folders=(folder,))).tolist()) == meant
        forget(library, [folder])
        assert ids(library) == set(paths) - meant
        with pytest.raises(NotFoundError):
            forget(library, [folder])


@settings(max_examples=8)
@given(place=PLACES, pick=st.integers(0, 99))
def test_a_single_picture_is_forgotten_alone(place: tuple[list[bytes], list[bytes]], pick: int) -> None:
    with filled(*place) as (library, paths, _):
        number = sorted(paths)[pick % len(paths)]
        forget(library, [paths[number]])
        assert ids(library) == set(paths) - {number}


@settings(max_examples=8)
@given(place=PLACES, new=PART)
def test_a_moved_folder_takes_its_pictures_along(place: tuple[list[bytes], list[bytes]], new: bytes) -> None:
    with filled(*place) as (library, paths, top):
        old = os.path.join(top, place[0][0])
        target = os.path.join(top, b"moved", new)
        for path in paths.values():
            if contains(old, path):
                there = os.path.join(target, path[len(old) + 1 :])
                os.makedirs(os.path.dirname(there), exist_ok=True)
                open(there, "wb").close()
        relocate(library, old, target)
        assert paths_of(library, paths) == {
            number: target + path[len(old) :] if contains(old, path) else path for number, path in paths.items()
        }


def above(path: bytes, top: bytes) -> Iterator[bytes]:
    while (path := os.path.dirname(path)) != top:
        yield path
