"""`clip library relocate`, `forget`, `vacuum` and `backup`."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.encoder import Model
from clipcli.errors import LibraryDamagedError, NoSpaceError
from clipcli.library import backup as backup_module
from clipcli.library.backup import backup_library
from clipcli.library.indexing import IndexOptions, index_folders
from clipcli.library.roots import read_roots
from clipcli.library.run_lock import RunLock
from clipcli.library.search import paths_of
from clipcli.library.store import Library
from clipcli.library.tags import add_tags
from clipcli.library.vectors import cache_folder, vectors
from tests.library.conftest import Index, integrity, rows

Clip = Callable[..., Any]


@pytest.fixture
def clip(library_file: Path) -> Clip:
    """`clip("forget", …)`: `clip library forget --db …` in this process."""
    return lambda name, *rest: CliRunner().invoke(
        app, ["library", name, "--db", str(library_file), *(os.fsdecode(one) for one in rest)]
    )


def paths(file: Path) -> set[bytes]:
    with Library.open(file) as library:
        return set(paths_of(library, rows(file, "SELECT id FROM images")).values())


def root_paths(file: Path) -> list[str]:
    with Library.open(file) as library:
        return [os.fsdecode(root.path) for root in read_roots(library)]


def test_relocate_follows_a_folder_that_moved(
    clip: Clip, photo_folder: Callable[..., Path], index: Index, library_file: Path
) -> None:
    old = photo_folder(count=3)
    index(old)
    new = old.rename(old.with_name("elsewhere"))
    result = clip("relocate", old, new)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{old} is {new} now: 3 pictures\n"
    assert paths(library_file) == {os.fsencode(path) for path in new.iterdir()}
    report = index(new)
    assert (report.unchanged, report.embedded, report.forgotten) == (3, 0, 0)


def test_relocate_takes_the_folders_below_along(
    clip: Clip, photo_folder: Callable[..., Path], index: Index, library_file: Path, tmp_path: Path
) -> None:
    """A disk with another name, and one of the roots takes a name another one had."""
    index(photo_folder("disk/a/a", count=1, seed=1))
    index(photo_folder("disk/a", count=1))
    index(photo_folder("diskette", count=1, seed=2))  # another folder, however it begins
    (tmp_path / "holding").mkdir()
    shutil.move(tmp_path / "disk" / "a", tmp_path / "holding" / "a")
    shutil.move(tmp_path / "holding", tmp_path / "disk" / "a")
    result = clip("relocate", tmp_path / "disk", tmp_path / "disk" / "a")
    assert result.exit_code == 0, result.stderr
    assert root_paths(library_file) == [str(tmp_path / name) for name in ("disk/a/a/a", "disk/a/a", "diskette")]
    assert all(os.path.exists(path) for path in paths(library_file))


def test_relocate_changes_nothing_when_it_cannot_be_right(
    clip: Clip, photo_folder: Callable[..., Path], index: Index, library_file: Path, tmp_path: Path
) -> None:
    folder = photo_folder(count=2)
    (folder / "sub").mkdir()
    index(folder)
    index(photo_folder("other", count=1, seed=1))
    (tmp_path / "empty").mkdir()
    for old, new, code, said in (
        (folder, tmp_path / "nowhere", 4, "no such folder"),
        (folder, tmp_path / "empty", 4, "none of the 2 pictures looked for"),
        (tmp_path / "unheard-of", tmp_path / "empty", 4, "'clip library roots' lists"),
        (folder / "sub", tmp_path / "empty", 2, "lies inside the indexed folder"),
        (folder, tmp_path / "other", 2, "by that name already"),
    ):
        result = clip("relocate", old, new)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1)
        assert said in result.stderr
    assert root_paths(library_file) == [str(folder), str(tmp_path / "other")]


def test_relocate_refuses_pictures_in_common(
    clip: Clip, photo_folder: Callable[..., Path], index: Index, tmp_path: Path, library_file: Path
) -> None:
    old, copy = photo_folder("old/in", count=1), tmp_path / "new one"
    index(old)
    index(Path(shutil.copytree(old.parent, copy)))
    with Library.open(library_file, write=True) as library:
        add_tags(library, [2], "mine")  # of the copy
    said = clip("relocate", old, copy / "in").stderr  # indexed anew first: what is to be forgotten is said
    assert said.endswith(f": clip library forget '{copy / 'in'}'\n")
    clip("forget", copy / "in")
    assert clip("relocate", old, copy / "in").exit_code == 0
    assert rows(library_file, "SELECT label FROM tags") == ["mine"]


def test_relocate_into_the_folder_of_the_library_makes_both_movable(
    photo_folder: Callable[..., Path], index: Index, library_file: Path, tmp_path: Path
) -> None:
    folder = photo_folder(count=2)
    index(folder)
    beside = tmp_path / "disk" / ".clip"
    beside.mkdir(parents=True)
    library_file.rename(beside / "library.db")
    folder.rename(tmp_path / "disk" / "photos")
    db = ["--db", str(beside / "library.db")]
    moved = CliRunner().invoke(app, ["library", "relocate", str(folder), str(tmp_path / "disk" / "photos"), *db])
    assert moved.exit_code == 0, moved.stderr
    (tmp_path / "disk").rename(tmp_path / "stick")
    found = paths(tmp_path / "stick" / ".clip" / "library.db")
    assert found == {os.fsencode(path) for path in (tmp_path / "stick" / "photos").iterdir()}


def test_forget_takes_out_files_and_folders(
    clip: Clip, photo_folder: Callable[..., Path], index: Index, library_file: Path
) -> None:
    folder = photo_folder(count=3)
    photo_folder("photos/sub", count=2, seed=1)
    photo_folder("photos/sub2", count=1, seed=2)
    (folder / "sub" / "empty.jpg").touch()
    index(folder)
    with sqlite3.connect(library_file) as connection:
        connection.execute("INSERT INTO tags (image_id, label) SELECT id, 'cat' FROM images WHERE path = 'sub/000.jpg'")
    connection.close()
    before = library_file.read_bytes()
    would = clip("forget", "--dry-run", folder / "sub", folder / "000.jpg", folder / "sub" / "000.jpg")
    assert (would.exit_code, would.stdout) == (0, "")
    assert would.stderr.splitlines() == [
        f"would forget {folder}/sub: 2 pictures, 1 tag, 1 skipped",
        f"would forget {folder}/000.jpg: 1 picture",
    ]
    assert library_file.read_bytes() == before
    did = clip("forget", folder / "sub", folder / "000.jpg", folder / "sub" / "000.jpg")
    assert did.stderr == would.stderr.replace("would forget", "forgot")
    assert {os.fsdecode(path)[len(str(folder)) + 1 :] for path in paths(library_file)} == {
        "001.jpg",
        "002.jpg",
        "sub2/000.jpg",
    }
    assert rows(library_file, "SELECT (SELECT count(*) FROM embeddings), (SELECT count(*) FROM tags)") == [(3, 0)]
    assert rows(library_file, "SELECT count(*) FROM skipped") == [0]
    assert integrity(library_file) == "ok"
    assert len(list(folder.rglob("*.jpg"))) == 7  # files are nobody's business


def test_forget_a_whole_root_whether_it_is_there_or_not(
    clip: Clip, photo_folder: Callable[..., Path], index: Index, library_file: Path, tmp_path: Path
) -> None:
    folder = photo_folder(count=2)
    other = photo_folder("other", count=1, seed=1)
    index(folder, other)
    shutil.rmtree(folder)
    result = clip("forget", folder)
    assert result.stderr == f"forgot {folder}: 2 pictures; the folder is no longer indexed\n"
    assert root_paths(library_file) == [str(other)]
    nothing = clip("forget", folder)
    assert (nothing.exit_code, nothing.stderr) == (4, f"clip: the library has nothing of {folder}\n")
    assert clip("forget", tmp_path).exit_code == 0  # a folder above the roots means them all
    assert rows(library_file, "SELECT count(*) FROM images") == [0]


def test_names_that_are_no_text_or_look_like_patterns(
    clip: Clip, photo_folder: Callable[..., Path], index: Index, library_file: Path, tmp_path: Path
) -> None:
    source = photo_folder("source", count=4)
    folder = tmp_path / "photos"
    names = [b"%", b"_", b"\xff", b"a"]
    for number, name in enumerate(names):
        os.makedirs(os.fsencode(folder) + b"/" + name)
        shutil.copy(source / f"{number:03d}.jpg", os.fsencode(folder) + b"/" + name + b"/x.jpg")
    index(folder)
    for left, name in zip((3, 2, 1), names, strict=False):
        assert clip("forget", os.fsencode(folder) + b"/" + name).exit_code == 0
        assert rows(library_file, "SELECT count(*) FROM images") == [left]
    assert paths(library_file) == {os.fsencode(folder) + b"/a/x.jpg"}


def test_changes_wait_for_no_embed_and_make_no_library(
    clip: Clip, photo_folder: Callable[..., Path], index: Index, library_file: Path, tmp_path: Path
) -> None:
    folder = photo_folder(count=1)
    assert clip("vacuum").exit_code == 4
    assert not library_file.parent.exists()
    index(folder)
    with RunLock(library_file):
        for arguments in (("vacuum",), ("forget", folder), ("relocate", folder, tmp_path)):
            assert clip(*arguments).exit_code == 5
        assert clip("backup", tmp_path / "copy.db").exit_code == 0


def test_vacuum_gives_room_back(
    clip: Clip, photo_folder: Callable[..., Path], index: Index, library_file: Path
) -> None:
    index(photo_folder(count=2))
    with Library.open(library_file, write=True) as library, library.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('ballast', ?)", ("x" * 500_000,))
    with Library.open(library_file, write=True) as library, library.write() as connection:
        connection.execute("DELETE FROM settings WHERE key = 'ballast'")
    before = library_file.stat().st_size
    with Library.open(library_file) as library:
        (identity,) = rows(library_file, "SELECT identity FROM models")
        kept = vectors(library, identity=identity)[1].copy()
    (cache,) = cache_folder().iterdir()
    old = cache.with_name(cache.name.replace("-1-", "-1-0"))
    shutil.copy(cache, old)
    result = clip("vacuum")
    assert result.exit_code == 0
    assert library_file.stat().st_size <= before - 450_000
    assert result.stderr.endswith(" now\n")
    assert (cache.exists(), old.exists()) == (True, False)
    with Library.open(library_file) as library:
        assert np.array_equal(vectors(library, identity=identity)[1], kept)
    assert integrity(library_file) == "ok"


def test_a_backup_is_the_library_and_can_take_its_place(
    clip: Clip, photo_folder: Callable[..., Path], index: Index, library_file: Path, tmp_path: Path
) -> None:
    folder = photo_folder(count=3)
    index(folder)
    copy = tmp_path / "copy.db"
    result = clip("backup", copy)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "checked" in result.stderr
    assert integrity(copy) == "ok"
    everything = "SELECT * FROM embeddings ORDER BY 1, 2"
    assert rows(copy, everything) == rows(library_file, everything)
    for left in tmp_path.glob("copy.db-*"):  # what looking at it has made
        left.unlink()
    library_file.unlink()
    copy.rename(library_file)
    assert index(folder).unchanged == 3
    assert os.listdir(library_file.parent) == ["library.db"]


def test_a_backup_of_a_library_beside_its_pictures_still_finds_them(
    photo_folder: Callable[..., Path], tmp_path: Path, model: Model
) -> None:
    folder = photo_folder(count=3)
    beside, copy = folder / ".clip" / "library.db", tmp_path / "elsewhere" / "copy.db"
    beside.parent.mkdir()
    copy.parent.mkdir()
    with Library.open(beside, write=True, create=True) as library:
        index_folders(library, [os.fsencode(folder)], model, IndexOptions(), lambda _: None)
    for source in (beside, copy):  # a backup of the backup as well
        with Library.open(source) as library:
            backup_library(library, copy, on_progress=lambda done, total: None)
        assert root_paths(copy) == [str(folder)]
        copy = copy.with_name("copy-of-copy.db")
    shutil.move(folder, folder.with_name("moved"))
    shutil.copy(copy.with_name("copy.db"), folder.with_name("moved") / ".clip" / "library.db")
    assert root_paths(folder.with_name("moved") / ".clip" / "library.db") == [str(folder.with_name("moved"))]


def test_a_backup_replaces_only_a_backup(
    clip: Clip, photo_folder: Callable[..., Path], index: Index, library_file: Path, tmp_path: Path
) -> None:
    index(photo_folder(count=2))
    copy, letter, foreign = (tmp_path / name for name in ("copy.db", "letter.db", "foreign.db"))
    assert clip("backup", copy).exit_code == 0
    index(photo_folder("more", count=1, seed=1))
    assert clip("backup", copy).exit_code == 0
    assert rows(copy, "SELECT count(*) FROM images") == [3]
    letter.write_text("a letter to my aunt")
    Library.open(foreign, write=True, create=True).close()
    for target in (letter, foreign, library_file, tmp_path):
        before = target.read_bytes() if target.is_file() else b""
        result = clip("backup", target)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert (target.read_bytes() if target.is_file() else b"") == before
    assert clip("backup", tmp_path / "nowhere" / "copy.db").exit_code == 4


def test_a_backup_beside_a_writer_is_of_one_moment(
    photo_folder: Callable[..., Path], index: Index, library_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer adds a row to two tables at a time; the copy has as many of one as of the other, and is not starved."""
    index(photo_folder(count=1))
    monkeypatch.setattr(backup_module, "_PAGES_AT_ONCE", 2)
    stop, written = threading.Event(), []

    def write() -> None:
        with Library.open(library_file, write=True) as library:
            while not stop.is_set():
                number = len(written)
                with library.write() as connection:
                    connection.execute("INSERT INTO settings VALUES (?, ?)", (f"pair {number}", "x" * 5000))
                    connection.execute("INSERT INTO tags (image_id, label) VALUES (1, ?)", (f"pair {number}",))
                written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(written) < 20:
            assert writer.is_alive()
        steps: list[int] = []
        with Library.open(library_file) as library:
            during = len(written)
            bytes_ = backup_library(library, tmp_path / "copy.db", on_progress=lambda done, total: steps.append(done))
    finally:
        stop.set()
        writer.join()
    assert bytes_ == (tmp_path / "copy.db").stat().st_size
    assert steps == sorted(steps)
    assert len(steps) > 3
    pairs = "SELECT (SELECT count(*) FROM settings WHERE key LIKE 'pair %'), (SELECT count(*) FROM tags)"
    ((settings, tags),) = rows(tmp_path / "copy.db", pairs)
    assert settings == tags >= during
    assert integrity(tmp_path / "copy.db") == "ok"


