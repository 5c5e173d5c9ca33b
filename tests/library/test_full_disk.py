"""No room, wherever it runs out: exit code 7, nothing half-done, and the same command goes on when there is room.

A limit on the size of files (RLIMIT_FSIZE) stands for the full disk: writes beyond it fail with EFBIG. And SQLite's own
limit, `PRAGMA max_page_count`, for a library that may not grow.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.library import indexing, store
from clipcli.library.vectors import cache_folder
from tests.library.conftest import Index, integrity, rows
from tests.library.decoding_here import DecodersHere

resource = pytest.importorskip("resource")

STEP = 16_384  # a page


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Python has SIGXFSZ ignored, so a write beyond it is an error and no signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Place:
    """A library and more pictures than it knows; `put_back` undoes whatever a command has done."""

    def __init__(self, top: Path, library: Path, photos: Path, bundle: Path) -> None:
        self.top, self.file, self.photos, self.bundle = top, library, photos, bundle
        self._library = library.read_bytes()

    def put_back(self) -> None:
        for folder in (self.file.parent, self.top / "out", cache_folder()):
            shutil.rmtree(folder, ignore_errors=True)
        self.file.parent.mkdir()
        (self.top / "out").mkdir()
        self.file.write_bytes(self._library)

    def run(self, *arguments: str | Path) -> Any:
        return CliRunner().invoke(app, [*map(str, arguments), "--db", str(self.file)])

    def state(self) -> list[Any]:
        queries = (
            "SELECT id, path, digest FROM images ORDER BY 1",
            "SELECT image_id, label FROM tags ORDER BY 1, 2",
            "SELECT image_id, model_id, digest FROM embeddings ORDER BY 1, 2",
            "SELECT path FROM roots",
        )
        return [rows(self.file, query) for query in queries]


@pytest.fixture
def place(
    tmp_path: Path, photo_folder: Callable[..., Path], index: Index, library_file: Path, bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Place:  # fmt: skip
    monkeypatch.setattr(indexing, "Decoders", DecodersHere)
    photos = photo_folder(count=40, size=(12, 8))
    index(photos)
    for number in range(60):
        Image.new("RGB", (6, 5), (number * 4, 255 - number * 4, number)).save(photos / f"new {number}.png")
    return Place(tmp_path, library_file, photos, bundle)


def commands(place: Place) -> dict[str, list[str | Path]]:
    photo = place.photos / "000.jpg"
    (place.top / "elsewhere").mkdir(exist_ok=True)
    shutil.copy(photo, place.top / "elsewhere" / "000.jpg")
    return {
        "embed": ["embed", place.photos, "-m", place.bundle],
        "copies": [
            "search",
            "red",
            "-m",
            place.bundle,
            "--copy-to",
            place.top / "out" / "of" / "red",
            "--format",
            "paths",
        ],
        "backup": ["library", "backup", place.top / "out" / "copy.db"],
        "export": ["library", "export", place.top / "out" / "vectors.npz"],
        "export to Parquet": ["library", "export", place.top / "out" / "vectors.parquet"],
        "vacuum": ["library", "vacuum"],
        "forget": ["library", "forget", place.photos],
        "relocate": ["library", "relocate", place.photos, place.top / "elsewhere"],
        "repair": ["library", "check", "--repair"],
        "tag": ["tags", "add", "-l", "a label that takes some room " * 6, *sorted(place.photos.glob("*.jpg"))],
    }


NAMES = ("embed", "copies", "backup", "export", "export to Parquet", "vacuum", "forget", "relocate", "repair", "tag")


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_runs_out_of_room_and_is_repeated(name: str, place: Place) -> None:
    arguments = commands(place)[name]
    place.put_back()
    if name == "repair":
        with sqlite3.connect(place.file) as connection:
            connection.execute("UPDATE embeddings SET vector = x'00'")
        connection.close()
        place._library = place.file.read_bytes()
    old = place.state()
    done = place.run(*arguments)
    assert done.exit_code == 0, done.stderr
    new = place.state()
    full = 0
    for limit in range(0, 40 * STEP, 2 * STEP):
        place.put_back()
        with files_up_to(limit):
            result = place.run(*arguments)
        if result.exit_code == 0:
            break
        full += 1
        assert result.exit_code == 7, f"{limit}: {result.stderr}"
        assert result.stderr.splitlines()[-1].startswith("clip: no space left")
        assert name not in ("export", "export to Parquet") or str(arguments[-1]) in result.stderr
        assert integrity(place.file) == "ok"
        now = place.state()
        assert name == "embed" or now in (old, new), f"half-done at {limit}"
        assert all(set(part) <= set(whole) for part, whole in zip(now, new, strict=True)) or now in (old, new)
        left = [each.name for each in (place.top / "out").iterdir()]
        assert left == [] or (name == "backup" and left == ["copy.db"]), left
        again = place.run(*arguments)
        assert again.exit_code == 0 or (name == "relocate" and now == new), again.stderr
        assert place.state() == new
    assert full > 0, "there was room enough at once"
    assert place.state() == new


def test_a_search_needs_no_room(place: Place) -> None:
    """Where no cache can be written the vectors are held in memory."""
    place.put_back()
    search = ("search", "red", "-m", place.bundle, "--format", "paths")
    right = place.run(*search)
    shutil.rmtree(cache_folder())
    for limit in (0, 1000, 5000):
        with files_up_to(limit):
            found = place.run(*search)
        assert (found.exit_code, found.stdout) == (0, right.stdout), found.stderr
        assert list(cache_folder().glob("*.vectors")) == []
        assert list(cache_folder().glob(".making*")) == []


def test_no_room_for_a_new_library(place: Place) -> None:
    fresh = place.top / "fresh" / "library.db"
    for limit in range(0, 60 * STEP, STEP):
        with files_up_to(limit):
            arguments = ["embed", str(place.photos), "-m", str(place.bundle), "--db", str(fresh)]
            result = CliRunner().invoke(app, arguments)
        if result.exit_code == 0:
            break
        assert result.exit_code == 7, result.stderr
        assert not fresh.exists() or integrity(fresh) == "ok"
        assert {each.name for each in fresh.parent.iterdir()} <= {"library.db", "library.db-wal", "library.db-shm"}
    assert limit > 5 * STEP
    assert rows(fresh, "SELECT count(*) FROM embeddings") == [100]


@pytest.mark.parametrize("spare", [0, 1, 3, 8])
def test_a_library_that_may_not_grow(spare: int, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.put_back()
    set_up = store._set_up

    def limited(connection: sqlite3.Connection) -> None:
        set_up(connection)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + spare}")

    with monkeypatch.context() as full:
        full.setattr(store, "_set_up", limited)
        result = place.run(*commands(place)["embed"])
    assert result.exit_code in (0, 7)
    assert result.exit_code == 7 or spare == 8
    assert os.listdir(place.file.parent) == ["library.db"]
    assert integrity(place.file) == "ok"
    assert place.run(*commands(place)["embed"]).exit_code == 0
    assert rows(place.file, "SELECT count(*) FROM embeddings") == [100]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if not sys.platform.startswith("linux") or os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("free", [0, 20_000, 120_000, 400_000])
def test_a_disk_that_is_really_full(free: int, place: Place, small_disk: Path) -> None:
    """Library, journal and shared memory on a disk with so much room: no signal, no damage, and a search goes on."""
    place.put_back()
    before = place.state()
    for left in place.file.parent.glob("library.db-*"):  # what looking at it has made
        left.unlink()
    shutil.move(place.file.parent, small_disk / "library")
    place.file = small_disk / "library" / "library.db"
    ballast = small_disk / "ballast"
    room = shutil.disk_usage(small_disk).free - free
    ballast.write_bytes(b"x" * room)
    search = ("search", "red", "-m", place.bundle, "--format", "paths")
    found = place.run(*search)
    assert (found.exit_code, found.stdout.count("\n")) == (0, 10), found.stderr
    done = place.run(*commands(place)["embed"])
    assert done.exit_code == 7, done.stderr
    assert done.stderr.splitlines()[-1].startswith("clip: no space left for the library")
    again = place.run(*search)
    assert (again.exit_code, again.stdout.count("\n")) == (0, 10), again.stderr
    ballast.unlink()
    assert integrity(place.file) == "ok"
    assert all(set(part) <= set(now) for part, now in zip(before, place.state(), strict=True))
    assert place.run(*commands(place)["embed"]).exit_code == 0
    assert rows(place.file, "SELECT count(*) FROM embeddings") == [100]
