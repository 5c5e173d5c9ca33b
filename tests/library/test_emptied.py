"""A root without any of its pictures loses nothing, whatever lies in it instead."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clipcli.errors import NotFoundError
from clipcli.library import indexing
from clipcli.library.checking import check_library
from clipcli.library.emptied import emptied_roots
from clipcli.library.forgetting import forget, what_would_be_forgotten
from clipcli.library.repair import mend_library
from clipcli.library.store import Library
from tests.library.conftest import Index, rows
from tests.library.decoding_here import DecodersHere
from tests.library.test_mounts import Disks

EVERYTHING = "SELECT image_id, hex(vector) FROM embeddings ORDER BY 1"
PATHS = "SELECT path FROM images ORDER BY path"
Photos = Callable[..., Path]


@pytest.fixture(autouse=True)
def _decoding_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "Decoders", DecodersHere)


def _away(top: Path, stray: Path | str) -> Path:
    """The disk is not mounted; in the folder of its place lies one file."""
    hidden = top.with_name("elsewhere")
    top.rename(hidden)
    top.mkdir()
    if isinstance(stray, str):
        (top / stray).write_bytes(b"no picture")
    else:
        shutil.copy2(stray, top / "stray.jpg")
    return hidden


def _back(top: Path, hidden: Path) -> None:
    shutil.rmtree(top)
    hidden.rename(top)


@pytest.fixture
def stray(photo_folder: Photos) -> Path:
    return photo_folder("stray", count=1, seed=7) / "000.jpg"


@pytest.mark.parametrize("left", [".DS_Store", "Thumbs.db", "readme.txt", "a picture"])
def test_one_file_in_the_place_of_a_disk(
    left: str, index: Index, photo_folder: Photos, stray: Path, library_file: Path
) -> None:
    top = photo_folder(count=5)
    (top / "broken.jpg").write_bytes(b"\xff\xd8\xff no")
    index(top)
    before, skipped = rows(library_file, EVERYTHING), rows(library_file, "SELECT path FROM skipped")
    hidden = _away(top, stray if left == "a picture" else left)
    for _ in range(3):  # that the stray picture is known by then makes no difference
        report = index(top)
        assert (report.forgotten, report.emptied, report.absent) == (0, {os.fsencode(top): 5}, [])
        assert rows(library_file, EVERYTHING)[:5] == before
        assert rows(library_file, "SELECT path FROM skipped") == skipped
        with Library.open(library_file, write=True) as library:
            ((root, _, count),) = emptied_roots(library)
            assert (root.path, count) == (os.fsencode(top), 5)
            assert check_library(library, deep=True, on_progress=lambda *_: None) == []
            assert mend_library(library, deep=False, on_progress=lambda *_: None).found == ()
    _back(top, hidden)
    report = index(top)
    assert (report.unchanged, report.embedded, report.emptied) == (5, 0, {})
    assert report.forgotten == (left == "a picture")
    (top / "001.jpg").unlink()
    assert index(top).forgotten == 1


def test_what_came_later_is_as_any_other(index: Index, photo_folder: Photos, library_file: Path) -> None:
    top = photo_folder(count=3)
    index(top)
    for path in top.iterdir():
        path.unlink()
    later = photo_folder("photos/later", count=2, seed=9)
    assert index(top).emptied == {os.fsencode(top): 3}
    (later / "000.jpg").unlink()
    report = index(top)
    assert (report.forgotten, report.emptied) == (1, {os.fsencode(top): 3})
    (later / "001.jpg").rename(later / "1.txt")  # nothing that is known is left, old or new
    (later / "1.txt").write_bytes(b"no")
    report = index(top)
    assert (report.forgotten, report.emptied) == (0, {os.fsencode(top): 4})


def test_a_folder_put_in_order_is_there(index: Index, photo_folder: Photos, library_file: Path) -> None:
    top = photo_folder(count=4)
    index(top)
    (top / "2021").mkdir()
    for name in ("000.jpg", "001.jpg", "002.jpg"):
        (top / name).rename(top / "2021" / f"holiday-{name}")
    (top / "003.jpg").unlink()
    report = index(top)
    assert (report.recognised, report.forgotten, report.emptied) == (3, 1, {})
    assert rows(library_file, PATHS) == [f"2021/holiday-00{n}.jpg" for n in range(3)]


def test_pictures_taken_to_another_root(index: Index, photo_folder: Photos, library_file: Path) -> None:
    inbox, archive = photo_folder("inbox", count=3), photo_folder("archive", count=1, seed=5)
    index(inbox, archive)
    for path in list(inbox.iterdir()):
        path.rename(archive / f"from-{path.name}")
    (inbox / "note.txt").write_text("all taken over")
    report = index(inbox, archive)
    assert (report.recognised, report.forgotten, report.emptied) == (3, 0, {})


def test_a_folder_inside_is_forgotten_only_while_something_of_the_root_is_there(
    index: Index, photo_folder: Photos, stray: Path
) -> None:
    top = photo_folder(count=2)
    inner = photo_folder("photos/inner", count=2, seed=3)
    index(top)
    hidden = _away(inner, ".DS_Store")
    assert index(inner).forgotten == 2
    _back(inner, hidden)
    index(inner)
    for path in top.glob("*.jpg"):
        path.unlink()
    _away(inner, stray)
    report = index(inner)
    assert (report.forgotten, report.emptied) == (0, {os.fsencode(top): 2})


def test_a_disk_known_to_be_one_with_a_picture_in_its_place(
    monkeypatch: pytest.MonkeyPatch, index: Index, photo_folder: Photos, stray: Path
) -> None:
    disks = Disks()
    monkeypatch.setattr("clipcli.photos.devices.device_of", disks.device_of)
    top = photo_folder(count=1)
    disk = photo_folder("photos/usb", count=3, seed=1)
    disks.mount(disk)
    index(top)
    disks.unmount(disk)
    shutil.copy2(stray, disk / "stray.jpg")
    for _ in range(3):
        report = index(top)
        assert (report.forgotten, report.absent) == (0, [os.fsencode(disk)])
    disks.again(disk)
    report = index(top)
    assert (report.unchanged, report.absent, report.forgotten) == (4, [], 1)


def test_only_what_is_gone_is_taken_out(index: Index, photo_folder: Photos, stray: Path, library_file: Path) -> None:
    top = photo_folder(count=3)
    index(top)
    _away(top, stray)
    index(top)
    with Library.open(library_file, write=True) as library:
        (one,) = what_would_be_forgotten(library, [os.fsencode(top)], gone=True)
        assert (one.pictures, len(rows(library_file, PATHS))) == (3, 4)
        (one,) = forget(library, [os.fsencode(top)], gone=True)
        assert (one.pictures, rows(library_file, PATHS)) == (3, ["stray.jpg"])
        with pytest.raises(NotFoundError):
            forget(library, [os.fsencode(top / "nothing")], gone=True)
    report = index(top)
    assert (report.unchanged, report.emptied, report.forgotten) == (1, {}, 0)
    (top / "stray.jpg").rename(top / "stray.txt")
    (top / "stray.txt").write_bytes(b"no")
    assert index(top).emptied == {os.fsencode(top): 1}  # begins anew


def test_let_go_and_back_after_all(index: Index, photo_folder: Photos, stray: Path, library_file: Path) -> None:
    """Those that were let go show that the disk is back: the picture written meanwhile is gone like any other."""
    top = photo_folder(count=3)
    index(top)
    hidden = _away(top, stray)
    index(top)
    with Library.open(library_file, write=True) as library:
        forget(library, [os.fsencode(top)], gone=True)
    assert index(top).unchanged == 1
    _back(top, hidden)
    with Library.open(library_file, write=True) as library:
        assert emptied_roots(library) == []
    report = index(top)
    assert (report.embedded, report.forgotten, report.emptied) == (3, 1, {})
    assert index(top).emptied == {}
    _away(top, "another disk")  # what was let go once says nothing any more
    assert index(top).emptied == {os.fsencode(top): 3}
