"""Columns beside the database: the same answers as by SQL, never those of an earlier state, and of no use made anew."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from clipcli.library import columns as columns_module
from clipcli.library import counts as counts_module
from clipcli.library import picking
from clipcli.library.checking import check_library
from clipcli.library.columns import columns_file, columns_files, known_columns, made_columns
from clipcli.library.counts import count_library
from clipcli.library.filters import Filters, MinSize, chosen_ids
from clipcli.library.moments import Span
from clipcli.library.schema import STATE_OF_PICTURES_SINCE
from clipcli.library.store import Library
from clipcli.library.vectors import cache_folder
from tests.library.released import unpack
from tests.library.test_filters import PICTURES, ROOTS, is_known, library, passes, wanted
from tests.library.test_search import fill, unit

__all__ = ["library"]  # a fixture

WHOLE_YEARS = Filters(since=Span.read("2020"), until=Span.read("2020"))


@pytest.fixture(autouse=True)
def _small_libraries_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "MANY", 0)
    monkeypatch.setattr(counts_module, "MANY", 0)


def change(file: Path, statement: str) -> None:
    """By another program."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("most_in_doubt", [1.0, 1 / 8])
def test_the_same_pictures_as_plain_python(
    most_in_doubt: float, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picking, "_MOST_IN_DOUBT", most_in_doubt)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(filters=wanted())
    def same(filters: Filters) -> None:
        if not all(is_known(folder) or os.path.isdir(folder) for folder in filters.folders):
            return
        expected = [picture.id for picture in PICTURES if passes(picture, filters)]
        assert chosen_ids(library, filters).tolist() == expected

    same()
    assert len(columns_files(library)) == 1


def test_a_folder_may_be_a_picture(library: Library) -> None:
    for picture in PICTURES[:20]:
        assert chosen_ids(library, Filters(folders=(picture.root + b"/" + picture.path,))).tolist() == [picture.id]
    with library.read():
        assert known_columns(library) is not None


