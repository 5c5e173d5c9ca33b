"""Sorting into folders and putting back: killed anywhere, on other disks, on a full one; and logs that are damaged."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clipcli.errors import InputError, NotFoundError, UsageError
from clipcli.library import following, indexing, moving, sorting
from clipcli.library.moving import CannotMoveError, move_file
from clipcli.library.sort_log import append_log, new_log, read_log
from tests.library.conftest import Index, integrity
from tests.library.decoding_here import DecodersHere
from tests.library.test_sorting import contents, photos, sort, undo

__all__ = ["photos"]  # a fixture


@pytest.fixture(autouse=True)
def _decoding_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "Decoders", DecodersHere)


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
    back = undo(library_file, log)
    assert (back.pictures, back.beside) == (4, 1)
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
        number += 5 if number > 12 else 1
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


@pytest.fixture
def log(photos: Path, library_file: Path, tmp_path: Path) -> Path:
    return sort(library_file, tmp_path / "sorted")[1]


def test_logs(log: Path, tmp_path: Path) -> None:
    whole = log.read_bytes()
    steps = read_log(log)
    for size in range(0, len(whole), 11):
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
    assert (back.pictures, back.beside, len(back.refused)) == (0, 0, len(moved))
