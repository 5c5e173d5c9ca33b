"""Every kind of fault put into a library: found, mended, and after that nothing is found."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from clipcli.app import app
from clipcli.bundle.encoder import Model
from clipcli.commands.checking import CHECK_FIELDS
from clipcli.library.checking import check_library
from clipcli.library.faults import KINDS, Fault
from clipcli.library.repair import Mended, mend_library
from clipcli.library.run_lock import RunLock
from clipcli.library.schema import APPLICATION_ID, migrate
from clipcli.library.store import Library
from clipcli.library.vectors import cache_folder, vectors
from tests.library.conftest import Index, integrity, rows


@dataclass(frozen=True)
class Place:
    """A library of four pictures with vectors by two models, and a cache of one of them."""

    file: Path
    folder: Path
    model: Model


@pytest.fixture
def place(photo_folder: Callable[..., Path], index: Index, library_file: Path, model: Model, other_bundle: Path) -> Any:
    folder = photo_folder(count=4)
    index(folder)
    index(folder, using=Model.load(other_bundle, threads=1))
    with Library.open(library_file) as library:
        vectors(library, identity=model.identity)
    assert found(library_file) == []
    return Place(library_file, folder, model)


def found(file: Path, *, deep: bool = True) -> list[Fault]:
    with Library.open(file) as library:
        return check_library(library, deep=deep, on_progress=lambda step, done, total: None)


def mend(file: Path) -> Mended:
    with Library.open(file, write=True) as library:
        return mend_library(library, deep=True, on_progress=lambda step, done, total: None)


def execute(place: Place, *statements: str, values: tuple[object, ...] = ()) -> None:
    """As some other program would, without foreign keys being looked at."""
    with sqlite3.connect(place.file) as connection:
        for statement in statements:
            connection.execute(statement, values)
    connection.close()


def set_vector(place: Place, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    (blob,) = rows(place.file, "SELECT vector FROM embeddings WHERE image_id = 2 AND model_id = 1")
    changed = change(np.frombuffer(blob, dtype="<f4").copy()).astype("<f4").tobytes()
    execute(place, "UPDATE embeddings SET vector = ? WHERE image_id = 2 AND model_id = 1", values=(changed,))


def with_one(value: float) -> Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]:
    def change(vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        vector[3] = value
        return vector

    return change


def flip_a_byte_of_the_cache(place: Place) -> None:
    (cache,) = cache_folder().glob("*-1-*.vectors")
    content = bytearray(cache.read_bytes())
    content[4100] ^= 1
    cache.write_bytes(content)


def cut_the_cache(place: Place) -> None:
    (cache,) = cache_folder().glob("*-1-*.vectors")
    os.truncate(cache, 4096)


def change_behind_the_trigger(place: Place) -> None:
    """A vector replaced without the state changing: what the cache has is out of step, and nothing else shows it."""
    (trigger,) = rows(place.file, "SELECT sql FROM sqlite_master WHERE name = 'embeddings_update'")
    (other,) = rows(place.file, "SELECT vector FROM embeddings WHERE image_id = 3 AND model_id = 1")
    execute(place, "DROP TRIGGER embeddings_update")
    execute(place, "UPDATE embeddings SET vector = ? WHERE image_id = 2 AND model_id = 1", values=(other,))
    execute(place, trigger)


def leave_a_cache_behind(place: Place) -> None:
    (cache,) = cache_folder().glob("*-1-*.vectors")
    cache.rename(cache.with_name(cache.name.replace("-1-", "-1-0")))


def change_a_file_unseen(place: Place) -> None:
    file = place.folder / "001.jpg"
    status = file.stat()
    file.write_bytes(file.read_bytes()[:-20] + b"x" * 20)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def break_the_index(place: Place) -> None:
    """An entry of an index removed, the row it points to left."""
    with sqlite3.connect(place.file) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'idx_images_taken_at'").fetchone()
        connection.execute("UPDATE sqlite_master SET sql = sql || ' WHERE id > 2' WHERE name = 'idx_images_taken_at'")
    connection.close()
    with sqlite3.connect(place.file) as connection:
        connection.execute("REINDEX idx_images_taken_at")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'idx_images_taken_at'", (sql,))
    connection.close()


def sql(*statements: str) -> Callable[[Place], None]:
    return lambda place: execute(place, *statements)


ONE_VECTOR = "WHERE image_id = 2 AND model_id = 1"
NO_SUCH_ROOT = (
    "INSERT INTO images (root_id, path, size, mtime_ns, digest, width, height, format) "
    f"VALUES (99, 'x.jpg', 1, 1, '{'a' * 64}', 1, 1, 'PNG')"
)
FAULTS: dict[str, tuple[str, Callable[[Place], None]]] = {
    "NaN": ("not-a-number", lambda place: set_vector(place, with_one(float("nan")))),
    "infinity": ("not-a-number", lambda place: set_vector(place, with_one(float("inf")))),
    "one number less": ("wrong-length", lambda place: set_vector(place, lambda vector: vector[:-1])),
    "one number more": ("wrong-length", lambda place: set_vector(place, lambda vector: np.append(vector, 0))),
    "empty": ("wrong-length", sql(f"UPDATE embeddings SET vector = x'' {ONE_VECTOR}")),
    "text for a vector": ("wrong-length", sql(f"UPDATE embeddings SET vector = 'vector' {ONE_VECTOR}")),
    "too long": ("not-unit", lambda place: set_vector(place, lambda vector: vector * 1.01)),
    "zero": ("not-unit", lambda place: set_vector(place, lambda vector: vector * 0)),
    "huge": ("not-unit", lambda place: set_vector(place, with_one(3e38))),
    "vector without a picture": ("orphan", sql("UPDATE embeddings SET image_id = 99 WHERE image_id = 2")),
    "vector without a model": ("orphan", sql("UPDATE embeddings SET model_id = 99 WHERE model_id = 2")),
    "picture without a root": ("orphan", sql(NO_SUCH_ROOT)),
    "tag without a picture": ("orphan", sql("INSERT INTO tags (image_id, label) VALUES (99, 'cat')")),
    "tag by no model": ("orphan", sql("INSERT INTO tags (image_id, label, model_id) VALUES (1, 'cat', 99)")),
    "skipped without a root": (
        "orphan",
        sql(
            "INSERT INTO skipped (root_id, path, kind, reason, detail, size, mtime_ns) "
            "VALUES (9, 'x', 'file', '', '', 0, 0)"
        ),
    ),
    "digest of a vector": ("out-of-date", sql(f"UPDATE embeddings SET digest = '{'a' * 64}' {ONE_VECTOR}")),
    "no digest of a vector": ("wrong-digest", sql(f"UPDATE embeddings SET digest = 'abc' {ONE_VECTOR}")),
    "no digest": ("wrong-digest", sql("UPDATE images SET digest = 'no' WHERE id = 2")),
    "another digest": ("wrong-digest", sql(f"UPDATE images SET digest = '{'b' * 64}' WHERE id = 2")),
    "content changed unseen": ("wrong-digest", change_a_file_unseen),
    "flipped bit in the cache": ("stale-cache", flip_a_byte_of_the_cache),
    "cache cut short": ("stale-cache", cut_the_cache),
    "cache behind the library": ("stale-cache", change_behind_the_trigger),
    "cache left over": ("old-cache", leave_a_cache_behind),
    "file gone": ("missing-file", lambda place: (place.folder / "001.jpg").unlink()),
    "file touched": ("changed-file", lambda place: os.utime(place.folder / "001.jpg", ns=(0, 1))),
    "no trigger": ("schema", sql("DROP TRIGGER embeddings_delete")),
    "altered trigger": (
        "schema",
        sql("DROP TRIGGER embeddings_delete", "CREATE TRIGGER embeddings_delete DELETE ON tags BEGIN SELECT 1; END"),
    ),
    "no index": ("schema", sql("DROP INDEX idx_embeddings_model_id_image_id_digest")),
    "no view": ("schema", sql("DROP VIEW pictures")),
    "index without a row": ("integrity", break_the_index),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_mended(name: str, place: Place, index: Index, other_bundle: Path) -> None:
    kind, inject = FAULTS[name]
    inject(place)
    before = found(place.file)
    assert kind in {fault.kind for fault in before}
    result = mend(place.file)
    assert set(before) <= set(result.found)
    assert result.left == ()
    assert found(place.file) == []
    assert integrity(place.file) == "ok"
    assert [fault for fault in before if fault.damage] or not KINDS[kind].damage
    # What was dropped is made again, and the library is whole.
    for using in (None, Model.load(other_bundle, threads=1)):
        index(place.folder, using=using)
    pictures = len(list(place.folder.glob("*.jpg")))
    assert rows(place.file, "SELECT count(*) FROM embeddings") == [2 * pictures]
    assert [fault.kind for fault in found(place.file) if fault.kind != "old-cache"] == []


def test_every_kind_has_an_example() -> None:
    assert {kind for kind, _ in FAULTS.values()} | {"unreadable"} == set(KINDS)


def test_many_faults_at_once(place: Place) -> None:
    together = ("NaN", "vector without a model", "no digest", "flipped bit in the cache", "file gone")
    (place.folder / "003.jpg").write_bytes(b"")  # only newer than the library
    for name in together:
        FAULTS[name][1](place)
    kinds = {fault.kind for fault in found(place.file)}
    assert kinds >= {"orphan", "wrong-digest", "missing-file", "not-a-number"}
    assert mend(place.file).left == ()
    assert found(place.file) == []


def test_what_is_whole_stays_as_it_is(place: Place) -> None:
    before = rows(place.file, "SELECT * FROM embeddings ORDER BY 1, 2")
    set_vector(place, with_one(float("nan")))
    mend(place.file)
    after = rows(place.file, "SELECT * FROM embeddings ORDER BY 1, 2")
    assert after == [row for row in before if row[:2] != (2, 1)]


def test_what_a_person_has_added_is_nobodys_business(place: Place) -> None:
    execute(
        place,
        "CREATE TABLE notes (image_id INTEGER REFERENCES images (id), text)",
        "INSERT INTO notes VALUES (99, 'of a picture that is gone')",
        "CREATE INDEX notes_text ON notes (text)",
        "CREATE VIEW mine AS SELECT * FROM notes",
    )
    assert found(place.file) == []
    set_vector(place, with_one(float("nan")))
    assert mend(place.file).left == ()
    assert rows(place.file, "SELECT count(*) FROM mine") == [1]


def test_another_way_to_quote_is_no_fault(place: Place) -> None:
    """What wrote the statement decides on quotes, and its versions differ."""
    (statement,) = rows(place.file, "SELECT sql FROM sqlite_master WHERE name = 'idx_images_digest'")
    other = re.sub('["`\\[\\]]', "", statement).replace(" ON ", "\n    ON ").replace("idx_images", "[idx_images")
    execute(place, "DROP INDEX idx_images_digest", other.replace("digest\n", "digest]\n"))
    assert rows(place.file, "SELECT sql FROM sqlite_master WHERE name = 'idx_images_digest'") != [statement]
    assert found(place.file) == []


def test_a_library_of_the_first_schema(tmp_path: Path) -> None:
    file = tmp_path / "first.db"
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrate(connection, up_to=1)
    connection.close()
    assert found(file) == []
    with sqlite3.connect(file) as connection:
        connection.execute("DROP INDEX idx_images_digest")
    connection.close()
    assert [fault.kind for fault in found(file)] == ["schema"]
    assert mend(file).left == ()
    assert found(file) == []


def test_a_disk_that_is_not_there_is_no_fault(place: Place) -> None:
    place.folder.rename(place.folder.with_name("elsewhere"))
    assert found(place.file) == []
    place.folder.mkdir()  # the empty folder a disk is mounted on
    assert found(place.file) == []
    assert mend(place.file).found == ()
    assert rows(place.file, "SELECT count(*) FROM images") == [4]


def test_a_file_that_cannot_be_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from clipcli.library import checking

    def refusing(path: bytes, *arguments: Any) -> tuple[str, str] | None:
        return ("unreadable", "Input/output error") if path.endswith(b"001.jpg") else None

    monkeypatch.setattr(checking, "_read_again", refusing)
    (fault,) = found(place.file)
    assert (fault.kind, fault.path) == ("unreadable", os.fsencode(place.folder / "001.jpg"))
    assert found(place.file, deep=False) == []
    assert mend(place.file).left == ()
    assert rows(place.file, "SELECT id FROM images WHERE stale") == [fault.image_id]
    assert rows(place.file, "SELECT count(*) FROM embeddings") == [8]


def clip(place: Place, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["library", "check", "--db", str(place.file), *arguments])


def test_the_command_says_what_and_ends_with_6(place: Place) -> None:
    clean = clip(place)
    assert (clean.exit_code, clean.stdout, clean.stderr) == (0, "", "nothing is wrong\n")
    set_vector(place, with_one(float("nan")))
    before = place.file.read_bytes()
    result = clip(place)
    assert result.exit_code == 6
    assert "not-a-number" in result.stdout
    assert str(place.folder / "001.jpg") in result.stdout
    assert "clip: 1 fault found; 'clip library check --repair --db " in result.stderr
    assert place.file.read_bytes() == before
    result = clip(place, "--format", "json")
    record = next(one for one in json.loads(result.stdout) if one["kind"] == "not-a-number")
    assert set(record) == set(CHECK_FIELDS) - {"path_b64"}
    assert (record["damage"], record["mended"], record["image_id"]) == (True, False, 2)
    mended = clip(place, "--repair", "--format", "ndjson")
    assert mended.exit_code == 0, mended.stderr
    assert all(json.loads(line)["mended"] for line in mended.stdout.splitlines())
    assert "mended; 'clip embed FOLDER' makes again what was dropped" in mended.stderr
    assert clip(place, "--deep").stderr == "nothing is wrong\n"
    (place.folder / "000.jpg").unlink()
    assert clip(place, "--repair").stderr == "1 fault mended\n"


def test_a_changed_file_is_listed_where_files_are_read(place: Place) -> None:
    (place.folder / "001.jpg").write_bytes(b"another")
    assert clip(place).stderr == "nothing is wrong\n"
    result = clip(place, "--deep")
    assert (result.exit_code, "changed-file" in result.stdout) == (0, True)
    assert "'clip embed' reads it again" in " ".join(result.stdout.split())
    assert clip(place, "--deep", "--repair").exit_code == 0
    assert clip(place, "--deep").stderr == "nothing is wrong\n"


def test_a_root_that_is_not_there_is_said(place: Place) -> None:
    place.folder.rename(place.folder.with_name("elsewhere"))
    result = clip(place)
    assert result.exit_code == 0
    said = " ".join(result.stderr.split())
    assert "is not there, or empty: 4 pictures not looked at; mount the disk, or 'clip library relocate" in said


def test_what_everyday_life_leaves_is_not_damage(place: Place) -> None:
    leave_a_cache_behind(place)
    result = clip(place)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing is wrong\n")
    result = clip(place, "--repair")
    assert (result.exit_code, "old-cache" in result.stdout) == (0, True)


def test_a_repair_waits_for_nobody(place: Place) -> None:
    with RunLock(place.file):
        assert clip(place, "--repair").exit_code == 5
        assert clip(place).exit_code == 0


def test_a_damaged_page_is_found_and_said_to_be_beyond_repair(place: Place) -> None:
    (root, size) = rows(place.file, "SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_master "
                        "WHERE name = 'embeddings'")[0]  # fmt: skip
    content = bytearray(place.file.read_bytes())
    content[(root - 1) * size : root * size] = b"\x55" * size
    place.file.write_bytes(content)
    result = clip(place)
    assert result.exit_code == 6
    assert "integrity" in result.stdout
    result = clip(place, "--repair")
    assert (result.exit_code, result.stderr.count("\n")) == (6, 1)
    assert bytes(content) == place.file.read_bytes()


def test_a_column_that_was_altered_is_beyond_repair_and_stays(place: Place) -> None:
    """A table with rows in it is not made again: that would lose them."""
    execute(place, "DROP VIEW pictures", "ALTER TABLE images RENAME COLUMN camera TO device")
    before = rows(place.file, "SELECT * FROM images")
    result = clip(place)
    assert result.exit_code == 6
    assert "the column camera of images is missing or has been altered" in " ".join(result.stdout.split())
    result = clip(place, "--repair")
    assert (result.exit_code, result.stderr.count("\n")) == (6, 1)
    assert "cannot be mended; go back to a copy" in result.stderr
    assert rows(place.file, "SELECT * FROM images") == before


def test_a_deleted_photograph_is_no_damage(place: Place) -> None:
    (place.folder / "001.jpg").unlink()
    result = clip(place)
    assert (result.exit_code, "missing-file" in result.stdout) == (0, True)
    assert result.stderr.startswith("no damage;")
    mended = clip(place, "--repair")
    assert (mended.exit_code, mended.stderr) == (0, "1 fault mended\n")
    assert rows(place.file, "SELECT count(*) FROM images") == [3]


def test_no_library_no_lock_file(tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("a letter" * 100)
    for name, code in (("letter.db", 6), ("nothing.db", 4)):
        result = CliRunner().invoke(app, ["library", "check", "--repair", "--db", str(tmp_path / name)])
        assert result.exit_code == code
    assert os.listdir(tmp_path) == ["letter.db"]
