"""`clip embed --watch`: what is heard of changes, when it is looked at, and roots that go and come back."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path

import pytest
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.commands.watching import _Runs
from clipcli.errors import LibraryLockedError
from clipcli.library import indexing, watching
from clipcli.library.indexing import IndexOptions
from clipcli.library.jobs import Job, Outcome, Refused
from clipcli.library.reading import Reader
from clipcli.library.run_lock import RunLock
from clipcli.library.watch_lock import WatchLock, refuse_watched
from clipcli.library.watching import News, Watcher
from clipcli.photos.scan import may_be_picture
from clipcli.photos.watching import FolderWatch
from tests.library.conftest import rows
from tests.library.decoding_here import DecodersHere

ROOT = Path(__file__).resolve().parents[2]
Photos = Callable[..., Path]


def eventually(holds: Callable[[], object], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


class Heard:
    """A watch on a folder whose clock is turned by hand."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.folder = folder
        self.watch = FolderWatch(clock=lambda: self.now)
        self.watch.add(os.fsencode(folder))

    def restless(self) -> set[str]:
        with self.watch._lock:
            return {os.path.relpath(os.fsdecode(path), self.folder) for path in self.watch._restless}

    def settled(self) -> set[str]:
        found, _ = self.watch.take_settled()
        return {os.path.relpath(os.fsdecode(path), self.folder) for path in found}


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    folder = tmp_path / "watched"
    folder.mkdir()
    listening = Heard(folder)
    yield listening
    listening.watch.close()


def test_what_changes_is_told_once_it_is_quiet(heard: Heard) -> None:
    (heard.folder / "a.jpg").write_bytes(b"1")
    eventually(lambda: heard.restless() == {"a.jpg"})
    assert heard.settled() == set()
    heard.now += 20
    assert heard.settled() == {"a.jpg"}
    assert heard.settled() == set()
    (heard.folder / "a.jpg").rename(heard.folder / "b.jpg")
    (heard.folder / "deep").mkdir()
    eventually(lambda: {"b.jpg", "deep"} <= heard.restless())
    heard.now += 20
    assert {"a.jpg", "b.jpg", "deep"} <= heard.settled()
    (heard.folder / "b.jpg").unlink()
    (heard.folder / "deep" / "c.png").touch()
    eventually(lambda: {"b.jpg", "deep/c.png"} <= heard.restless())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell when a file is closed")
def test_a_file_that_is_still_open_is_waited_for(heard: Heard) -> None:
    with open(heard.folder / "slow.jpg", "wb", buffering=0) as file:
        file.write(b"first part")
        eventually(lambda: heard.restless() == {"slow.jpg"})
        time.sleep(0.1)
        heard.now += 2
        settled, unsettled = heard.watch.take_settled()
        assert (settled, unsettled) == (set(), {os.fsencode(heard.folder / "slow.jpg")})
    heard.now += 0.5
    time.sleep(0.3)
    heard.now += 1.5
    eventually(lambda: heard.settled() == {"slow.jpg"})


def test_what_could_not_be_a_picture_is_not_heard(heard: Heard) -> None:
    for name in (".hidden.jpg", "notes.txt", "library.db-wal.part", ".clip/x.jpg", "@eaDir/x.jpg"):
        path = heard.folder / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (heard.folder / "last.jpg").touch()
    eventually(lambda: "last.jpg" in heard.restless())
    assert heard.restless() <= {"last.jpg", "@eaDir"}
    assert may_be_picture(b".clipignore")
    assert may_be_picture(b"deep/.clipignore")
    assert not may_be_picture(b".git/.clipignore")


def test_a_folder_inside_that_goes_and_comes_back_is_heard_again(heard: Heard, tmp_path: Path) -> None:
    """And what the library beneath has to say about that, at length, is for nobody."""
    (heard.folder / "deep" / "deeper").mkdir(parents=True)
    eventually(lambda: "deep" in heard.restless())
    with warnings.catch_warnings(record=True) as told:
        for _ in range(2):
            time.sleep(0.7)  # watchdog waits half a second for the other half of a move
            (heard.folder / "deep").rename(tmp_path / "away")
            time.sleep(0.7)
            (tmp_path / "away").rename(heard.folder / "deep")
    time.sleep(0.7)
    (heard.folder / "deep" / "deeper" / "new.jpg").touch()
    eventually(lambda: "deep/deeper/new.jpg" in heard.restless())
    assert told == []


