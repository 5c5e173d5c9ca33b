"""A run that cannot be made leaves the library byte for byte as it was, and makes none where there is none."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle import encoder
from clipcli.bundle.encoder import Model
from clipcli.errors import DeviceError, LibraryDamagedError
from clipcli.library import indexing
from tests.library.conftest import Index, rows
from tests.library.decoding_here import DecodersHere

Photos = Callable[..., Path]


@pytest.fixture(autouse=True)
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "Decoders", DecodersHere)


def without_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise DeviceError("CUDA cannot be used: no NVIDIA driver is installed")

    monkeypatch.setattr(encoder, "open_session", refuse)


@pytest.mark.parametrize("more", [[], ["--watch"]])
def test_no_library_for_a_device_that_is_not_there(
    more: list[str], tmp_path: Path, photo_folder: Photos, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_device(monkeypatch)
    file = tmp_path / "new" / "library.db"
    arguments = ["embed", str(photo_folder(count=1)), "--db", str(file), "-m", str(bundle), "--device", "cuda", *more]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 11, result.stderr
    assert not file.exists()
    assert not [path for path in file.parent.glob("*") if path.is_file()]


def test_a_library_that_is_there_stays_as_it_is(
    index: Index, photo_folder: Photos, library_file: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(photo_folder(count=1))
    before = library_file.read_bytes()
    other = photo_folder("other", count=1, seed=1)
    without_device(monkeypatch)
    with pytest.raises(DeviceError):
        index(other, using=Model.load(bundle, device="cuda"))
    assert library_file.read_bytes() == before


def test_damage_among_the_vectors_is_met_before_the_first_write(
    index: Index, photo_folder: Photos, library_file: Path
) -> None:
    """Each page of the vectors in turn; a run with nothing to do needs none of them."""
    folder = photo_folder(count=6)
    index(folder)
    connection = sqlite3.connect(library_file)
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    roots = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE tbl_name = 'embeddings' AND rootpage > 0"
    ).fetchall()
    connection.close()
    sound = library_file.read_bytes()
    assert len(roots) == 3
    for (page,) in roots:
        damaged = bytearray(sound)
        damaged[(page - 1) * size : (page - 1) * size + 12] = b"\xff" * 12
        library_file.write_bytes(damaged)
        new = photo_folder(f"photos/new{page}", count=1, seed=page)
        with pytest.raises(LibraryDamagedError):
            index(folder)
        assert library_file.read_bytes() == damaged
        (new / os.listdir(new)[0]).unlink()
    library_file.write_bytes(sound)
    assert index(folder).unchanged == 6
    assert rows(library_file, "SELECT count(*) FROM embeddings") == [6]
