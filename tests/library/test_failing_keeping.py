"""What looks after a library is killed, loses its power, or meets a disk that fails, at any change: the old or the new.

As test_failing_disk.py, for forget, relocate, repair, vacuum, import, backup and tagging by hand.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from clipcli.bundle.encoder import Model
from clipcli.errors import ClipError
from clipcli.library import indexing
from clipcli.library.backup import backup_library, vacuum_library
from clipcli.library.forgetting import forget
from clipcli.library.indexing import IndexOptions, index_folders
from clipcli.library.interchange import export_embeddings, import_embeddings
from clipcli.library.models import stored_models
from clipcli.library.relocation import relocate
from clipcli.library.repair import mend_library
from clipcli.library.store import Library
from tests.library.decoding_here import DecodersHere
from tests.library.faulty_disk import FaultyDisk, left_behind
from tests.library.test_failing_disk import Scenario, pictures, state, undisturbed

pytestmark = pytest.mark.skipif(ctypes.util.find_library("sqlite3") is None, reason="SQLite is part of Python here")

Act = Callable[[Library, Path], object]


@dataclass
class Keeping(Scenario):
    """One change to a library, in the place of an index run."""

    act: Act = lambda library, place: None

    def run(self) -> None:
        with Library.open(self.file, write=True) as library:
            self.act(library, self.place.parent)


def vectors_that_are_none(library: Library) -> None:
    with library.write() as connection:
        connection.execute("UPDATE embeddings SET vector = x'00' WHERE image_id < 5")
        connection.execute("INSERT INTO tags (image_id, label, model_id) VALUES (2, 'red', 1)")
        connection.execute("DROP VIEW pictures")


def empty_pages(library: Library) -> None:
    with library.write() as connection:
        connection.execute("INSERT INTO settings VALUES ('ballast', ?)", ("x" * 300_000,))
    with library.write() as connection:
        connection.execute("DELETE FROM settings WHERE key = 'ballast'")


def nothing(library: Library) -> None:
    """As it is."""


def two_pictures_less(library: Library) -> None:
    with library.write() as connection:
        connection.execute("DELETE FROM images WHERE id > 5")


ACTS: dict[str, tuple[Callable[[Library], None], Act]] = {
    "forget": (nothing, lambda library, place: forget(library, [os.fsencode(place / "photos" / "000.png")])),
    "forget all": (nothing, lambda library, place: forget(library, [os.fsencode(place / "photos")])),
    "relocate": (
        nothing,
        lambda library, place: relocate(library, os.fsencode(place / "photos"), os.fsencode(place / "moved")),
    ),
    "repair": (
        vectors_that_are_none, lambda library, place: mend_library(library, deep=False, on_progress=lambda *_: None)
    ),
    "vacuum": (empty_pages, lambda library, place: vacuum_library(library)),
    "import": (
        two_pictures_less,
        lambda library, place: import_embeddings(library, place / "vectors.npz", on_progress=lambda _: None),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Path:
    """Pictures, a copy of them, a library of them, and its vectors as a file."""
    place = tmp_path_factory.mktemp("keeping")
    pictures(place / "photos", 8)
    shutil.copytree(place / "photos", place / "moved")
    with pytest.MonkeyPatch.context() as patch, Library.open(place / "sound.db", write=True, create=True) as library:
        patch.setattr(indexing, "Decoders", DecodersHere)
        index_folders(library, [os.fsencode(place / "photos")], model, IndexOptions(workers=1), lambda _: None)
        with library.write() as connection:
            connection.execute("INSERT INTO tags (image_id, label) SELECT id, 'mine' FROM images")
        (stored,) = stored_models(library)
        export_embeddings(library, stored, place / "vectors.npz", on_progress=lambda _: None)
    return place


@pytest.fixture(params=ACTS)
def scenario(request: pytest.FixtureRequest, place: Path, model: Model) -> Keeping:
    prepare, act = ACTS[request.param]
    file = Path(shutil.copy(place / "sound.db", place / "prepared.db"))
    with Library.open(file, write=True) as library:
        prepare(library)
    return undisturbed(Keeping(place / "library", file.read_bytes(), place / "photos", model, act=act))


def test_killed_or_without_power_at_every_change(scenario: Keeping, tmp_path: Path) -> None:
    assert len(scenario.changes) > 5
    for number in range(len(scenario.changes) + 1):
        for how in ({"torn": True}, {"plug": number}):
            place = tmp_path / "left"
            left_behind({"library.db": scenario.library}, scenario.changes[:number], place, **how)
            assert state(place / "library.db") in scenario.possible(number), f"change {number}, {how}"
            shutil.rmtree(place)


def test_an_error_at_every_change(scenario: Keeping) -> None:
    errors = []
    for number in range(1, len(scenario.changes) + 1):
        scenario.put_back()
        try:
            with FaultyDisk(fail_at=number, torn=True):
                scenario.run()
        except ClipError as error:
            errors.append(error)
        assert state(scenario.file) in scenario.states, f"change {number} left something half-done"
    assert len(errors) > 1
    assert not any("\n" in str(error) for error in errors)


def test_a_backup_on_a_failing_disk(place: Path, tmp_path: Path) -> None:
    """Only the copy is written: whatever fails, there is a whole one or none, and nothing else."""
    for number in range(1, 200):
        disk = FaultyDisk(fail_at=number, torn=True)
        try:
            with Library.open(place / "sound.db") as library, disk:
                backup_library(library, tmp_path / "copy.db", on_progress=lambda *_: None)
        except ClipError as error:
            assert "\n" not in str(error)  # noqa: PT017 - some of the failures do not matter
        assert {file.name for file in tmp_path.iterdir()} <= {"copy.db"}
        if (tmp_path / "copy.db").exists():
            assert state(tmp_path / "copy.db") == state(place / "sound.db")
            for left in tmp_path.iterdir():
                left.unlink()
        if len(disk.changes) < number:
            break
    assert number > 10
