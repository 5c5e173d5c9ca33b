"""The file itself: made whole, opened without harm, refused without a trace, written all or nothing."""

from __future__ import annotations

import os
import sqlite3
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlite_utils

from clipcli.errors import ClipError, LibraryDamagedError, LibraryLockedError, NoSpaceError, NotFoundError
from clipcli.library import schema, store
from clipcli.library.duplicates import find_duplicates
from clipcli.library.schema import APPLICATION_ID, SCHEMA_VERSION, Migration
from clipcli.library.search import nearest
from clipcli.library.store import Library
from clipcli.library.structure import schema_faults
from tests.library.conftest import Index, integrity, rows
from tests.library.test_search import A, fill, unit


@pytest.fixture
def made(library_file: Path) -> Path:
    Library.open(library_file, write=True, create=True).close()
    return library_file


def test_a_new_library_says_what_it_is(made: Path) -> None:
    header = made.read_bytes()[:100]
    assert struct.unpack(">I", header[68:72]) == (APPLICATION_ID,)
    assert struct.unpack(">I", header[60:64]) == (SCHEMA_VERSION,)
    assert rows(made, "SELECT number, name FROM migrations") == [(m.number, m.name) for m in schema.MIGRATIONS]
    assert rows(made, "PRAGMA journal_mode") == ["wal"]
    assert integrity(made) == "ok"
    with Library.open(made) as one:
        uuid = one.uuid
    other = made.with_name("other.db")
    with Library.open(other, write=True, create=True) as two:
        assert two.uuid != uuid


def test_people_find_what_they_expect_in_it(made: Path) -> None:
    """As sqlite-utils, and so Datasette, sees it."""
    db = sqlite_utils.Database(made)
    assert set(db.table_names()) >= {"images", "roots", "models", "embeddings", "tags", "skipped", "settings"}
    assert set(db.view_names()) == {"pictures", "model_counts", "skipped_reasons"}
    keys = {(table, key.column, key.other_table) for table in db.table_names() for key in db.table(table).foreign_keys}
    assert keys >= {
        ("images", "root_id", "roots"),
        ("embeddings", "image_id", "images"),
        ("embeddings", "model_id", "models"),
        ("tags", "image_id", "images"),
    }
    db.close()


def test_a_library_that_is_not_there(library_file: Path) -> None:
    for write in (False, True):
        with pytest.raises(NotFoundError, match="'clip embed FOLDER' makes one"):
            Library.open(library_file, write=write)
    assert not library_file.exists()


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE photos (id)")
    connection.commit()
    connection.close()


def patched(path: Path, offset: int, value: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(value)] = value
    path.write_bytes(content)


