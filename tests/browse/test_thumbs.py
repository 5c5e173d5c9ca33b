"""Thumbnails are made once, found by content, and never take more room than they may."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clipcli.browse import thumbs
from clipcli.browse.thumbs import Thumbs


def made_of(data: bytes = b"\xff\xd8picture\xff\xd9") -> tuple[Callable[..., bytes], list[str]]:
    """A stand-in for the maker, and what it was asked for."""
    asked: list[str] = []

    def make(path: bytes, long_side: int) -> bytes:
        asked.append(f"{os.fsdecode(os.path.basename(path))}-{long_side}")
        time.sleep(0.01)
        return data

    return make, asked


@pytest.fixture
def picture(tmp_path: Path) -> bytes:
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"x")
    return os.fsencode(path)


def test_made_once_whoever_asks(tmp_path: Path, picture: bytes) -> None:
    make, asked = made_of()
    cache = Thumbs(tmp_path / "cache", make)
    threads = [threading.Thread(target=cache.get, args=("d" * 64, picture, 320)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == ["picture.jpg-320"]
    cache.get("d" * 64, picture, 160)
    cache.get("e" * 64, picture, 320)  # other content: another picture
    assert asked == ["picture.jpg-320", "picture.jpg-160", "picture.jpg-320"]
    assert Thumbs(tmp_path / "cache", make).get("d" * 64, b"/gone", 320) == b"\xff\xd8picture\xff\xd9"
    folder = tmp_path / "cache"
    assert (folder / "dd").stat().st_mode & 0o077 == 0  # nobody else's pictures
    assert not list(folder.rglob("*.part"))


def test_a_file_that_was_cut_off_is_made_again(tmp_path: Path, picture: bytes) -> None:
    make, asked = made_of()
    cache = Thumbs(tmp_path / "cache", make)
    whole = cache.get("d" * 64, picture, 320)
    (path,) = (tmp_path / "cache").rglob("*.jpg")
    for damage in (b"", whole[:-2], b"\0" * 50):
        path.write_bytes(damage)
        assert cache.get("d" * 64, picture, 320) == whole
    assert len(asked) == 4


def test_the_folder_stays_within_its_bound(tmp_path: Path, picture: bytes) -> None:
    make, _ = made_of(b"\xff\xd8" + b"x" * 996 + b"\xff\xd9")
    folder = tmp_path / "cache"
    cache = Thumbs(folder, make, limit=20_000)
    for number in range(60):
        cache.get(f"{number:064d}", picture, 320)
        for path in folder.rglob(f"{number:064d}*"):
            os.utime(path, (number + 1, number + 1))
        assert sum(path.stat().st_size for path in folder.rglob("*.jpg")) <= 20_000 + 20_000 // 8 + 1000
    left = {int(path.name.partition("-")[0]) for path in folder.rglob("*.jpg")}
    assert {58, 59} <= left
    assert not left & set(range(30))  # the oldest went first


def test_one_that_is_looked_at_is_not_among_the_oldest(tmp_path: Path, picture: bytes) -> None:
    make, _ = made_of()
    cache = Thumbs(tmp_path / "cache", make)
    cache.get("d" * 64, picture, 320)
    (path,) = (tmp_path / "cache").rglob("*.jpg")
    os.utime(path, (1, 1))
    cache.get("d" * 64, picture, 320)
    assert path.stat().st_mtime > time.time() - 100


def test_where_nothing_can_be_written_it_is_made_each_time(tmp_path: Path, picture: bytes) -> None:
    make, asked = made_of()
    (tmp_path / "cache").write_text("a file in its place", encoding="utf-8")
    cache = Thumbs(tmp_path / "cache", make)
    assert cache.get("d" * 64, picture, 320) == cache.get("d" * 64, picture, 320)
    assert len(asked) == 2


def test_a_disk_that_is_nearly_full_is_left_alone(
    tmp_path: Path, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, _ = made_of()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(thumbs.shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    Thumbs(tmp_path / "cache", make).get("d" * 64, picture, 320)
    assert not list((tmp_path / "cache").rglob("*.jpg"))


def test_what_a_killed_process_left_is_swept_up(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "dd"
    folder.mkdir(parents=True)
    (folder / "old.part").write_bytes(b"x")
    (folder / "new.part").write_bytes(b"x")
    os.utime(folder / "old.part", (1, 1))
    Thumbs(tmp_path / "cache", made_of()[0]).weed()
    assert [path.name for path in folder.iterdir()] == ["new.part"]
