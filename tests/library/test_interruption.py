"""Killed, interrupted, out of room: what was committed stays, and the next run goes on from there."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kill_embed import kill_runs
from tests.library.conftest import Index, integrity, rows
from tests.library.released import unpack
from tests.structure.source import ROOT

IN_FLIGHT = 8
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(library_file: Path, bundle: Path, tmp_path: Path) -> Start:
    """`start(folder, seconds=0.02)`: the slow command in a process of its own."""

    def run(folder: Path, *, seconds: float, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.library.slow_embed", str(seconds), str(tmp_path / "log"), str(folder)]
        command += ["--db", str(library_file), "-m", str(bundle), "--batch-size", str(IN_FLIGHT)]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, **options)

    return run


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def committed(library_file: Path) -> set[tuple[Any, ...]]:
    if not library_file.exists():
        return set()
    query = "SELECT images.id, path, images.digest, hex(vector) FROM images JOIN embeddings ON image_id = images.id"
    return set(rows(library_file, query))


def test_kill_9_at_any_moment_loses_the_batch_in_flight_at_most(bundle: Path, tmp_path: Path) -> None:
    """As `python -m benchmarks.kill_embed` does 500 times; it raises where a promise is not kept."""
    first = unpack(1, tmp_path / "first.db")
    found = kill_runs(tmp_path / "rounds", bundle, kills=6, seed=3, released=[first])
    assert (found.kills, found.rounds) == (6, 1)
    assert sum(found.again.values()) == 6
    assert max(found.again) <= IN_FLIGHT


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("seconds", [0.1, 6], ids=["a quick model", "a slow model"])
def test_stopped_within_two_seconds_without_a_traceback(
    number: int,
    code: int,
    seconds: float,
    start: Start,
    photo_folder: Callable[..., Path],
    library_file: Path,
    tmp_path: Path,
    index: Index,
) -> None:
    folder = photo_folder(count=60, size=(16, 12))
    log = tmp_path / "log"
    with start(folder, seconds=seconds) as process:
        wait_until(lambda: log.exists() and log.read_text().count("begun") > (1 if seconds < 1 else 0))
        stopped = time.monotonic()
        process.send_signal(number)
        assert process.wait() == code
        assert time.monotonic() - stopped < 2
        assert process.stderr is not None
        said = process.stderr.read()
    assert "Traceback" not in said
    assert "the same command goes on from there" in said
    done = len(committed(library_file))
    assert f"stopped: {done} of 60 are done and safe" in said
    assert done > 0 if seconds < 1 else done == 0
    assert integrity(library_file) == "ok"
    assert not library_file.with_name("library.db-lock").exists()
    assert index(folder).embedded == 60 - done
    assert len(committed(library_file)) == 60


def test_a_second_run_is_told_at_once_and_a_search_does_not_wait(
    start: Start, photo_folder: Callable[..., Path], library_file: Path, tmp_path: Path, run_clip: Callable[..., Any]
) -> None:
    folder = photo_folder(count=60, size=(16, 12))
    log = tmp_path / "log"
    with start(folder, seconds=0.5) as process:
        wait_until(lambda: log.exists() and log.read_text().count("begun") > 2)
        began = time.monotonic()
        second = run_clip("embed", folder, "--db", library_file)
        assert (second.returncode, second.stdout) == (5, "")
        assert f"another run is writing to the library {library_file} (process {process.pid}, since " in second.stderr
        found = run_clip("search", "red", "--db", library_file, "--format", "paths")
        assert found.returncode == 0
        assert found.stdout
        assert time.monotonic() - began < 10  # two whole processes on a busy machine; neither waits for the run
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    with start(folder, seconds=0) as process:  # the dead owner's lock is nobody's
        assert process.wait() == 0


def test_no_room_on_the_disk(start: Start, photo_folder: Callable[..., Path], library_file: Path) -> None:
    folder = photo_folder(count=200, size=(16, 12))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))

    with start(folder, seconds=0, preexec_fn=limited) as process:
        assert process.wait() == 7
        assert process.stderr is not None
        said = process.stderr.read()
    assert "no space left for the library" in said
    assert "Traceback" not in said
    done = committed(library_file)
    assert 0 < len(done) < 200
    assert integrity(library_file) == "ok"
    with start(folder, seconds=0) as process:
        assert process.wait() == 0
    assert done <= committed(library_file)
    assert len(committed(library_file)) == 200
