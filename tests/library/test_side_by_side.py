"""What goes on beside a run of `clip embed`, and what is told at once that it cannot."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.library import store
from clipcli.library.store import Library
from tests.library.conftest import Index, integrity, rows
from tests.structure.source import ROOT

SOON_S = 5.0


@dataclass
class Place:
    file: Path
    folder: Path
    bundle: Path

    def run(self, *arguments: object) -> Any:
        began = time.monotonic()
        result = CliRunner().invoke(app, [*map(str, arguments), "--db", str(self.file)])
        assert time.monotonic() - began < SOON_S, arguments
        return result

    def search(self) -> Any:
        return self.run("search", "red", "-m", self.bundle, "--format", "paths", "-k", 3)


@pytest.fixture
def place(photo_folder: Callable[..., Path], index: Index, library_file: Path, bundle: Path) -> Place:
    folder = photo_folder(count=6)
    index(folder)
    return Place(library_file, folder, bundle)


@pytest.fixture
def embedding(place: Place, photo_folder: Callable[..., Path], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run over 80 further pictures that takes its time, in its middle."""
    photo_folder("photos/more", count=80, seed=1, size=(12, 8))
    log = tmp_path / "log"
    command = [sys.executable, "-m", "tests.library.slow_embed", "0.4", str(log), str(place.folder)]
    command += ["--db", str(place.file), "-m", str(place.bundle), "--batch-size", "8"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, text=True) as process:
        deadline = time.monotonic() + 60
        while not (log.exists() and log.read_text().count("begun") > 2):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process
        process.kill()


def test_beside_a_run(embedding: subprocess.Popen[str], place: Place, tmp_path: Path) -> None:
    photo = place.folder / "000.jpg"
    before = len(rows(place.file, "SELECT 1 FROM images"))
    for refused in (
        ("embed", place.folder, "-m", place.bundle),
        ("embed", photo, "-m", place.bundle),
        ("library", "forget", photo),
        ("library", "relocate", place.folder, tmp_path),
        ("library", "vacuum"),
        ("library", "check", "--repair"),
    ):
        result = place.run(*refused)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (5, "", 1), refused
        assert f"another run is writing to the library {place.file} (process {embedding.pid}, since " in result.stderr
    for allowed in (
        ("search", "red", "-m", place.bundle),
        ("similar", photo, "-m", place.bundle),
        ("duplicates",),
        ("library", "stats"),
        ("library", "roots"),
        ("library", "skipped"),
        ("library", "check"),
        ("library", "backup", tmp_path / "copy.db"),
        ("library", "export", tmp_path / "vectors.npz"),
        ("embed", place.folder, "-m", place.bundle, "--dry-run"),
        ("tags", "add", "-l", "mine", photo),
        ("tags", "list"),
    ):
        result = place.run(*allowed)
        assert result.exit_code == 0, (allowed, result.stderr)
    assert integrity(tmp_path / "copy.db") == "ok"
    assert embedding.poll() is None, "all of that was beside a run"
    assert embedding.send_signal(signal.SIGKILL) is None
    embedding.wait()
    assert before >= 6
    assert place.run("library", "vacuum").exit_code == 0  # the dead owner's lock is nobody's
    assert place.run("embed", place.folder, "-m", place.bundle).exit_code == 0
    assert rows(place.file, "SELECT count(*) FROM images") == [86]
    assert rows(place.file, "SELECT label FROM tags") == ["mine"]
    assert place.run("library", "forget", place.folder / "more").exit_code == 0
    assert integrity(place.file) == "ok"


_NO_WAIT = 2.5  # s, half of what a lock would be waited for


def test_a_search_does_not_wait_for_a_transaction(place: Place) -> None:
    """Neither for one that is open nor for many small ones, with the journal going into the file in between."""
    found = place.search().stdout
    with Library.open(place.file, write=True) as library, library.write() as connection:
        connection.execute("UPDATE images SET camera = 'x'")
        connection.execute("INSERT INTO settings VALUES ('ballast', ?)", ("x" * 3_000_000,))
        began = time.monotonic()
        assert place.search().stdout == found
        assert time.monotonic() - began < _NO_WAIT
    stop, written = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            with Library.open(place.file, write=True) as library, library.write() as connection:
                connection.execute("UPDATE settings SET value = value || 'x' WHERE key = 'ballast'")
            written.append(time.monotonic())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        longest = 0.0
        searches = 0
        while searches < 15 or len(written) < 4:
            searches += 1
            began = time.monotonic()
            result = place.search()
            longest = max(longest, time.monotonic() - began)
            assert (result.exit_code, result.stdout) == (0, found)
    finally:
        stop.set()
        writer.join()
    assert longest < _NO_WAIT


def test_a_writer_waits_for_another_program_and_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of SQLite's that nobody gives back."""
    assert store._BUSY_TIMEOUT_S < SOON_S - 0.5
    monkeypatch.setattr(store, "_BUSY_TIMEOUT_S", 0.5)
    with Library.open(place.file, write=True) as library, library.write():
        began = time.monotonic()
        result = place.run("tags", "add", "-l", "x", place.folder / "000.jpg")
        assert time.monotonic() - began >= 0.5
    assert (result.exit_code, result.stderr.count("\n")) == (5, 1)
    assert "another program is writing to the library" in result.stderr
