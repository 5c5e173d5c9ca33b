"""A library of every released schema: searched as it is, brought up to date, and whole when that is stopped midway."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.library.checking import check_library
from clipcli.library.duplicates import find_duplicates
from clipcli.library.schema import MIGRATIONS, SCHEMA_VERSION, migrate
from clipcli.library.store import Library
from tests.library.conftest import integrity, rows
from tests.library.released import FOLDER, VERSIONS, unpack
from tests.tiny_bundle import COLOURS

EVERYTHING = (
    "SELECT image_id, model_id, digest, hex(vector) FROM embeddings ORDER BY 1, 2",
    "SELECT id, root_id, path, size, mtime_ns, digest, taken_at, camera, stale FROM images ORDER BY id",
    "SELECT image_id, label, score, model_id, created_at FROM tags ORDER BY 1, 2",
    "SELECT id, path, anchored, scanned_at FROM roots ORDER BY id",
    "SELECT root_id, path, kind, reason, detail, size, mtime_ns, megapixels FROM skipped ORDER BY id",
    "SELECT key, value FROM settings ORDER BY key",
)


def content(file: Path) -> list[Any]:
    return [rows(file, query) for query in EVERYTHING]


def clip(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_there_is_one_of_every_schema() -> None:
    assert tuple(migration.number for migration in MIGRATIONS) == VERSIONS
    assert all(file.stat().st_size < 20_000 for file in FOLDER.iterdir())


@pytest.mark.parametrize("version", VERSIONS)
def test_it_is_searched_as_it_is(version: int, tmp_path: Path, bundle: Path) -> None:
    file = unpack(version, tmp_path / "library.db")
    before = file.read_bytes()
    db = ("--db", file)
    for colour in COLOURS:
        found = clip("search", colour, "-m", bundle, "-k", 1, "--format", "paths", *db)
        assert found.exit_code == 0, found.stderr
        (row,) = rows(file, f"SELECT path FROM images WHERE id = {list(COLOURS).index(colour) + 1}")
        name = row.decode("utf-8", "replace") if isinstance(row, bytes) else row
        assert found.stdout_bytes.decode("utf-8", "replace").endswith(f"/{name}\n")
    tagged = clip("search", "red", "-m", bundle, "--tag", "holiday", "--where", "width = 48", "--format", "paths", *db)
    assert tagged.stdout_bytes.count(b"\n") == 2
    for command in ("stats", "roots", "skipped", "check"):
        assert clip("library", command, *db).exit_code == 0
    assert clip("duplicates", "--threshold", "0.9", *db).exit_code == 0
    assert clip("library", "backup", tmp_path / "copy.db", *db).exit_code == 0
    assert clip("library", "export", tmp_path / "vectors.npz", *db).exit_code == 0
    assert file.read_bytes() == before
    assert rows(tmp_path / "copy.db", "PRAGMA user_version") == [version]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_writer_brings_it_up_to_date_and_changes_nothing_else(version: int, tmp_path: Path) -> None:
    file = unpack(version, tmp_path / "library.db")
    before = content(file)
    with Library.open(file, write=True) as library:
        assert check_library(library, deep=False, on_progress=lambda *_: None) == []
        assert len(find_duplicates(library)) == 0
    assert rows(file, "PRAGMA user_version") == [SCHEMA_VERSION]
    assert rows(file, "SELECT number FROM migrations") == [migration.number for migration in MIGRATIONS]
    assert content(file) == before
    assert integrity(file) == "ok"
    fresh = tmp_path / "fresh.db"
    Library.open(fresh, write=True, create=True).close()
    tables = "SELECT type, name FROM sqlite_master ORDER BY 1, 2"
    assert rows(file, tables) == rows(fresh, tables)
    if version >= 2:
        assert rows(file, "SELECT count(*) FROM not_duplicates") == [1]


@pytest.mark.parametrize("version", VERSIONS)
def test_embed_leaves_the_pictures_of_absent_disks_alone(
    version: int, tmp_path: Path, photo_folder: Callable[..., Path], bundle: Path
) -> None:
    file = unpack(version, tmp_path / "library.db")
    before = set(content(file)[0])
    done = clip("embed", photo_folder(count=2), "-m", bundle, "--db", file)
    assert done.exit_code == 0, done.stderr
    assert before < set(content(file)[0])
    assert rows(file, "SELECT count(*) FROM embeddings WHERE model_id = 1") == [8]


class Stopped(Exception):
    """In the middle of a migration."""


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_a_migration_that_is_stopped_at_any_statement_is_not_there(version: int, tmp_path: Path) -> None:
    """Each step with its record and number, or none of it; what has been done stays, and the next writer goes on."""
    seen = set()
    for stop_at in range(1, 200):
        file = unpack(version, tmp_path / f"{stop_at}.db")
        before = content(file)
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            statements = iter(range(1, 1000))

            class Stopping:
                def execute(self, *arguments: Any) -> Any:
                    if next(statements) == stop_at:  # noqa: B023 - used in this turn only
                        raise Stopped
                    return connection.execute(*arguments)

                def __getattr__(self, name: str) -> Any:
                    return getattr(connection, name)

            try:
                migrate(Stopping())  # type: ignore[arg-type]
                finished = True
            except Stopped:
                finished = False
        (now,) = rows(file, "PRAGMA user_version")
        assert rows(file, "SELECT max(number) FROM migrations") == [now]
        assert content(file) == before
        with Library.open(file) as library:  # as it was left
            assert check_library(library, deep=False, on_progress=lambda *_: None) == []
        Library.open(file, write=True).close()
        assert rows(file, "PRAGMA user_version") == [SCHEMA_VERSION]
        seen.add(now)
        if finished:
            break
    assert seen == set(range(version, SCHEMA_VERSION + 1))
