"""Every change of the disk by a migration and an index run fails once, or is the last: the old state or the new one.

A state is what all tables hold, without times. The states there may be are those after the commits of an undisturbed
run.
"""

from __future__ import annotations

import ctypes.util
import functools
import itertools
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clipcli.bundle.encoder import Model
from clipcli.errors import ClipError, NoSpaceError
from clipcli.library import indexing
from clipcli.library.indexing import IndexOptions, index_folders
from clipcli.library.schema import SCHEMA_VERSION
from clipcli.library.store import Library
from tests.library.decoding_here import DecodersHere
from tests.library.faulty_disk import FULL, IO_ERROR, Change, FaultyDisk, left_behind
from tests.library.released import unpack

pytestmark = pytest.mark.skipif(ctypes.util.find_library("sqlite3") is None, reason="SQLite is part of Python here")

State = tuple[str, ...]
UNLIKE = (("models", "state"), ("pictures_state", "state"))  # random with every change


def state(file: Path) -> State:
    """All rows of all tables, and the version; nothing of when it was. Raises what SQLite raises for a damaged file."""
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        found = [str(connection.execute("PRAGMA user_version").fetchone())]
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]
        found += names
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            kept = [name for name in columns if not name.endswith("_at") and (table, name) not in UNLIKE]
            found += sorted(f"{table} {row}" for row in connection.execute(f"SELECT {', '.join(kept)} FROM {table}"))
    return tuple(found)


EVERY = bool(os.environ.get("CLIP_TEST_EVERY_CHANGE"))


@dataclass
class Scenario:
    """A library as it was, a folder as it is, and what an undisturbed run makes of them.

    `states` begins with the first one; `after` has, for each commit, how many changes of the disk there were by then.
    """

    place: Path
    library: bytes
    folder: Path
    model: Model
    states: list[State] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.place / "library.db"

    def put_back(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        self.file.write_bytes(self.library)

    def run(self) -> None:
        with pytest.MonkeyPatch.context() as patch, Library.open(self.file, write=True) as library:
            patch.setattr(indexing, "Decoders", DecodersHere)
            options = IndexOptions(batch_size=6, workers=1)
            index_folders(library, [os.fsencode(self.folder)], self.model, options, lambda progress: None)

    def run_to_the_end(self) -> None:
        with FaultyDisk():  # nothing fails, and nothing waits for a disk
            self.run()

    def telling(self) -> list[int]:
        """The numbers of the changes, of a long row of writes for one commit only the first two, the last two and two
        between: what fails within leaves the same behind wherever that is. Of all of them `left_behind` is a test.
        With CLIP_TEST_EVERY_CHANGE set in the environment, all.
        """
        if EVERY:
            return list(range(1, len(self.changes) + 1))
        kinds = [(change.what, change.path) for change in self.changes]
        new = [number for number in range(1, len(kinds)) if kinds[number] != kinds[number - 1]]
        rows = [
            range(first + 1, end + 1) for first, end in itertools.pairwise(sorted({0, *new, *self.after, len(kinds)}))
        ]
        third = [(len(row) - 1) // 3 for row in rows]
        chosen = [{*row[:2], *row[-2:], row[each], row[-1 - each]} for row, each in zip(rows, third, strict=True)]
        return sorted(set().union(*chosen))

    def possible(self, count: int) -> list[State]:
        """What may be there after so many changes: what is committed, or that and the commit being made."""
        done = sum(number <= count for number in self.after)
        return self.states[done : done + 2]


@contextmanager
def on_commit(call: Callable[[], None]) -> Iterator[None]:
    class Watched(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            cursor = super().execute(*arguments)
            if arguments[0] == "COMMIT":
                call()
            return cursor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Watched))
        yield


def undisturbed(scenario: Scenario) -> Scenario:
    scenario.put_back()
    scenario.states.append(state(scenario.file))
    plain = sqlite3.connect

    def keep() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite3, "connect", plain)
            scenario.states.append(state(scenario.file))

    with on_commit(keep):
        scenario.run()
    scenario.put_back()
    with FaultyDisk() as disk, on_commit(lambda: scenario.after.append(len(disk.changes))):
        scenario.run()
    scenario.changes = disk.changes
    assert state(scenario.file) == scenario.states[-1]
    assert len(scenario.after) == len(scenario.states) - 1
    return scenario


