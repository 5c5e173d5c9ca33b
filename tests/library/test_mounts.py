"""Disks mounted inside a root, with made-up devices: one that is away takes nothing with it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clipcli.errors import LibraryDamagedError
from clipcli.library import indexing
from clipcli.library.absence import not_there
from clipcli.library.checking import check_library
from clipcli.library.forgetting import forget
from clipcli.library.mounts import absent_places
from clipcli.library.repair import mend_library
from clipcli.library.store import Library
from clipcli.photos import devices
from tests.library.conftest import Index, rows
from tests.library.decoding_here import DecodersHere

EVERYTHING = "SELECT image_id, hex(vector) FROM embeddings ORDER BY 1"
Photos = Callable[..., Path]


class Disks:
    """Folders that are disks of their own at the moment."""

    def __init__(self) -> None:
        self.mounted: set[bytes] = set()

    def device_of(self, path: bytes) -> int | None:
        real = os.path.realpath(path)
        if not os.path.isdir(real):
            return None
        return max((len(disk) for disk in self.mounted if (real + b"/").startswith(disk + b"/")), default=1)

    def mount(self, path: Path) -> None:
        self.mounted.add(os.path.realpath(os.fsencode(path)))

    def unmount(self, path: Path, *, folder: str = "empty") -> None:
        """What was there is out of sight; the folder stays behind, `empty`, or goes."""
        self.mounted.discard(os.path.realpath(os.fsencode(path)))
        path.rename(path.with_name(f".away-{path.name}"))
        if folder == "empty":
            path.mkdir()

    def again(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)
        path.with_name(f".away-{path.name}").rename(path)
        self.mount(path)


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> Disks:
    disks = Disks()
    monkeypatch.setattr(devices, "device_of", disks.device_of)
    monkeypatch.setattr(indexing, "Decoders", DecodersHere)
    return disks


@pytest.mark.parametrize("folder", ["empty", "gone"])
def test_a_disk_that_is_away_loses_nothing(
    folder: str, disks: Disks, index: Index, photo_folder: Photos, library_file: Path
) -> None:
    top = photo_folder(count=2)
    disk = photo_folder("photos/usb/deep", count=3, seed=1).parent
    (disk / "deep" / "broken.jpg").write_bytes(b"\xff\xd8\xff no")
    disks.mount(disk)
    index(top)
    before, skipped = rows(library_file, EVERYTHING), rows(library_file, "SELECT path FROM skipped")
    assert len(before) == 5
    disks.unmount(disk, folder=folder)
    for _ in range(2):  # what was remembered is still known afterwards
        report = index(top)
        assert (report.forgotten, report.absent) == (0, [os.fsencode(disk)])
    assert (rows(library_file, EVERYTHING), rows(library_file, "SELECT path FROM skipped")) == (before, skipped)
    with Library.open(library_file, write=True) as library:
        assert absent_places(library) == [(os.fsencode(disk), 3)]
        assert check_library(library, deep=True, on_progress=lambda *_: None) == []
        assert mend_library(library, deep=False, on_progress=lambda *_: None).found == ()
    disks.again(disk)
    (disk / "deep" / "000.jpg").unlink()
    report = index(top)
    assert (report.absent, report.unchanged, report.forgotten) == ([], 4, 1)


def test_a_folder_that_was_emptied_is_forgotten(disks: Disks, index: Index, photo_folder: Photos) -> None:
    top = photo_folder(count=2)
    ordinary = photo_folder("photos/ordinary", count=3, seed=1)
    index(top)
    disks.unmount(ordinary)
    assert index(top).forgotten == 3


def test_what_lies_below_the_mount_point_does_not_count(disks: Disks, index: Index, photo_folder: Photos) -> None:
    """A file in the folder that the disk hid, until pictures that were known are in it."""
    top = photo_folder(count=1)
    disk = photo_folder("photos/usb", count=3, seed=1)
    disks.mount(disk)
    index(top)
    disks.unmount(disk)
    (disk / "NOT MOUNTED.txt").write_text("no")
    report = index(top)
    assert (report.forgotten, report.absent) == (0, [os.fsencode(disk)])
    known = next(path for path in disk.with_name(".away-usb").iterdir() if path.suffix)
    shutil.copy2(known, disk / known.name)  # an ordinary folder from now on
    report = index(top)
    assert (report.forgotten, report.absent) == (2, [])


def test_a_root_that_was_a_disk(disks: Disks, index: Index, photo_folder: Photos) -> None:
    top = photo_folder(count=3)
    disks.mount(top)
    index(top)
    disks.unmount(top)
    photo_folder("photos/other", count=1, seed=5)
    report = index(top)
    assert (report.forgotten, report.absent, report.embedded) == (0, [os.fsencode(top)], 1)


def test_a_disk_behind_a_link(disks: Disks, index: Index, photo_folder: Photos) -> None:
    top = photo_folder(count=1)
    disk = photo_folder("elsewhere/usb", count=2, seed=1)
    (top / "link").symlink_to(disk)
    disks.mount(disk)
    assert index(top).embedded == 3
    disks.unmount(disk)
    report = index(top)
    assert (report.forgotten, report.absent) == (0, [os.fsencode(top / "link")])


def test_forgetting_forgets_the_disk_as_well(
    disks: Disks, index: Index, photo_folder: Photos, library_file: Path
) -> None:
    top = photo_folder(count=1)
    disk = photo_folder("photos/usb", count=2, seed=1)
    disks.mount(disk)
    index(top)
    disks.unmount(disk)
    with Library.open(library_file, write=True) as library:
        (one,) = forget(library, [os.fsencode(disk)])
        assert one.pictures == 2
        assert absent_places(library) == []
        forget(library, [os.fsencode(top)])
        assert rows(library_file, "SELECT key FROM settings WHERE key LIKE 'mounts%'") == []


def test_a_list_that_is_none_is_damage(disks: Disks, index: Index, photo_folder: Photos, library_file: Path) -> None:
    top = photo_folder(count=1)
    disks.mount(photo_folder("photos/usb", count=1, seed=1))
    index(top)
    with Library.open(library_file, write=True) as library:
        with library.write() as connection:
            connection.execute("UPDATE settings SET value = '[1' WHERE key LIKE 'mounts%'")
        with pytest.raises(LibraryDamagedError, match="mounted"):
            absent_places(library)


def test_a_disk_that_does_not_answer_keeps_no_search(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = threading.Event()

    def lexists(path: bytes) -> bool:
        if path == b"/hangs/a":
            answer.wait(10)
        return False

    monkeypatch.setattr(os.path, "lexists", lexists)
    began = time.monotonic()
    assert not_there([b"/gone/a", b"/hangs/a", b"/gone/b"], at_most_s=0.05) == []
    assert time.monotonic() - began < 5
    answer.set()
    assert not_there([b"/gone/a", b"/gone/b"], at_most_s=5) == [b"/gone/a", b"/gone/b"]
