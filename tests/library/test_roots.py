"""What the paths of a command line mean, and paths as the database keeps them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcli.errors import NotFoundError
from clipcli.library.known_rows import KnownRows
from clipcli.library.location import anchor_of, find_library
from clipcli.library.roots import Root, Target, targets
from clipcli.library.schema import migrate
from clipcli.library.stored_paths import absolute, from_stored, to_stored
from tests.library.conftest import Index


@pytest.fixture
def place(tmp_path: Path) -> bytes:
    for name in ("a/b/c", "a/d", "ab"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a/1.jpg", "a/b/2.jpg", "ab/3.jpg"):
        (tmp_path / name).touch()
    return os.fsencode(os.path.realpath(tmp_path))


def means(place: bytes, *named: bytes, roots: tuple[bytes, ...] = ()) -> dict[bytes, tuple[set[bytes], set[bytes]]]:
    known = [Root(id=number, path=place + b"/" + path) for number, path in enumerate(roots, start=1)]
    found = targets([place + b"/" + name for name in named], known)
    assert all((target.root.id is None) == (target.root not in known) for target in found)
    return {target.root.path[len(place) + 1 :]: (set(target.folders), set(target.files)) for target in found}


def test_a_folder_is_a_root_of_its_own_unless_one_holds_it(place: bytes) -> None:
    assert means(place, b"a") == {b"a": ({b""}, set())}
    assert means(place, b"a/b", roots=(b"a",)) == {b"a": ({b"b"}, set())}
    assert means(place, b"a/b", b"a") == {b"a": ({b""}, set())}
    assert means(place, b"a/b", b"a/b/c", b"a/d", roots=(b"a",)) == {b"a": ({b"b", b"d"}, set())}
    assert means(place, b"ab", roots=(b"a",)) == {b"ab": ({b""}, set())}  # a name that begins alike is another folder


def test_a_root_inside_a_named_folder_is_looked_through_as_well(place: bytes) -> None:
    assert means(place, b"a", roots=(b"a/b",)) == {b"a": ({b""}, set()), b"a/b": ({b""}, set())}
    assert means(place, b"a/b/c", roots=(b"a", b"a/b")) == {b"a/b": ({b"c"}, set())}  # the deepest counts


def test_files(place: bytes) -> None:
    assert means(place, b"a/1.jpg", b"a/b/2.jpg") == {b"a": (set(), {b"1.jpg", b"b/2.jpg"})}
    assert means(place, b"a/b/2.jpg", b"ab/3.jpg") == {b"a/b": (set(), {b"2.jpg"}), b"ab": (set(), {b"3.jpg"})}
    assert means(place, b"a/b/2.jpg", roots=(b"a",)) == {b"a": (set(), {b"b/2.jpg"})}
    assert means(place, b"a/b/2.jpg", b"a") == {b"a": ({b""}, set())}


def test_links_are_resolved_for_folders_only(place: bytes) -> None:
    os.symlink(place + b"/a", place + b"/link")
    os.symlink(place + b"/ab/3.jpg", place + b"/a/link.jpg")
    assert means(place, b"link") == {b"a": ({b""}, set())}
    assert means(place, b"link/link.jpg") == {b"a": (set(), {b"link.jpg"})}


def test_what_is_not_there(place: bytes) -> None:
    with pytest.raises(NotFoundError, match="no such file or folder"):
        means(place, b"nowhere")
    with pytest.raises(NotFoundError, match="nothing was forgotten"):
        means(place, b"a/gone", roots=(b"a",))
    os.mkfifo(place + b"/pipe")
    with pytest.raises(NotFoundError, match="neither a file nor a folder"):
        means(place, b"pipe")
    with pytest.raises(ValueError, match="absolute"):
        Root(id=1, path=b"relative")


def test_the_top_of_the_disk_can_be_a_root() -> None:
    (target,) = targets([b"/"], ())
    assert target == Target(root=Root(id=None, path=b"/"), folders=(b"",))
    assert absolute(b"/", b"a") == b"/a"
    assert absolute(b"/x", b"") == b"/x"


def test_which_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    folder = tmp_path / "photos" / "deep"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert find_library() == home / "data" / "clip" / "library.db"
    (tmp_path / "photos" / ".clip").mkdir()
    assert find_library() == home / "data" / "clip" / "library.db"  # a folder alone is no library
    (tmp_path / "photos" / ".clip" / "library.db").touch()
    assert find_library() == tmp_path / "photos" / ".clip" / "library.db"
    monkeypatch.setenv("CLIP_DB", "~/mine.db")
    assert find_library() == home / "mine.db"
    assert find_library(Path("given.db")) == folder / "given.db"
    monkeypatch.delenv("CLIP_DB")
    folder.rmdir()
    with pytest.raises(NotFoundError, match="--db"):
        find_library()


def test_a_library_in_a_clip_folder_is_anchored_beside_it(tmp_path: Path) -> None:
    assert anchor_of(tmp_path / ".clip" / "library.db") == os.fsencode(os.path.realpath(tmp_path))
    assert anchor_of(tmp_path / "library.db") is None


@given(st.binary())
def test_a_path_survives_the_database(path: bytes) -> None:
    assert from_stored(to_stored(path)) == path


PATHS = st.lists(
    st.binary(min_size=1, max_size=6).map(lambda p: p.replace(b"\0", b"0").strip(b"/") or b"x"), max_size=12
)
AWKWARD = st.sampled_from([b"a", b"a%", b"a_", b"a/b", b"A", b"\xff", b"a\xff", b"\xc3\xa9", b"a0", b"a.", b"a/b/c"])


@settings(deadline=None)
@given(paths=PATHS, more=st.lists(AWKWARD, max_size=8), folder=AWKWARD)
def test_a_folder_holds_what_begins_with_it_and_a_slash(paths: list[bytes], more: list[bytes], folder: bytes) -> None:
    """Against plain Python: no wildcard, no case, no encoding makes a difference."""
    every = {*paths, *more, *(folder + b"/" + path for path in paths)}
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    connection.execute("INSERT INTO roots (id, path) VALUES (1, '/')")
    connection.executemany(
        "INSERT INTO images (root_id, path, size, mtime_ns, digest, width, height, format) "
        "VALUES (1, ?, 0, 0, '', 1, 1, '')",
        [(to_stored(path),) for path in every],
    )
    rows = KnownRows(connection, 1, folder, model_id=None, frames=1)
    found = {path for path, _ in rows.unmet()}
    one = rows.image(folder)
    connection.close()
    assert found == {path for path in every if path == folder or path.startswith(folder + b"/")}
    assert (one is not None) == (folder in every)


def test_links_between_two_parts_of_a_root_are_passed_over_whatever_is_named(
    index: Index, photo_folder: Callable[..., Path]
) -> None:
    top = photo_folder(count=1)
    one, other = photo_folder("photos/one", count=2, seed=1), photo_folder("photos/other", count=1, seed=2)
    (one / "to the other").symlink_to(other)
    assert index(top).embedded == 4
    assert (index(one).considered, index(top).considered) == (2, 4)