def test_a_folder_that_is_deleted_or_moved_is_lost(heard: Heard, tmp_path: Path) -> None:
    folder = os.fsencode(heard.folder)
    assert not heard.watch.is_lost(folder)
    heard.folder.rmdir()
    eventually(lambda: heard.watch.is_lost(folder))
    heard.watch.remove(folder)
    heard.folder.mkdir()
    heard.watch.add(folder)
    assert not heard.watch.is_lost(folder)
    (heard.folder / "a.jpg").touch()
    eventually(lambda: heard.restless() == {"a.jpg"})


class Watched:
    """A watcher at work in a thread: what it has been asked to look at, and what it has told."""

    def __init__(self, *folders: Path) -> None:
        self.updates: list[tuple[list[str], set[str]]] = []
        self.news: list[tuple[str, list[str]]] = []
        self.refusing = False
        self._ended = threading.Event()
        watcher = Watcher([os.fsencode(folder) for folder in folders], update=self._update, tell=self._tell)
        self._thread = threading.Thread(target=watcher.run, kwargs={"until": self._ended.is_set})
        self._thread.start()

    def _update(self, paths: Sequence[bytes], unsettled: Set[bytes]) -> None:
        if self.refusing:
            raise LibraryLockedError("busy")
        self.updates.append((list(map(os.fsdecode, paths)), set(map(os.fsdecode, unsettled))))

    def _tell(self, news: News) -> None:
        self.news.append((news.kind, list(map(os.fsdecode, news.folders))))

    def paths(self) -> set[str]:
        return {path for paths, _ in self.updates for path in paths}

    def end(self) -> None:
        self._ended.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def watched(photo_folder: Photos, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr(watching, "_TICK_S", 0.02)
    monkeypatch.setattr("clipcli.photos.watching._QUIET_S", 0.1)
    found = Watched(photo_folder("one", count=1), photo_folder("two", count=1))
    yield found
    found.end()


def test_all_is_looked_at_first_then_what_has_changed(watched: Watched, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    eventually(lambda: watched.news == [("watching", [str(one), str(two)])])
    assert watched.updates == [([str(one), str(two)], set())]
    (one / "deep").mkdir()
    (one / "deep" / "new.jpg").touch()
    eventually(lambda: str(one / "deep") in watched.paths())
    (two / "000.jpg").unlink()
    (two / "001.jpg").touch()
    eventually(lambda: [str(two)] in [paths for paths, _ in watched.updates[1:]])


def test_a_root_that_goes_and_comes_back(watched: Watched, tmp_path: Path) -> None:
    one = tmp_path / "one"
    eventually(lambda: watched.news)
    one.rename(tmp_path / "away")
    eventually(lambda: watched.news[1:] == [("gone", [str(one)])])
    one.mkdir()  # the place of a disk that is not mounted
    time.sleep(0.2)
    assert len(watched.news) == 2
    before = len(watched.updates)
    one.rmdir()
    (tmp_path / "away").rename(one)
    eventually(lambda: watched.news[2:] == [("back", [str(one)])])
    eventually(lambda: [str(one)] in [paths for paths, _ in watched.updates[before:]])
    (one / "after.jpg").touch()
    eventually(lambda: [str(one)] in [paths for paths, _ in watched.updates[before + 1 :]])


def test_another_run_is_waited_for_and_nothing_is_missed(watched: Watched, tmp_path: Path) -> None:
    eventually(lambda: watched.news)
    watched.refusing = True
    (tmp_path / "one" / "meanwhile.jpg").touch()
    eventually(lambda: ("waiting", []) in watched.news)
    time.sleep(0.2)
    assert watched.news.count(("waiting", [])) == 1
    watched.refusing = False
    eventually(lambda: [str(tmp_path / "one")] in [paths for paths, _ in watched.updates[1:]])


def test_where_the_system_cannot_tell_the_watcher_looks(
    photo_folder: Photos, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(self: FolderWatch, folder: bytes) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(FolderWatch, "add", full)
    monkeypatch.setattr(watching, "_TICK_S", 0.02)
    monkeypatch.setattr(watching, "_LOOK_WITHOUT_WORD_EVERY_S", 0.1)
    found = Watched(photo_folder(count=1))
    try:
        eventually(lambda: len(found.updates) >= 3)
        assert found.news[0][0] == "deaf"
    finally:
        found.end()


def test_the_lock_of_watching_names_its_folders(tmp_path: Path) -> None:
    library, folder = tmp_path / "library.db", tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    named = os.fsencode(folder)
    refuse_watched(library, [named])
    with WatchLock(library, [named, b"/\xff/odd"]):
        for within in (folder, folder / "deep", tmp_path):
            with pytest.raises(LibraryLockedError, match=r"keeps .*photos up to date"):
                refuse_watched(library, [os.fsencode(within)])
        refuse_watched(library, [os.fsencode(tmp_path / "other")])
        with pytest.raises(LibraryLockedError, match="keeps up to date"), WatchLock(library, []):
            pass
        with RunLock(library):  # a run elsewhere, a check, tagging: all of them go on beside it
            pass
    refuse_watched(library, [named])
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.skipif(sys.platform == "win32", reason="other signals")
def test_the_command(tmp_path: Path, bundle: Path, photo_folder: Photos) -> None:
    """First a run as any other, then a line for each update; others are told, and Ctrl-C ends it."""
    folder, other, file = photo_folder(count=2), photo_folder("other", count=1, seed=3), tmp_path / "library.db"
    (folder / "bad.png").write_text("text")
    log = tmp_path / "said.txt"
    clip = [sys.executable, "-m", "clipcli", "embed"]
    end = ["--db", str(file), "-m", str(bundle)]
    with open(log, "wb") as said:
        process = subprocess.Popen([*clip, str(folder), "--watch", *end], cwd=ROOT, stderr=said)
    try:
        eventually(lambda: "watching" in log.read_text(), 60)
        Image.new("RGB", (30, 30), "red").save(folder / "new.png")
        shutil.move(folder / "000.jpg", folder / "moved.jpg")
        eventually(lambda: rows(file, "SELECT count(*) FROM images WHERE path IN ('new.png', 'moved.jpg')") == [2], 60)
        second = subprocess.run([*clip, str(folder), *end], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (second.returncode, "keeps" in second.stderr) == (5, True), second.stderr
        elsewhere = subprocess.run([*clip, str(other), *end], cwd=ROOT, capture_output=True, text=True, check=False)
        assert elsewhere.returncode == 0, elsewhere.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    finally:
        process.kill()
        process.wait()
    text = log.read_text()
    assert "3 files: 2 embedded, 1 skipped" in text
    assert "1 embedded, 1 recognised" in text
    assert text.count("no longer watching") == 1
    assert "Traceback" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library.db", "other", "photos", "said.txt"]


def test_what_is_said_of_updates(
    tmp_path: Path,
    model: Model,
    photo_folder: Photos,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That none of the pictures is left is said once; a file that was gone again before it was read is nothing."""
    monkeypatch.setattr(indexing, "Decoders", DecodersHere)
    folder = photo_folder(count=2)
    runs = _Runs(tmp_path / "library.db", IndexOptions(), lambda library: model, frames_given=False, records=True)
    runs.update([os.fsencode(folder)], set())
    for path in folder.iterdir():
        path.unlink()
    (folder / "note.txt").touch()
    (record,) = capsys.readouterr().out.splitlines()
    assert json.loads(record)["embedded"] == 2
    for _ in range(2):
        runs.update([os.fsencode(folder)], set())
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert said.out == ""  # nothing has changed
    assert re.match(r"\d\d:\d\d:\d\d none of the 2 pictures known in ", line)

    def gone_again(self: Reader, job: Job) -> Outcome:
        return Refused(job=job, reason="missing", detail="no such file")

    monkeypatch.setattr(Reader, "read", gone_again)
    photo_folder(count=3, seed=1)
    runs.update([os.fsencode(folder)], set())
    assert "missing" not in capsys.readouterr().err


def test_what_does_not_go_together(tmp_path: Path, photo_folder: Photos) -> None:
    folder = photo_folder(count=1)
    for arguments, code in (
        ([str(folder), "--watch", "--dry-run"], 2),
        ([str(folder / "000.jpg"), "--watch"], 2),
        ([str(tmp_path / "none"), "--watch"], 4),
    ):
        command = [sys.executable, "-m", "clipcli", "embed", *arguments, "--db", str(tmp_path / "library.db")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert not (tmp_path / "library.db").exists()
