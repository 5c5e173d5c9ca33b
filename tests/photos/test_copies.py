"""Copies and links: nothing is ever replaced, nothing half-written appears, and doing it twice changes nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from clipcli.errors import ClipError, LibraryLockedError, NoSpaceError, UsageError
from clipcli.photos import copies
from clipcli.photos.copies import Placed, copy_to, link_to

Place = Callable[[list[bytes], bytes], Placed]


@pytest.fixture
def sources(tmp_path: Path) -> list[bytes]:
    """Three different pictures called boat.jpg and one without an ending."""
    paths = []
    for name in ("a/boat.jpg", "b/boat.jpg", "c/boat.jpg", "a/.boat"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
        os.utime(path, (1_500_000_000, 1_500_000_000))
        paths.append(os.fsencode(path))
    return paths


def listed(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


EXPECTED = {"boat.jpg": "a/boat.jpg", "boat-2.jpg": "b/boat.jpg", "boat-3.jpg": "c/boat.jpg", ".boat": "a/.boat"}


@pytest.mark.parametrize("place", [copy_to, link_to])
def test_names_are_made_unique_and_twice_is_once(place: Place, sources: list[bytes], tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert place(sources, os.fsencode(folder)) == Placed(done=4, renamed=2)
    assert listed(folder) == EXPECTED
    assert all(path.is_symlink() == (place is link_to) for path in folder.iterdir())
    assert place(sources, os.fsencode(folder)) == Placed(already=4)
    assert listed(folder) == EXPECTED


@pytest.mark.parametrize("place", [copy_to, link_to])
def test_nothing_is_replaced(place: Place, sources: list[bytes], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "boat-2.jpg").mkdir(parents=True)
    (folder / "boat.jpg").symlink_to("nowhere")
    assert place(sources[:1], os.fsencode(folder)) == Placed(done=1, renamed=1)
    assert (folder / "boat-3.jpg").read_text() == "a/boat.jpg"
    assert os.readlink(folder / "boat.jpg") == "nowhere"
    assert (folder / "boat-2.jpg").is_dir()


def test_a_copy_keeps_its_time(sources: list[bytes], tmp_path: Path) -> None:
    copy_to(sources[:1], os.fsencode(tmp_path / "folder"))
    assert (tmp_path / "folder" / "boat.jpg").stat().st_mtime == 1_500_000_000


@pytest.mark.parametrize("place", [copy_to, link_to])
def test_what_is_gone_is_told(place: Place, sources: list[bytes], tmp_path: Path) -> None:
    os.unlink(sources[1])
    placed = place(sources, os.fsencode(tmp_path / "folder"))
    assert (placed.done, placed.failed) == (3, [(sources[1], "No such file or directory")])
    assert place(sources[1:2], os.fsencode(tmp_path / "nothing" / "to put in")).done == 0
    assert not (tmp_path / "nothing").exists()


def test_a_file_system_without_hard_links(
    sources: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: bytes, target: bytes) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert copy_to(sources, os.fsencode(tmp_path / "folder")) == Placed(done=4, renamed=2)
    assert listed(tmp_path / "folder") == EXPECTED


def test_somebody_quicker(sources: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    link = os.link

    def slow(source: bytes, target: bytes) -> None:
        if target.endswith(b"/boat.jpg"):
            (folder / "boat.jpg").write_text("theirs")
        link(source, target)

    monkeypatch.setattr(os, "link", slow)
    assert copy_to(sources[:1], os.fsencode(folder)) == Placed(done=1, renamed=1)
    assert listed(folder) == {"boat.jpg": "theirs", "boat-2.jpg": "a/boat.jpg"}


def test_no_folder(sources: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "file/below"):
        with pytest.raises(UsageError, match="is no folder"):
            copy_to(sources, os.fsencode(tmp_path / name))


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, NoSpaceError), (errno.EACCES, LibraryLockedError), (errno.EIO, ClipError)]
)
def test_a_copy_that_fails_leaves_nothing(
    number: int, kind: type[ClipError], sources: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    copy_to(sources[:1], os.fsencode(tmp_path / "folder"))
    monkeypatch.setattr(copies.shutil, "copyfileobj", fail)
    with pytest.raises(kind) as raised:
        copy_to(sources, os.fsencode(tmp_path / "folder"))
    assert type(raised.value) is kind
    assert listed(tmp_path / "folder") == {"boat.jpg": "a/boat.jpg"}
    (tmp_path / "mine").mkdir()
    for name in ("new", "new/deeper/still", "mine/new", "mine"):
        with pytest.raises(kind):
            copy_to(sources, os.fsencode(tmp_path / name))
    assert (list((tmp_path / "mine").iterdir()), (tmp_path / "new").exists()) == ([], False)