REFUSED = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("this is a letter to my aunt " * 20),
    "short text": lambda path: path.write_text("aunt"),
    "foreign": foreign,
    "newer": lambda path: patched(path, 60, struct.pack(">I", SCHEMA_VERSION + 1)),
    "without a schema": lambda path: patched(path, 60, struct.pack(">I", 0)),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-30_000]),
    "first page overwritten": lambda path: patched(path, 100, b"\xff" * 1000),
    "a table overwritten": lambda path: [
        patched(path, page * 16384, b"\xee" * 16384) for page in range(2, path.stat().st_size // 16384)
    ],
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_in_one_line_and_left_as_it_was(kind: str, made: Path) -> None:
    made.unlink() if kind == "foreign" else None
    REFUSED[kind](made)
    content = made.read_bytes()
    with pytest.raises(LibraryDamagedError) as caught:
        Library.open(made, write=True)
    assert "\n" not in str(caught.value)
    assert str(made) in str(caught.value)
    with pytest.raises(LibraryDamagedError), Library.open(made, create=True) as library:
        library.uuid  # noqa: B018 - a reader finds the damage where it looks
    assert made.read_bytes() == content
    assert os.listdir(made.parent) == [made.name] or kind not in ("newer", "foreign", "empty", "text")


def test_a_newer_version_that_is_still_in_the_journal(made: Path) -> None:
    """The header in the file says one thing, the journal beside it another: it is asked as well."""
    keeper = sqlite3.connect(made)
    keeper.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    keeper.commit()
    content = made.read_bytes()
    with pytest.raises(LibraryDamagedError, match="newer version of clip"):
        Library.open(made, write=True)
    assert made.read_bytes() == content
    keeper.close()


def test_a_folder_is_no_library(tmp_path: Path) -> None:
    with pytest.raises(LibraryDamagedError, match="a folder"):
        Library.open(tmp_path)


def test_a_transaction_is_all_or_nothing(made: Path) -> None:
    with Library.open(made, write=True) as library:

        def interrupted(error: type[BaseException]) -> None:
            with library.write() as connection:
                connection.execute("INSERT INTO roots (path) VALUES ('/a')")
                raise error

        for error in (RuntimeError, KeyboardInterrupt):
            with pytest.raises(error):
                interrupted(error)
        assert library.connection.execute("SELECT count(*) FROM roots").fetchone() == (0,)
        with library.write() as connection:
            connection.execute("INSERT INTO roots (path) VALUES ('/b')")
    assert rows(made, "SELECT path FROM roots") == ["/b"]


def test_readers_see_one_state_while_a_writer_writes(made: Path) -> None:
    with Library.open(made, write=True) as writer, Library.open(made) as reader:
        with reader.read() as connection:
            assert connection.execute("SELECT count(*) FROM roots").fetchone() == (0,)
            with writer.write() as other:
                other.execute("INSERT INTO roots (path) VALUES ('/a')")
            assert connection.execute("SELECT count(*) FROM roots").fetchone() == (0,)
        with reader.read() as connection:
            assert connection.execute("SELECT count(*) FROM roots").fetchone() == (1,)


def test_two_writers_take_turns_and_a_stuck_one_is_reported(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library.open(made, write=True) as one:
        started = threading.Event()

        def other() -> None:
            with Library.open(made, write=True) as two:
                started.set()
                with two.write() as connection:
                    connection.execute("INSERT INTO roots (path) VALUES ('/two')")

        thread = threading.Thread(target=other)
        with one.write() as connection:
            connection.execute("INSERT INTO roots (path) VALUES ('/one')")
            thread.start()
            started.wait(5)
        thread.join(10)
        assert sorted(rows(made, "SELECT path FROM roots")) == ["/one", "/two"]
        monkeypatch.setattr(store, "_BUSY_TIMEOUT_S", 0.05)
        late = Library.open(made, write=True)
        with one.write(), late, pytest.raises(LibraryLockedError), late.write():
            pytest.fail("two writers at once")


def test_a_full_disk_has_its_own_error_and_harms_nothing(made: Path) -> None:
    with Library.open(made, write=True) as library:
        with library.write() as connection:
            connection.execute("INSERT INTO roots (path) VALUES ('/a')")
        (pages,) = library.connection.execute("PRAGMA page_count").fetchone()
        library.connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(NoSpaceError), library.write() as connection:
            connection.execute("INSERT INTO roots (path) VALUES (randomblob(1000000))")
        library.connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
        with library.write() as connection:
            connection.execute("INSERT INTO roots (path) VALUES ('/b')")
    assert rows(made, "SELECT path FROM roots") == ["/a", "/b"]
    assert integrity(made) == "ok"


class Faulty:
    """A connection whose n-th statement fails."""

    def __init__(self, connection: sqlite3.Connection, fail_at: int) -> None:
        self.connection = connection
        self.left = fail_at

    def execute(self, *arguments: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise sqlite3.OperationalError("injected")
        return self.connection.execute(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


def test_a_migration_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def another(db: sqlite_utils.Database) -> None:
        db.execute("ALTER TABLE images ADD COLUMN stars INTEGER")
        db.table("tags").create_index(["score"])

    last = schema.SCHEMA_VERSION + 1
    more = Migration(number=last, name="stars", apply=another)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, more))
    file = tmp_path / "library.db"
    outcomes = set()
    for fail_at in range(1, 200):
        file.unlink(missing_ok=True)
        connection = sqlite3.connect(file, isolation_level=None)
        try:
            schema.migrate(Faulty(connection, fail_at))  # type: ignore[arg-type]
            finished = True
        except sqlite3.OperationalError:
            finished = False
        connection.close()
        (version,) = rows(file, "PRAGMA user_version")
        recorded = rows(file, "SELECT number FROM migrations") if version else []
        tables = rows(file, "SELECT count(*) FROM sqlite_master")[0]
        stars = version and "stars" in str(rows(file, "SELECT sql FROM sqlite_master WHERE name = 'images'"))
        outcomes.add((version, tuple(recorded), tables > 0, bool(stars)))
        if finished:
            break
    assert outcomes == {
        (version, tuple(range(1, version + 1)), version > 0, version == last) for version in range(last + 1)
    }


def test_an_older_library_is_brought_up_to_date_by_a_writer(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def another(db: sqlite_utils.Database) -> None:
        db.execute("ALTER TABLE images ADD COLUMN stars INTEGER")

    last = schema.SCHEMA_VERSION + 1
    more = Migration(number=last, name="stars", apply=another)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, more))
    monkeypatch.setattr(store, "READABLE_SINCE", last)
    with pytest.raises(ClipError, match="'clip embed' brings it up to date"):
        Library.open(made)
    Library.open(made, write=True).close()
    assert rows(made, "PRAGMA user_version") == [last]


def test_the_first_schema_can_be_searched_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader cannot migrate, and need not: what has been added since is empty there."""
    file = tmp_path / "library.db"
    with monkeypatch.context() as older_program:
        older_program.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        with Library.open(file, write=True, create=True) as first:
            fill(first, unit(3))
    with Library.open(file) as older:
        assert schema_faults(older.connection) == []
        assert len(find_duplicates(older)) == 1  # and nothing has been decided
        assert len(nearest(older, unit(1)[0], identity=A)) == 3
    assert rows(file, "PRAGMA user_version") == [1]
    with Library.open(file, write=True) as newer:
        assert len(nearest(newer, unit(1)[0], identity=A)) == 3
    assert rows(file, "SELECT number FROM migrations") == list(range(1, schema.SCHEMA_VERSION + 1))


def test_a_search_imports_no_sqlite_utils(index: Index, photo_folder: Any, library_file: Path) -> None:
    index(photo_folder(count=1))
    code = (
        "import sys; from pathlib import Path; from clipcli.library.store import Library; "
        "from clipcli.library.models import own_model; from clipcli.library.vectors import vectors\n"
        f"with Library.open(Path({str(library_file)!r})) as library:\n"
        "    own = own_model(library); vectors(library, identity=own.identity)\n"
        "assert not {'sqlite_utils', 'PIL', 'onnxruntime'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


ORDINARY_USER = 65534


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root may become somebody else")
def test_in_a_read_only_folder(made: Path, tmp_path: Path) -> None:
    """As an ordinary user, whom permissions hold back."""
    for folder in (made.parent, *made.parent.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    content = made.read_bytes()

    def as_somebody(code: str) -> str:
        script = (
            "import os, sys; from pathlib import Path\n"
            "from clipcli.library.store import Library\nfrom clipcli.errors import ClipError\n"
            "import clipcli.library.roots\n"
            f"file = Path({str(made)!r})\nos.setgid({ORDINARY_USER}); os.setuid({ORDINARY_USER})\n"
            f"try:\n    {code}\nexcept ClipError as error: print(type(error).__name__, error)"
        )
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    read = "with Library.open(file) as library: print(len(library.uuid))"
    assert as_somebody(read) == "36\n"
    assert as_somebody("Library.open(file, write=True)").startswith("LibraryLockedError")
    assert made.read_bytes() == content
    keeper = sqlite3.connect(made)  # somebody was killed while writing: changes are left in the journal
    keeper.execute("INSERT INTO roots (path) VALUES ('/a')")
    keeper.commit()
    beside = made.with_name(made.name + "-wal")
    journal = beside.read_bytes()
    keeper.close()
    beside.write_bytes(journal)
    assert as_somebody(read).startswith("LibraryLockedError")
    assert "open it once where it can be written" in as_somebody(read)
    beside.unlink()
    made.chmod(0o600)
    assert "permission denied" in as_somebody(read)
