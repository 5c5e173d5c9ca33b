"""An empty folder inside a root: emptied by somebody, or the place of something that is away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clipcli.library import indexing
from clipcli.library.checking import check_library
from clipcli.library.forgetting import forget
from clipcli.library.mounts import absent_places
from clipcli.library.repair import mend_library
from clipcli.library.store import Library
from tests.library.conftest import Index, rows
from tests.library.decoding_here import DecodersHere

LONG_AGO = (1_500_000_000, 1_500_000_000)
Photos = Callable[..., Path]


@pytest.fixture(autouse=True)
def _decoding_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "Decoders", DecodersHere)


def _uncovered(folder: Path) -> Path:
    """What was mounted over the folder is away: it is there as it was before, and nothing in it."""
    hidden = folder.with_name(f".away-{folder.name}")
    folder.rename(hidden)
    folder.mkdir()
    os.utime(folder, LONG_AGO)
    return hidden


@pytest.mark.parametrize("named", ["photos", "photos/share"])
def test_a_folder_nobody_has_emptied_keeps_its_pictures(
    named: str, index: Index, photo_folder: Photos, library_file: Path, tmp_path: Path
) -> None:
    top, share = photo_folder(count=2), photo_folder("photos/share/deep", count=3, seed=1).parent
    index(top)
    before = rows(library_file, "SELECT image_id, hex(vector) FROM embeddings ORDER BY 1")
    hidden = _uncovered(share)
    with Library.open(library_file, write=True) as library:  # before any run has seen it
        assert absent_places(library) == [(os.fsencode(share), 3)]
        assert check_library(library, deep=False, on_progress=lambda *_: None) == []
        assert mend_library(library, deep=False, on_progress=lambda *_: None).found == ()
    report = index(tmp_path / named)
    assert (report.forgotten, report.absent) == (0, [os.fsencode(share)])
    (share / "note.txt").write_text("it is known to be such a place now")
    report = index(top)
    assert (report.forgotten, report.absent) == (0, [os.fsencode(share)])
    assert rows(library_file, "SELECT image_id, hex(vector) FROM embeddings ORDER BY 1") == before
    shutil.rmtree(share)
    hidden.rename(share)
    (share / "deep" / "000.jpg").unlink()
    report = index(top)
    assert (report.unchanged, report.absent, report.forgotten) == (4, [], 1)


@pytest.mark.parametrize("named", ["photos", "photos/holiday"])
def test_a_folder_somebody_has_emptied_is_taken_at_its_word(
    named: str, index: Index, photo_folder: Photos, tmp_path: Path
) -> None:
    top, holiday = photo_folder(count=2), photo_folder("photos/holiday", count=3, seed=1)
    index(top)
    os.utime(holiday, LONG_AGO)
    for path in holiday.iterdir():
        path.unlink()
    report = index(tmp_path / named)
    assert (report.forgotten, report.absent, report.emptied) == (3, [], {})


def test_emptied_together_with_all_the_rest(index: Index, photo_folder: Photos) -> None:
    top, holiday = photo_folder(count=1), photo_folder("photos/holiday", count=2, seed=1)
    index(top)
    for path in (*holiday.iterdir(), top / "000.jpg"):
        path.unlink()
    report = index(holiday)
    assert (report.forgotten, report.emptied) == (0, {os.fsencode(top): 2})


def test_a_place_that_was_let_go_is_an_ordinary_folder(index: Index, photo_folder: Photos, library_file: Path) -> None:
    top, share = photo_folder(count=1), photo_folder("photos/share", count=2, seed=1)
    index(top)
    _uncovered(share)
    index(top)
    with Library.open(library_file, write=True) as library:
        forget(library, [os.fsencode(share)], gone=True)
    photo_folder("photos/share", count=2, seed=2)
    assert index(top).embedded == 2
    (share / "001.jpg").unlink()
    report = index(top)
    assert (report.forgotten, report.absent) == (1, [])
