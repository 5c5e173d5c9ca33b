"""One run at a time: the second one is told at once, and a dead owner's lock is nobody's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from clipcli.errors import LibraryLockedError
from clipcli.library.run_lock import RunLock, as_told, running


def test_the_second_is_told_at_once_by_whom(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "library.db"
    with RunLock(file):
        started = time.monotonic()
        with pytest.raises(LibraryLockedError, match=rf"another run .* \(process {os.getpid()}, since "), RunLock(file):
            pytest.fail("two owners")
        assert time.monotonic() - started < 1
    assert list(file.parent.iterdir()) == []
    with RunLock(file):
        pass


def test_libraries_do_not_share_a_lock(tmp_path: Path) -> None:
    with RunLock(tmp_path / "one.db"), RunLock(tmp_path / "two.db"):
        assert len(list(tmp_path.iterdir())) == 2


def test_a_dead_owner_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "library.db"
    code = (
        "import time; from pathlib import Path; from clipcli.library.run_lock import RunLock\n"
        f"with RunLock(Path({str(file)!r})):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(LibraryLockedError), RunLock(file):
            pytest.fail("two owners")
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert (tmp_path / "library.db-lock").exists()
    with RunLock(file):
        pass


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LibraryLockedError, match="cannot be written here"), RunLock(tmp_path / "file" / "library.db"):
        pytest.fail("a lock inside a file")


def test_others_see_how_far_a_run_is(tmp_path: Path) -> None:
    file = tmp_path / "library.db"
    assert running(file) is None
    with RunLock(file) as lock:
        found = running(file)
        assert found is not None
        assert (found.done, found.total) == (None, None)
        lock.tell(0, 900)
        lock.tell(120, 900)  # too soon after the first
        found = running(file)
        assert found is not None
        assert (found.done, found.total) == (0, 900)
        assert found.since[:2] == "20"
        lock.tell(900, 900)
        found = running(file)
        assert found is not None
        assert (found.done, found.total) == (900, 900)
        with pytest.raises(LibraryLockedError, match="900 of 900 pictures done"), RunLock(file):
            pass
    assert running(file) is None


@pytest.mark.parametrize("left", ["", "process", "process 4194303 since 2026-01-01 00:00:00+00:00", "\xff" * 300])
def test_what_a_killed_run_leaves_is_no_run(left: str, tmp_path: Path) -> None:
    file = tmp_path / "library.db"
    Path(f"{file}-lock").write_text(left, encoding="latin-1")
    assert running(file) is None


def test_the_time_in_the_message_is_this_machines() -> None:
    now = datetime.now().astimezone().replace(microsecond=0)
    elsewhere = now.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat(sep=" ")
    assert as_told(f"process 7 since {elsewhere}") == f"process 7, since {now:%H:%M:%S}"
    assert as_told(f"process 7 since {now}, 1200 of 50000 done").endswith(
        f"{now:%H:%M:%S}, 1,200 of 50,000 pictures done"
    )
    before = now - timedelta(days=3)
    assert as_told(f"process 7 since {before}") == f"process 7, since {before:%Y-%m-%d %H:%M}"
    for owner in ("", "process", "process 7 since 2026-99-99 00:00:00+00:00"):
        assert as_told(owner) == owner
