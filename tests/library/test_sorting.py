"""Sorting into folders and putting back: over taken names, changed and missing files, nothing is ever lost."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clipcli.errors import UsageError
from clipcli.library import sorting
from clipcli.library.moving import move_file
from clipcli.library.sort_log import append_log, new_log, read_log
from clipcli.library.sorting import Sorted, folder_name, plan, sort_pictures
from clipcli.library.store import Library
from clipcli.library.tag_selection import Selection
from clipcli.library.tags import add_tags
from clipcli.library.unsorting import PutBack, put_back
from tests.library.conftest import Index, integrity, rows

WHERE = "SELECT images.id, roots.path || '/' || images.path FROM images JOIN roots ON roots.id = root_id ORDER BY 1"


@pytest.fixture
def photos(photo_folder: Callable[..., Path], index: Index, library_file: Path) -> Path:
    """Five pictures in two folders; two share a name, one has a side-car, one two tags, one none."""
    folder = photo_folder("photos", count=3)
    shutil.copytree(photo_folder("other", count=2, seed=7), folder / "in")
    (folder / "001.jpg.xmp").write_text("<not mine/>")
    index(folder)
    ids = {path: number for number, path in rows(library_file, "SELECT id, path FROM images")}
    with Library.open(library_file, write=True) as library, library.write() as connection:
        connection.executemany(
            "INSERT INTO tags (image_id, label, score, model_id) VALUES (?, ?, ?, ?)",
            [
                (ids["000.jpg"], "cat", 0.2, 1),
                (ids["in/000.jpg"], "cat", 0.3, 1),
                (ids["001.jpg"], "cat", 0.4, 1),
                (ids["001.jpg"], "a/b", None, None),
                (ids["in/001.jpg"], "dog", 0.1, 1),
            ],
        )
    return folder


def contents(*folders: Path) -> dict[str, bytes]:
    """Every file, links and logs left out."""
    return {
        str(path): path.read_bytes()
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.suffix != ".jsonl"
    }


def sort(file: Path, target: Path, *, link: bool = False, **chosen: Any) -> tuple[Sorted, Path]:
    log = target.with_name("log.jsonl")
    with Library.open(file, write=True) as library:
        planned = plan(library, Selection(**chosen), os.fsencode(target), link=link)
        with new_log(os.fsencode(log), library=library.uuid, file=os.fsencode(file)) as steps:
            return sort_pictures(library, planned, os.fsencode(target), steps, link=link), log


def undo(file: Path, log: Path) -> PutBack:
    with Library.open(file, write=True) as library, append_log(log) as more:
        return put_back(library, read_log(log), more)


def test_there_and_back(photos: Path, library_file: Path, tmp_path: Path, index: Index) -> None:
    before, places = contents(photos), rows(library_file, WHERE)
    target = tmp_path / "sorted"
    result, log = sort(library_file, target)
    assert (result.done, result.renamed, result.already, result.refused) == (4, 1, 0, [])
    assert {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} == {
        "cat/000.jpg",
        "cat/000-2.jpg",
        "a_b/001.jpg",  # a person's own tag goes first
        "a_b/001.jpg.xmp",
        "dog/001.jpg",
    }
    assert sorted(contents(photos, target).values()) == sorted(before.values())
    again = index(photos, target)
    assert (again.unchanged, again.embedded, again.forgotten) == (5, 0, 0)
    assert rows(library_file, "SELECT count(*) FROM tags") == [5]
    back = undo(library_file, log)
    assert (back.pictures, back.beside, back.refused) == (4, 1, [])
    assert contents(photos) == before
    assert rows(library_file, WHERE) == places
    assert rows(library_file, "SELECT count(*) FROM roots") == [1]
    assert not target.exists()
    assert index(photos).unchanged == 5
    assert integrity(library_file) == "ok"
    assert undo(library_file, log) == PutBack()  # nothing is left to do


def test_what_lies_beside_a_picture_goes_with_it(
    photos: Path, library_file: Path, tmp_path: Path, index: Index
) -> None:
    for name in ("000.CR2", "000.CR2.xmp", "000.xmp", "in/001.nef", "in/000.raf", "001.cr2", "001.xmp"):
        (photos / name).write_text(name)
    shutil.copy(
        photos / "in" / "000.jpg", photos / "in" / "000.png"
    )  # so that the raw file is not of one picture alone
    shutil.copy(photos / "001.jpg", photos / "001.JPG")
    (photos / "000.xmp.bak").touch()
    (tmp_path / "sorted" / "dog").mkdir(parents=True)
    (tmp_path / "sorted" / "dog" / "001.nef").write_text("another one")
    before = contents(photos, tmp_path / "sorted")
    result, log = sort(library_file, tmp_path / "sorted")
    assert (result.done, result.beside, result.refused) == (4, 3 + 1 + 1, [])
    assert {path.relative_to(tmp_path / "sorted").as_posix() for path in (tmp_path / "sorted").rglob("*.*")} == {
        "cat/000.jpg", "cat/000.CR2", "cat/000.CR2.xmp", "cat/000.xmp",
        "cat/000-2.jpg",
        "a_b/001.jpg", "a_b/001.jpg.xmp",
        "dog/001.nef", "dog/001-2.jpg", "dog/001-2.nef",
    }  # fmt: skip
    assert (tmp_path / "sorted/dog/001-2.nef").read_text() == "in/001.nef"
    back = undo(library_file, log)
    assert (back.pictures, back.beside, back.refused) == (4, 5, [])
    assert contents(photos, tmp_path / "sorted") == before


def test_links(photos: Path, library_file: Path, tmp_path: Path) -> None:
    before = contents(photos)
    target = tmp_path / "sorted"
    result, log = sort(library_file, target, link=True)
    assert (result.done, result.renamed) == (5, 1)
    assert {str(path.relative_to(target)): os.readlink(path) for path in target.rglob("*.jpg")} == {
        "cat/000.jpg": str(photos / "000.jpg"),
        "cat/000-2.jpg": str(photos / "in/000.jpg"),
        "cat/001.jpg": str(photos / "001.jpg"),
        "a_b/001.jpg": str(photos / "001.jpg"),
        "dog/001.jpg": str(photos / "in/001.jpg"),
    }
    assert contents(photos) == before
    assert rows(library_file, "SELECT count(*) FROM roots") == [1]
    (target / "dog/001.jpg").unlink()
    (target / "dog/001.jpg").write_text("mine")
    back = undo(library_file, log)
    assert (back.links, [path for path, _ in back.refused]) == (4, [os.fsencode(target / "dog/001.jpg")])
    assert [path.name for path in target.rglob("*") if path.is_file()] == ["001.jpg"]


def test_again_moves_only_what_is_new(photos: Path, library_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "sorted"
    assert sort(library_file, target, labels=("cat",))[0].done == 3
    (tmp_path / "log.jsonl").unlink()
    with Library.open(library_file, write=True) as library:
        add_tags(library, [number for number, path in rows(library_file, WHERE) if path.endswith("002.jpg")], "cat")
    result, _ = sort(library_file, target, labels=("cat",))
    assert (result.done, result.already) == (1, 3)


def test_names_that_are_taken(photos: Path, library_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "sorted"
    (target / "a_b").mkdir(parents=True)
    (target / "a_b/001.jpg.xmp").write_text("somebody's")
    (target / "dog").mkdir()
    (target / "dog/001.jpg").write_text("somebody's")
    result, log = sort(library_file, target)
    assert (result.done, result.renamed) == (4, 3)
    assert (target / "a_b/001-2.jpg.xmp").read_text() == "<not mine/>"
    assert (target / "dog/001.jpg").read_text() == (target / "a_b/001.jpg.xmp").read_text() == "somebody's"
    undo(library_file, log)
    assert {path.name for path in target.rglob("*") if path.is_file()} == {"001.jpg", "001.jpg.xmp"}


def test_a_name_that_the_library_still_has(photos: Path, library_file: Path, tmp_path: Path, index: Index) -> None:
    """The file is gone, its row is not: no two pictures may have one path."""
    target = tmp_path / "sorted"
    (target / "dog").mkdir(parents=True)
    shutil.copy(photos / "002.jpg", target / "dog/001.jpg")
    index(target)
    (target / "dog/001.jpg").unlink()
    result, _ = sort(library_file, target, labels=("dog",))
    assert (result.done, result.renamed) == (1, 1)
    assert (target / "dog/001-2.jpg").is_file()


def test_what_cannot_be_moved(photos: Path, library_file: Path, tmp_path: Path) -> None:
    (photos / "000.jpg").unlink()
    (photos / "in/000.jpg").rename(tmp_path / "elsewhere.jpg")
    (photos / "in/000.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    result, _ = sort(library_file, tmp_path / "sorted", labels=("cat", "dog"))
    assert sorted(result.refused) == [
        (os.fsencode(photos / "000.jpg"), "is not there"),
        (os.fsencode(photos / "in/000.jpg"), "is a symbolic link"),
    ]
    assert result.done == 2


def test_files_changed_since(
    photos: Path, library_file: Path, tmp_path: Path, index: Index, photo_folder: Callable[..., Path]
) -> None:
    edited = (photo_folder("edited", count=1, seed=99) / "000.jpg").read_bytes()
    target = tmp_path / "sorted"
    shutil.copy(photos / "002.jpg", photos / "in/001.jpg")  # changed after it was indexed
    _, log = sort(library_file, target)
    assert index(photos, target).embedded + index(photos, target).unchanged == 5
    (target / "cat/000.jpg").write_bytes(edited)
    (photos / "001.jpg").write_bytes(b"a new one")
    (target / "cat/000-2.jpg").unlink()
    back = undo(library_file, log)
    assert back.pictures + back.beside == 3
    assert sorted(back.refused) == [
        (os.fsencode(target / "a_b/001.jpg"), f"there is another file at {photos / '001.jpg'}"),
        (os.fsencode(target / "cat/000-2.jpg"), "is not there any more"),
    ]
    assert (photos / "000.jpg").read_bytes() == edited
    assert (photos / "001.jpg").read_bytes() == b"a new one"
    (photos / "001.jpg").unlink()
    assert undo(library_file, log).pictures == 1  # what was left can be put back later
    assert index(photos, target).embedded == 1  # the one that was edited


def test_an_empty_file_at_the_old_place_is_somebodys(photos: Path, library_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "sorted"
    _, log = sort(library_file, target)
    (photos / "001.jpg").touch()
    back = undo(library_file, log)
    assert (back.pictures, back.beside) == (3, 1)
    assert back.refused == [(os.fsencode(target / "a_b/001.jpg"), f"there is another file at {photos / '001.jpg'}")]
    assert (photos / "001.jpg").read_bytes() == b""


def test_a_name_taken_meanwhile_is_not_touched_by_putting_back(
    photos: Path, library_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the same picture, to the last byte and second."""
    target, theirs = tmp_path / "sorted", tmp_path / "sorted/dog/001.jpg"

    def raced(source: bytes, where: bytes) -> None:
        if where == os.fsencode(theirs):
            theirs.write_bytes(Path(os.fsdecode(source)).read_bytes())
            shutil.copystat(os.fsdecode(source), theirs)
        move_file(source, where)

    monkeypatch.setattr(sorting, "move_file", raced)
    result, log = sort(library_file, target, labels=("dog",))
    assert (result.done, result.renamed) == (1, 1)
    back = undo(library_file, log)
    assert (back.pictures, back.refused) == (1, [])
    assert theirs.read_bytes() == (photos / "in/001.jpg").read_bytes()