@pytest.mark.parametrize("error", [KeyboardInterrupt, NoSpaceError("full")])
def test_a_backup_that_fails_leaves_the_earlier_one(
    photo_folder: Callable[..., Path], index: Index, library_file: Path, tmp_path: Path, error: Any
) -> None:
    index(photo_folder(count=1))
    (tmp_path / "copies").mkdir()
    copy = tmp_path / "copies" / "copy.db"

    def fail(done: int, total: int) -> None:
        raise error

    with Library.open(library_file) as library:
        backup_library(library, copy, on_progress=lambda done, total: None)
        before = copy.read_bytes()
        with pytest.raises(type(error) if isinstance(error, Exception) else error):
            backup_library(library, copy, on_progress=fail)
    assert copy.read_bytes() == before
    assert os.listdir(tmp_path / "copies") == ["copy.db"]


def test_a_killed_backup_is_cleared_away_by_the_next(library_file: Path, index: Index, photo_folder: Any) -> None:
    """What belongs to a process that is alive, to another machine, or to another file stays."""
    index(photo_folder(count=2))
    target = library_file.with_name("copy.db")
    killed = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from clipcli.library.backup import backup_library
        from clipcli.library.store import Library
        with Library.open(Path({str(library_file)!r})) as library:
            backup_library(library, Path({str(target)!r}), on_progress=lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    """)
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    (left,) = library_file.parent.glob(".copy.db.*.new")
    parts = left.name.split(".")
    others = [
        left.with_name(left.name.replace(parts[-2], str(os.getppid()))),
        left.with_name(left.name.replace(parts[-3], "elsewhere")),
        left.with_name(left.name.replace(".copy.", ".other.")),
        left.with_name(left.name + "er"),
    ]
    for other in others:
        other.write_bytes(b"at work")
    left.with_name(left.name + "-journal").write_bytes(b"left as well")
    with Library.open(library_file) as library:
        backup_library(library, target, on_progress=lambda done, total: None)
    assert not left.exists()
    assert not left.with_name(left.name + "-journal").exists()
    assert all(other.exists() for other in others)


def test_a_damaged_library_makes_no_backup(
    photo_folder: Callable[..., Path], index: Index, library_file: Path, tmp_path: Path
) -> None:
    index(photo_folder(count=1))
    (page, size) = rows(
        library_file, "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master "
        "WHERE name = 'embeddings'",
    )[0]  # fmt: skip
    content = bytearray(library_file.read_bytes())
    content[(page - 1) * size : page * size] = b"\x55" * size
    library_file.write_bytes(content)
    with Library.open(library_file) as library, pytest.raises(LibraryDamagedError, match="damaged"):
        backup_library(library, tmp_path / "copy.db", on_progress=lambda done, total: None)
    assert not (tmp_path / "copy.db").exists()
