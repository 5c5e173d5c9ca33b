"""Walking folders: what counts as a candidate, links, cycles, unreadable folders, names that are not text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clipcli.photos.scan import FoundFile, UnreadableFolder, found_file, looks_like_picture, walk


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")


def paths(folder: Path, **options: frozenset[bytes]) -> list[bytes]:
    return [found.path for found in walk(os.fsencode(folder), **options)]


def test_every_picture_in_a_stable_order(tmp_path: Path) -> None:
    put(tmp_path, "b.jpg", "a.PNG", "sub/deep/c.heic", "no-suffix", "mystery.xyz")
    found = list(walk(os.fsencode(tmp_path)))
    assert [each.path for each in found] == [b"a.PNG", b"b.jpg", b"mystery.xyz", b"no-suffix", b"sub/deep/c.heic"]
    assert [each.named_picture for each in found if isinstance(each, FoundFile)] == [True, True, False, False, True]
    status = os.stat(tmp_path / "b.jpg")
    assert found[1] == FoundFile(path=b"b.jpg", size=7, mtime_ns=status.st_mtime_ns, named_picture=True)


def test_hidden_noise_and_other_kinds_of_files_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, ".hidden.jpg", "._apple.jpg", ".git/a.jpg", "@eaDir/a.jpg", "node_modules/x/a.jpg")
    put(tmp_path, "System Volume Information/a.jpg", "film.mp4", "notes.txt", "kept.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert paths(tmp_path) == [b"kept.jpg"]


def test_a_folder_to_leave_out(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "other/b.jpg")
    assert paths(tmp_path, leave_out=frozenset({os.fsencode(tmp_path / "other")})) == [b"a.jpg"]


def test_links_are_followed_once_and_never_in_a_circle(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    put(inside, "real/a.jpg")
    put(outside, "b.jpg", "deep/c.jpg")
    (inside / "again").symlink_to(inside / "real")  # met in its own place
    (inside / "again.jpg").symlink_to(inside / "real" / "a.jpg")
    (inside / "real" / "up").symlink_to(inside)  # a circle
    (inside / "around").symlink_to(tmp_path)  # would lead back in
    (inside / "out").symlink_to(outside)
    (inside / "out2").symlink_to(outside)  # the same a second time
    (inside / "x-file.jpg").symlink_to(outside / "b.jpg")  # already there through `out`
    (inside / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (outside / "back").symlink_to(outside)
    assert sorted(paths(inside)) == [b"out/b.jpg", b"out/deep/c.jpg", b"real/a.jpg"]


def test_a_linked_file_is_found_under_the_name_of_its_link(tmp_path: Path) -> None:
    put(tmp_path / "outside", "far.jpg")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "near.jpg").symlink_to(tmp_path / "outside" / "far.jpg")
    assert paths(tmp_path / "inside") == [b"near.jpg"]


def test_an_unreadable_folder_is_reported_and_the_rest_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.jpg", "locked/b.jpg", "strange/c.jpg", "z/d.jpg")
    scandir = os.scandir

    def refusing(path: bytes) -> object:
        if path.endswith(b"locked"):
            raise PermissionError(13, "Permission denied")
        if path.endswith(b"strange"):
            raise OSError(5, "Input/output error")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = list(walk(os.fsencode(tmp_path)))
    assert [each.path for each in found] == [b"a.jpg", b"locked", b"strange", b"z/d.jpg"]
    assert found[1] == UnreadableFolder(path=b"locked", reason="no-permission", detail="permission denied")
    assert found[2] == UnreadableFolder(path=b"strange", reason="io-error", detail="Input/output error")


def test_a_named_file_counts_whatever_it_is_called(tmp_path: Path) -> None:
    put(tmp_path, "picture.txt")
    found = found_file(os.fsencode(tmp_path / "picture.txt"), relative=b"picture.txt")
    assert found is not None
    assert found.named_picture
    os.mkfifo(tmp_path / "pipe")
    assert found_file(os.fsencode(tmp_path / "pipe"), relative=b"pipe") is None
    with pytest.raises(FileNotFoundError):
        found_file(b"/nowhere/at/all", relative=b"all")


def test_content_decides_where_the_name_does_not(tmp_path: Path) -> None:
    (tmp_path / "yes").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "no").write_bytes(b"#!/bin/sh")
    assert looks_like_picture(os.fsencode(tmp_path / "yes"))
    assert not looks_like_picture(os.fsencode(tmp_path / "no"))
    assert not looks_like_picture(os.fsencode(tmp_path / "none"))


NAMES = st.binary(min_size=1, max_size=40).map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"-").lstrip(b"."))


@settings(max_examples=60, deadline=None)
@given(names=st.sets(NAMES, min_size=1, max_size=5))
def test_any_name_the_disk_allows_comes_back_as_it_is(
    names: set[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = os.fsencode(tmp_path_factory.mktemp("names"))
    for name in names:
        with open(folder + b"/" + name + b".jpg", "wb"):
            pass
    assert sorted(found.path for found in walk(folder)) == sorted(name + b".jpg" for name in names if name != b".")