def test_several_logs_for_one_folder_in_any_order(photos: Path, library_file: Path, tmp_path: Path) -> None:
    _, first = sort(library_file, tmp_path / "sorted", labels=("cat",))
    first = first.rename(tmp_path / "first.jsonl")
    _, second = sort(library_file, tmp_path / "sorted", labels=("dog",))
    assert undo(library_file, first).pictures == 3
    assert rows(library_file, "SELECT count(*) FROM roots") == [2]
    assert undo(library_file, second).pictures == 1
    assert rows(library_file, "SELECT count(*) FROM roots") == [1]


def test_names_of_folders() -> None:
    assert folder_name("cat") == b"cat"
    assert folder_name("größe 100%") == "größe 100%".encode()
    assert folder_name("a/b\\c:d*e?") == b"a_b_c_d_e_"
    for label in (".", "..", ".hidden", "@eaDir", "node_modules", "$RECYCLE.BIN", "System Volume Information", "..."):
        name = folder_name(label)
        assert name.startswith(b"_")
        assert b"/" not in name
    long = folder_name("日" * 200)
    assert len(long) <= 200
    assert set(long.decode()) == {"日"}


def test_folders_that_embed_passes_over(photos: Path, library_file: Path) -> None:
    (photos / "in" / ".clipignore").write_text("left out/\n!left out/not this\n/labels/dog\n")
    for name in (".sorted/x", "in/left out", "in/left out/deeper", "in/labels"):
        with Library.open(library_file) as library, pytest.raises(UsageError, match="passes over"):
            plan(library, Selection(), os.fsencode(photos / name), link=False)
    with Library.open(library_file) as library:
        for name in ("in/taken", "left out"):
            assert plan(library, Selection(), os.fsencode(photos / name), link=False)


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names that are any bytes")
def test_names_that_are_no_text(photos: Path, library_file: Path, tmp_path: Path, index: Index) -> None:
    odd = os.fsencode(photos) + b"/\xff\n.jpg"
    shutil.copy(photos / "002.jpg", odd)
    (photos / "002.jpg").unlink()
    index(photos)
    (number,) = rows(library_file, "SELECT id FROM images WHERE typeof(path) = 'blob'")
    with Library.open(library_file, write=True) as library:
        add_tags(library, [number], "odd")
    _, log = sort(library_file, tmp_path / "sorted", labels=("odd",))
    assert os.path.isfile(os.fsencode(tmp_path / "sorted/odd") + b"/\xff\n.jpg")
    assert all(json.loads(line) for line in log.read_bytes().splitlines())
    assert undo(library_file, log).pictures == 1
    assert os.path.isfile(odd)