def test_counts_are_those_of_sql(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    by_columns = count_library(library)
    assert len(columns_files(library)) == 1
    monkeypatch.setattr(counts_module, "MANY", 10**9)
    by_rows = count_library(library)
    assert asdict(by_columns) == asdict(by_rows)
    assert by_columns.pictures.count == len(PICTURES)
    assert len(by_columns.roots) == len(ROOTS)


CHANGES = {
    "path": ("path = 'moved/1.png'", Filters(folders=(b"/photos/moved",))),
    "width": ("width = 4000", Filters(min_size=MinSize(width=4000))),
    "height": ("height = 4000", Filters(min_size=MinSize(height=4000))),
    "format": ("format = 'GIF'", Filters(formats=("gif",))),
    "camera": ("camera = 'Canon'", Filters(cameras=("canon",))),
    "date": ("taken_at = '2020-06-01T10:00:00', taken_from = 'exif'", WHOLE_YEARS),
    "a date near a limit": ("taken_at = '2020-01-01T00:00:00', taken_from = 'exif'", WHOLE_YEARS),
}


@pytest.mark.parametrize(("to", "filters"), CHANGES.values(), ids=list(CHANGES))
def test_what_another_program_changes_counts_at_once(to: str, filters: Filters, library_file: Path) -> None:
    with Library.open(library_file, write=True, create=True) as made:
        fill(made, unit(3))
    with Library.open(library_file) as opened:
        with opened.read():
            assert known_columns(opened) is not None
        before = columns_files(opened)
        change(library_file, f"UPDATE images SET {to} WHERE id = 1")
        assert chosen_ids(opened, filters).tolist() == [1]
        assert len(columns_files(opened)) == 1
        assert columns_files(opened) != before
        change(library_file, "DELETE FROM images WHERE id = 1")
        assert 1 not in chosen_ids(opened, Filters(formats=("png", "gif"))).tolist()


def test_counts_follow_every_change(library_file: Path) -> None:
    with Library.open(library_file, write=True, create=True) as made:
        fill(made, unit(3))
    with Library.open(library_file) as opened:
        for to in ("size = 7", "stale = 1", "truncated = 1", "format = 'GIF'", "taken_at = '2020'", "taken_at = ''"):
            count_library(opened)
            change(library_file, f"UPDATE images SET {to} WHERE id = 2")
            by_columns = count_library(opened)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(counts_module, "MANY", 10**9)
                assert asdict(by_columns) == asdict(count_library(opened)), to
            with opened.read():
                assert known_columns(opened) is not None


ODD = ("width = 'wide'", "width = 1.5", "size = 10000000000000000000", "height = 5000000000", "camera = x'ff'",
       "taken_at = x'32303230'", "format = x'ff'")  # fmt: skip


@pytest.mark.parametrize("to", ODD)
def test_what_a_column_cannot_hold_is_left_to_sql(to: str, library_file: Path) -> None:
    with Library.open(library_file, write=True, create=True) as made:
        fill(made, unit(3))
        made.connection.execute(f"UPDATE images SET {to} WHERE id = 2")
    with Library.open(library_file) as opened:
        with opened.read():
            assert known_columns(opened) is None
        assert chosen_ids(opened, Filters(formats=("png",), min_size=MinSize(width=1, height=1))).tolist()[0] == 1
        assert columns_files(opened) == []


@pytest.mark.parametrize("day", ["2020-6-1", "2020:06:01 10:00:00", "yesterday", "0000-00-00", "", "２０２０-06-01"])
def test_dates_that_are_none_are_compared_as_sql_does(day: str, library_file: Path) -> None:
    with Library.open(library_file, write=True, create=True) as made:
        fill(made, unit(40))
        made.connection.execute("UPDATE images SET taken_at = '2020-06-01', taken_from = 'exif' WHERE id > 20")
        made.connection.execute("UPDATE images SET taken_at = ?, taken_from = 'exif' WHERE id = 2", (day,))
    with Library.open(library_file) as opened:
        asked = (WHOLE_YEARS, Filters(since=Span.read("2020-06-02")))
        found = [chosen_ids(opened, one).tolist() for one in asked]
        with opened.read():
            assert known_columns(opened) is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(columns_module, "known_columns", lambda _: None)
            assert [chosen_ids(opened, one).tolist() for one in asked] == found


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"x" + content[1:], lambda _: b""])
def test_a_damaged_file_is_made_anew(damage: object, library: Library) -> None:
    assert callable(damage)
    expected = chosen_ids(library, WHOLE_YEARS).tolist()
    (file,) = columns_files(library)
    content = file.read_bytes()
    file.write_bytes(damage(content))
    assert chosen_ids(library, WHOLE_YEARS).tolist() == expected
    assert file.read_bytes() == content


def test_no_room_for_them_is_no_reason_to_fail(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    expected = chosen_ids(library, WHOLE_YEARS).tolist()
    (file,) = columns_files(library)
    file.unlink()
    monkeypatch.setattr("clipcli.library.vectors.os.fsync", full)
    assert chosen_ids(library, WHOLE_YEARS).tolist() == expected
    assert list(cache_folder().iterdir()) == []


def test_an_older_library_is_asked_in_sql(tmp_path: Path) -> None:
    with Library.open(unpack(STATE_OF_PICTURES_SINCE - 1, tmp_path / "library.db")) as opened:
        assert columns_file(opened) is None
        assert chosen_ids(opened, Filters(formats=("jpg",))).size
        assert count_library(opened).pictures.count == 6


def test_an_empty_library(library_file: Path) -> None:
    with Library.open(library_file, write=True, create=True) as opened:
        assert chosen_ids(opened, Filters(formats=("jpg",), cameras=("x",))).tolist() == []
        assert count_library(opened).pictures.count == 0


def test_the_check_finds_one_that_is_wrong_or_old(library: Library) -> None:
    def kinds() -> list[str]:
        faults = check_library(library, deep=False, on_progress=lambda *_: None)
        return [fault.kind for fault in faults if fault.kind.endswith("-cache")]

    chosen_ids(library, WHOLE_YEARS)
    (file,) = columns_files(library)
    assert kinds() == []
    content = bytearray(file.read_bytes())
    content[-60] ^= 1
    file.write_bytes(content)
    file.with_name(file.name.replace("-pictures-", "-pictures-0")).write_bytes(content)
    assert sorted(kinds()) == ["old-cache", "stale-cache"]
    file.unlink()
    with library.read():
        assert made_columns(library) != bytes(content)
