"""Sorting into folders and putting back: killed anywhere, on another disk, over taken names, nothing is ever lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clipcli.errors import InputError, NotFoundError, UsageError
from clipcli.library import following, moving, sort_log, sorting, unsorting
from clipcli.library.moving import CannotMoveError, move_file
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
    assert (back.files, back.refused) == (5, [])
    assert contents(photos) == before
    assert rows(library_file, WHERE) == places
    assert rows(library_file, "SELECT count(*) FROM roots") == [1]
    assert not target.exists()
    assert index(photos).unchanged == 5
    assert integrity(library_file) == "ok"
    assert undo(library_file, log).files == 0  # nothing is left to do


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
    assert back.files == 3
    assert sorted(back.refused) == [
        (os.fsencode(target / "a_b/001.jpg"), f"there is another file at {photos / '001.jpg'}"),
        (os.fsencode(target / "cat/000-2.jpg"), "is not there any more"),
    ]
    assert (photos / "000.jpg").read_bytes() == edited
    assert (photos / "001.jpg").read_bytes() == b"a new one"
    (photos / "001.jpg").unlink()
    assert undo(library_file, log).files == 1  # what was left can be put back later
    assert index(photos, target).embedded == 1  # the one that was edited


def across(source: bytes, target: bytes, **options: object) -> None:
    """Linking as it is from one disk to another."""
    if os.path.basename(source).startswith(b".clip-moving-"):
        real_link(source, target)
    else:
        raise OSError(errno.EXDEV, "Invalid cross-device link")


def without_links(source: bytes, target: bytes, **options: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


real_link = os.link
DISKS = pytest.mark.parametrize("link", [real_link, across, without_links], ids=["one disk", "two disks", "no links"])


@DISKS
def test_every_kind_of_disk(
    link: Any, photos: Path, library_file: Path, tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", link)
    before = contents(photos)
    _, log = sort(library_file, tmp_path / "sorted")
    assert sorted(contents(tmp_path / "sorted", photos).values()) == sorted(before.values())
    assert index(photos, tmp_path / "sorted").unchanged == 5
    assert undo(library_file, log).files == 5
    assert contents(photos) == before
    assert index(photos).unchanged == 5


CALLS = (
    (os, "link"), (os, "unlink"), (os, "replace"), (os, "mkdir"), (os, "fsync"), (os, "rmdir"), (os, "symlink"),
    (shutil, "copyfileobj"), (following, "add_root"),
)  # fmt: skip


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Run `work` in a process that dies, without any cleaning up, at its Nth call that changes something."""
    left = number

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)
            return call(*arguments, **options)

        return wrapped

    child = os.fork()
    if child == 0:
        try:
            for module, name in CALLS:
                setattr(module, name, counted(getattr(module, name)))
            work()
        except BaseException:  # noqa: BLE001 - the parent sees it
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@DISKS
def test_killed_anywhere_nothing_is_lost(
    link: Any, photos: Path, library_file: Path, tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dying at every single step of sorting, and of putting back: in the end all is as it was."""
    monkeypatch.setattr(os, "link", link)
    before = contents(photos)
    saved = library_file.read_bytes()
    target, log = tmp_path / "sorted", tmp_path / "log.jsonl"
    number, killed = 0, True
    while killed:
        killed = killed_at(number, lambda: sort(library_file, target))
        now = {path: data for path, data in contents(photos, target).items() if ".clip-moving-" not in path and data}
        assert set(now.values()) == set(before.values())
        if log.exists() and log.read_bytes():
            if killed_at(number % 7, lambda: undo(library_file, log)):
                assert set(contents(photos, target).values()) - {b""} >= set(before.values())
            assert undo(library_file, log).refused == []
        assert contents(photos) == before
        assert not target.exists() or contents(target) == {}
        report = index(photos)
        assert (report.embedded, report.forgotten, report.considered) == (0, 0, 5)
        assert integrity(library_file) == "ok"
        log.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        library_file.write_bytes(saved)
        number += 3 if number > 12 else 1
    assert number > 20


def test_an_interrupt_leaves_the_library_right(
    photos: Path, library_file: Path, tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(source: bytes, target: bytes) -> None:
        move_file(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(sorting, "move_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sort(library_file, tmp_path / "sorted")
    assert index(photos, tmp_path / "sorted").unchanged == 5


def test_a_full_disk(photos: Path, library_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", across)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    before = contents(photos)
    with pytest.raises(Exception, match="no space left"):
        sort(library_file, tmp_path / "sorted")
    assert contents(photos) == before
    assert [path for path in (tmp_path / "sorted").rglob("*") if path.is_file()] == []


def test_a_copy_that_does_not_read_back_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"whole")
    monkeypatch.setattr(os, "link", across)
    monkeypatch.setattr(shutil, "copyfileobj", lambda original, copy, size: copy.write(b"half"))
    with pytest.raises(CannotMoveError, match="changes while"):
        move_file(os.fsencode(tmp_path / "a"), os.fsencode(tmp_path / "b"))
    assert [path.name for path in tmp_path.iterdir() if path.name in "ab"] == ["a"]


@DISKS
def test_a_move_never_replaces(link: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if link is not real_link:
        monkeypatch.setattr(moving.os, "link", link)
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with pytest.raises((FileExistsError, CannotMoveError)):
        move_file(os.fsencode(tmp_path / "a"), os.fsencode(tmp_path / "b"))
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"a", b"b")


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
    with Library.open(library_file) as library, pytest.raises(UsageError, match="hidden folder"):
        plan(library, Selection(), os.fsencode(photos / ".sorted" / "x"), link=False)


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
    assert undo(library_file, log).files == 1
    assert os.path.isfile(odd)


@pytest.fixture
def log(photos: Path, library_file: Path, tmp_path: Path) -> Path:
    return sort(library_file, tmp_path / "sorted")[1]


def test_logs(log: Path, tmp_path: Path) -> None:
    whole = log.read_bytes()
    steps = read_log(log)
    for size in range(len(whole)):
        log.write_bytes(whole[:size])
        if b"\n" in whole[: size + 1]:
            assert read_log(log).steps == steps.steps[: len(read_log(log).steps)]
    with append_log(log) as more:
        more.note("undone", 3)
    assert read_log(log).undone == {3}
    for content in (b"", b"{}\n", b"[1]\n", b"a letter", b'{"clip": "sort 2"}\n'):
        log.write_bytes(content)
        with pytest.raises(InputError, match="no record of"):
            read_log(log)
    log.write_bytes(whole.split(b"\n")[0] + b'\n{"step": 1, "what": "delete", "from": "/a", "to": "/b"}\n')
    with pytest.raises(InputError, match="is damaged"):
        read_log(log)
    with pytest.raises(NotFoundError):
        read_log(tmp_path / "nothing")
    for name, error in (("log.jsonl", UsageError), ("nowhere/log.jsonl", NotFoundError)):
        with pytest.raises(error), new_log(os.fsencode(tmp_path / name), library="x", file=b"/x"):
            raise AssertionError("not reached")


def test_a_log_for_other_folders_touches_nothing_of_theirs(log: Path, library_file: Path, photos: Path) -> None:
    """Without the mark that a step was done, a file that does not fit is not taken for the one that was moved."""
    lines = [line for line in log.read_bytes().splitlines() if b'"done"' not in line]
    log.write_bytes(b"\n".join(lines) + b"\n")
    moved = [step for step in read_log(log).steps if step.what == "move"]
    for step in moved:
        Path(os.fsdecode(step.target)).write_bytes(b"something else")
    back = undo(library_file, log)
    assert (back.files, len(back.refused)) == (0, len(moved))
    assert unsorting.PutBack().files == 0
    assert sort_log.Steps(library="", file=b"", steps=(), done=frozenset(), undone=frozenset()).steps == ()
