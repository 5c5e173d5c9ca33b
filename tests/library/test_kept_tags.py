"""What a person tagged comes back with the picture, passes to the copy that is kept, and goes when that is meant."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from clipcli.errors import NoSpaceError
from clipcli.library import indexing, writing
from clipcli.library.checking import check_library
from clipcli.library.duplicates import find_duplicates
from clipcli.library.forgetting import forget
from clipcli.library.removal import delete_copies, lone_sidecars
from clipcli.library.repair import mend_library
from clipcli.library.store import Library
from clipcli.library.tag_selection import Selection, remove_selected
from clipcli.library.tags import add_tags
from tests.library.conftest import Index, integrity, rows
from tests.library.decoding_here import DecodersHere

TAGS = (
    "SELECT images.path, label, score, model_id FROM tags JOIN images ON images.id = tags.image_id "
    "ORDER BY images.path, label"
)
KEPT = "SELECT label FROM kept_tags ORDER BY label"


@pytest.fixture(autouse=True)
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "Decoders", DecodersHere)


@pytest.fixture
def folder(photo_folder: Callable[..., Path], index: Index, library_file: Path) -> Path:
    """Three pictures in the library. The first is tagged by a person and by a model, the second by a person."""
    folder = photo_folder(count=3)
    index(folder)
    with Library.open(library_file, write=True) as library:
        ids = dict(library.connection.execute("SELECT path, id FROM images").fetchall())
        add_tags(library, [ids["000.jpg"], ids["001.jpg"]], "grandmother")
        add_tags(library, [ids["000.jpg"]], "boat", score=0.3, model_id=1)
    return folder


def test_tags_come_back_with_the_picture(folder: Path, index: Index, library_file: Path, tmp_path: Path) -> None:
    shutil.move(folder / "000.jpg", tmp_path / "away.jpg")
    gone = index(folder)
    assert (gone.forgotten, gone.kept_tags) == (1, 1)
    assert rows(library_file, KEPT) == ["grandmother"]
    shutil.copy(tmp_path / "away.jpg", folder / "under another name.jpg")
    shutil.copy(tmp_path / "away.jpg", folder / "and a copy.jpg")
    index(folder)
    assert rows(library_file, TAGS) == [
        ("001.jpg", "grandmother", None, None),
        ("and a copy.jpg", "grandmother", None, None),
        ("under another name.jpg", "grandmother", None, None),
    ]
    assert rows(library_file, KEPT) == []
    assert integrity(library_file) == "ok"


def test_a_tag_taken_off_after_the_return_stays_off(
    folder: Path, index: Index, library_file: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        shutil.move(folder / "000.jpg", tmp_path / "away.jpg")
        index(folder)
        shutil.move(tmp_path / "away.jpg", folder / "000.jpg")
        index(folder)
        with Library.open(library_file, write=True) as library:
            remove_selected(library, Selection(labels=("grandmother",), image_ids=()))
    assert rows(library_file, "SELECT count(*) FROM tags") == [2]
    with Library.open(library_file, write=True) as library:
        (number,) = library.connection.execute("SELECT id FROM images WHERE path = '000.jpg'").fetchone()
        remove_selected(library, Selection(image_ids=(number,)))
    shutil.move(folder / "000.jpg", tmp_path / "away.jpg")
    index(folder)
    shutil.move(tmp_path / "away.jpg", folder / "000.jpg")
    index(folder)
    assert rows(library_file, TAGS) == [("001.jpg", "grandmother", None, None)]


def test_a_label_removed_everywhere_does_not_come_back(folder: Path, index: Index, library_file: Path) -> None:
    (folder / "000.jpg").unlink()
    index(folder)
    with Library.open(library_file, write=True) as library:
        remove_selected(library, Selection(labels=("another",)))
        assert rows(library_file, KEPT) == ["grandmother"]
        remove_selected(library, Selection(labels=("grandmother",), below=0.5))
        assert rows(library_file, KEPT) == ["grandmother"]
        told = [("grandmother", 2, 2)]  # one of them of the picture that is gone
        assert remove_selected(library, Selection(labels=("grandmother",)), dry_run=True) == told
        assert rows(library_file, KEPT) == ["grandmother"]
        assert remove_selected(library, Selection(labels=("grandmother",))) == told
    assert rows(library_file, KEPT) == []


@pytest.mark.parametrize("named", ["", "000.jpg"])
def test_a_picture_that_was_taken_out_has_them_when_it_is_back(
    named: str, folder: Path, index: Index, library_file: Path
) -> None:
    with Library.open(library_file, write=True) as library:
        forget(library, [os.fsencode(folder / named) if named else os.fsencode(folder)])
    assert rows(library_file, KEPT) == ["grandmother"] * (1 if named else 2)
    index(folder)
    assert rows(library_file, TAGS) == [
        ("000.jpg", "grandmother", None, None),
        ("001.jpg", "grandmother", None, None),
    ]


def test_a_folder_with_another_name_has_them_once_the_old_one_is_forgotten(
    folder: Path, index: Index, library_file: Path
) -> None:
    """A run takes the new one for copies: nobody knows that the old one is not just unmounted."""
    other = folder.rename(folder.with_name("renamed"))
    index(other)
    with Library.open(library_file, write=True) as library:
        forget(library, [os.fsencode(folder)])
    assert rows(library_file, KEPT) == []
    assert rows(library_file, TAGS) == [
        ("000.jpg", "grandmother", None, None),
        ("001.jpg", "grandmother", None, None),
    ]


def test_a_check_that_mends_keeps_them(folder: Path, index: Index, library_file: Path, tmp_path: Path) -> None:
    shutil.move(folder / "000.jpg", tmp_path / "away.jpg")
    with Library.open(library_file, write=True) as library:
        assert not mend_library(library, deep=True, on_progress=lambda *_: None).left
    assert rows(library_file, KEPT) == ["grandmother"]
    shutil.move(tmp_path / "away.jpg", folder / "000.jpg")
    index(folder)
    assert ("000.jpg", "grandmother", None, None) in rows(library_file, TAGS)


def test_another_program_that_deletes_keeps_them_too(folder: Path, library_file: Path) -> None:
    for statement in ("DELETE FROM images WHERE path = '000.jpg'", "DELETE FROM roots"):
        with closing(sqlite3.connect(library_file)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(statement)
            connection.commit()
    assert len(rows(library_file, "SELECT digest FROM kept_tags")) == 2
    assert folder.is_dir()


def test_a_run_that_fails_while_forgetting_loses_none(
    folder: Path, index: Index, library_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "000.jpg").unlink()
    (folder / "001.jpg").unlink()

    def full(*_: object) -> None:
        raise NoSpaceError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "drop_kept", full)
        with pytest.raises(NoSpaceError):
            index(folder)
    assert len(rows(library_file, TAGS)) == 3
    assert index(folder).kept_tags == 2


def test_what_a_model_said_of_another_content_goes(folder: Path, index: Index, library_file: Path) -> None:
    before = (folder / "000.jpg").stat()
    shutil.copyfile(folder / "002.jpg", folder / "000.jpg")
    os.utime(folder / "000.jpg", ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    index(folder)
    assert rows(library_file, TAGS) == [
        ("000.jpg", "grandmother", None, None),
        ("001.jpg", "grandmother", None, None),
    ]


def test_what_a_model_said_stays_while_the_content_does(
    folder: Path, index: Index, library_file: Path, bundle: Path
) -> None:
    before = rows(library_file, TAGS)
    os.utime(folder / "000.jpg")
    index(folder)
    index(folder, force=True)
    shutil.move(folder / "000.jpg", folder / "00.jpg")
    index(folder)
    assert rows(library_file, TAGS) == [(path.replace("000", "00"), *rest) for path, *rest in before]
    assert bundle.is_dir()


@pytest.mark.parametrize("foreign_keys", ["ON", "OFF"])
def test_a_models_tag_without_a_score_never_passes_for_a_persons(
    foreign_keys: str, folder: Path, library_file: Path
) -> None:
    """What no label fitted has none; by the model that gave it, it is known for what it is."""
    with Library.open(library_file, write=True) as library:
        add_tags(library, [3], "nothing of it", model_id=1)
    with closing(sqlite3.connect(library_file)) as connection:
        connection.execute(f"PRAGMA foreign_keys = {foreign_keys}")
        connection.execute("DELETE FROM models")
        connection.commit()
    with Library.open(library_file, write=True) as library:
        mend_library(library, deep=False, on_progress=lambda *_: None)
        assert check_library(library, deep=False, on_progress=lambda *_: None) == []
    assert rows(library_file, TAGS) == [
        ("000.jpg", "boat", pytest.approx(0.3), None),
        ("000.jpg", "grandmother", None, None),
        ("001.jpg", "grandmother", None, None),
    ]
    assert folder.is_dir()


def test_a_copy_that_is_deleted_leaves_its_tags_to_the_one_that_stays(
    folder: Path, index: Index, library_file: Path
) -> None:
    shutil.copy(folder / "000.jpg", folder / "a copy of 000.jpg")
    index(folder)
    with Library.open(library_file, write=True) as library:
        (number,) = library.connection.execute("SELECT id FROM images WHERE path LIKE 'a copy%'").fetchone()
        for label in ("boat", "grandmother", "summer"):
            add_tags(library, [number], label)
        (group,) = find_duplicates(library)
        kept = os.fsdecode(os.path.basename(group.kept.path))
        delete_copies(library, [group])
    assert kept == "000.jpg"
    assert [row[1:] for row in rows(library_file, TAGS) if row[0] == kept] == [
        ("boat", None, None),
        ("grandmother", None, None),
        ("summer", None, None),
    ]
    assert rows(library_file, KEPT) == []


def test_side_cars_that_would_lie_alone(tmp_path: Path) -> None:
    def there(*names: str) -> list[str]:
        for file in tmp_path.iterdir():
            file.unlink()
        for name in names:
            (tmp_path / name).touch()
        return [os.fsdecode(os.path.basename(one)) for one in lone_sidecars(os.fsencode(tmp_path / "a.jpg"))]

    assert there("a.jpg", "b.jpg.xmp", "b.xmp") == []
    assert there("a.jpg", "a.jpg.xmp") == ["a.jpg.xmp"]
    assert there("a.jpg", "a.jpg.xmp", "a.xmp") == ["a.jpg.xmp", "a.xmp"]
    assert there("a.jpg", "a.CR2", "a.xmp") == []  # the raw photograph's