@pytest.fixture(scope="module")
def migration(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Scenario:
    """From the first schema to the latest, and a few pictures."""
    place = tmp_path_factory.mktemp("migration")
    folder = place / "photos"
    pictures(folder, 4)
    library = unpack(1, place / "first.db").read_bytes()
    return undisturbed(Scenario(place / "library", library, folder, model))


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Scenario:
    """New, changed, moved, copied, deleted and unreadable files, below a root that is known."""
    place = tmp_path_factory.mktemp("changes")
    folder = place / "photos"
    pictures(folder, 8)
    file = place / "before.db"
    with Library.open(file, write=True, create=True) as library:
        index_folders(library, [os.fsencode(folder)], model, IndexOptions(), lambda progress: None)
        with library.write() as connection:
            connection.execute("INSERT INTO tags (image_id, label) SELECT id, 'mine' FROM images")
    pictures(folder, 14, start=8)
    Image.new("RGB", (9, 9), "red").save(folder / "000.png")
    (folder / "001.png").rename(folder / "moved.png")
    shutil.copy(folder / "002.png", folder / "copy.png")
    (folder / "003.png").unlink()
    (folder / "004.png").write_text("no picture any more")
    (folder / "bad.png").write_text("never was one")
    return undisturbed(Scenario(place / "library", file.read_bytes(), folder, model))


def pictures(folder: Path, end: int, *, start: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(start, end):
        picture = Image.new("RGB", (12, 8), (number * 17 % 256, number * 29 % 256, number * 53 % 256))
        picture.save(folder / f"{number:03d}.png")


@pytest.fixture(params=["migration", "changes"])
def scenario(request: pytest.FixtureRequest) -> Scenario:
    found: Scenario = request.getfixturevalue(request.param)
    return found


def test_an_undisturbed_run_commits_often(migration: Scenario, changes: Scenario) -> None:
    """Otherwise the tests below would have little to choose from."""
    assert len(set(migration.states)) > SCHEMA_VERSION
    assert len(set(changes.states)) >= 5
    for scenario in (migration, changes):
        assert {change.what for change in scenario.changes} == {"write", "sync", "truncate", "delete"}
        assert len(scenario.changes) > 30


@pytest.mark.parametrize("how", ["torn", "full"])
def test_an_error_at_every_change(scenario: Scenario, how: str) -> None:
    """One that fails, a write half-way; or one for which there is no room, and none for any after it."""
    errors: list[ClipError] = []
    telling = scenario.telling()
    assert len(telling) > 60, (len(telling), len(scenario.changes), scenario.after)
    # Where there is no room from one change on, the next change makes little difference.
    for number in telling[:: 1 if how == "torn" or EVERY else 2]:
        scenario.put_back()
        disk = FaultyDisk(fail_at=number, code=FULL if how == "full" else IO_ERROR, torn=how == "torn")
        try:
            with disk:
                scenario.run()
        except ClipError as error:
            errors.append(error)
        now = state(scenario.file)
        assert now in scenario.states, f"change {number} left something half-done"
        scenario.run_to_the_end()
        assert state(scenario.file) == scenario.states[-1], f"after change {number} the next run goes another way"
    assert len(errors) > (20 if how == "torn" else 7)
    assert not any("\n" in str(error) for error in errors)
    assert how != "full" or {type(error) for error in errors} == {NoSpaceError}


@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_kill_at_every_change(scenario: Scenario, torn: bool, tmp_path: Path) -> None:
    for number in range(len(scenario.changes) + 1):
        place = tmp_path / str(number)
        left_behind({"library.db": scenario.library}, scenario.changes[:number], place, torn=torn)
        assert state(place / "library.db") in scenario.possible(number), f"killed at change {number}"
        shutil.rmtree(place)


def test_the_power_goes_at_every_change(scenario: Scenario, tmp_path: Path) -> None:
    """What was written and not synced may be there or not, by sectors: a commit is safe once it has returned."""
    for number in range(len(scenario.changes) + 1):
        place = tmp_path / str(number)
        left_behind({"library.db": scenario.library}, scenario.changes[:number], place, plug=number)
        assert state(place / "library.db") in scenario.possible(number), f"the power went at change {number}"
        shutil.rmtree(place)
