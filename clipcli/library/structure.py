"""The library's structure held against what it should be: SQLite's own check, tables and triggers, foreign keys."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipcli.errors import LibraryDamagedError
from clipcli.library.faults import Fault
from clipcli.library.schema import SCHEMA_VERSION, migrate
from clipcli.library.sqlite_errors import one_line, shown
from clipcli.library.stored_paths import from_stored

if TYPE_CHECKING:
    from clipcli.library.store import Library

__all__ = [
    "Reference",
    "check_pages",
    "expected_objects",
    "integrity_faults",
    "orphan_faults",
    "references",
    "schema_faults",
    "why_unusable",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A foreign key of one column. `on_delete` is what happens to a row whose parent goes."""

    table: str
    column: str
    parent: str
    parent_column: str
    on_delete: str

    @property
    def name(self) -> str:
        return f"{self.table}.{self.column}"

    @property
    def orphans(self) -> str:
        """The condition on a row of `table` that it points to nothing."""
        return (
            f'"{self.column}" IS NOT NULL AND NOT EXISTS '
            f'(SELECT 1 FROM "{self.parent}" AS up WHERE up."{self.parent_column}" = "{self.table}"."{self.column}")'
        )


def integrity_faults(connection: sqlite3.Connection) -> list[Fault]:
    """What SQLite itself has to say; a file it cannot go on reading is a fault, not an error."""
    try:
        found = [" ".join(str(row[0]).split()) for row in connection.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    return [] if found == ["ok"] else [Fault(kind="integrity", detail=line) for line in found]


def check_pages(library: Library) -> None:
    """Look at every page once, those of the vectors too. Raises LibraryDamagedError.

    SQLite would come upon a damaged page only when it needs it, which may be after something has been written.
    """
    with library.read() as connection:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise LibraryDamagedError(f"the library {shown(library.path)} is damaged ({' '.join(str(found).split())})")


def why_unusable(connection: sqlite3.Connection) -> str | None:
    """After an error that nothing explains: what is wrong with the file, in a few words, or None for a sound one."""
    try:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            return " ".join(str(found).split())
        if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            return "rows belong to a row that is not there"
        faults = schema_faults(connection)
        return faults[0].detail if faults else _odd_root(connection)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return one_line(error)


def expected_objects(version: int = SCHEMA_VERSION) -> dict[str, tuple[str, str]]:
    """What a library of a version is made of: name -> (type, SQL). What a person has added is nobody's business."""
    with _empty_library(version) as connection:
        return _objects(connection)


def schema_faults(connection: sqlite3.Connection) -> list[Fault]:
    present = _objects(connection)
    faults = []
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    with _empty_library(version) as expected:
        for name, (kind, sql) in _objects(expected).items():
            if name not in present:
                faults.append(Fault(kind="schema", detail=f"the {kind} {name} is missing", subject=name))
            elif present[name][0] != kind or (kind != "table" and _plain(present[name][1]) != _plain(sql)):
                faults.append(Fault(kind="schema", detail=f"the {kind} {name} has been altered", subject=name))
            elif kind == "table" and (column := _altered_column(connection, expected, name)):
                detail = f"the column {column} of {name} is missing or has been altered"
                faults.append(Fault(kind="schema", detail=detail, subject=name))
    return faults


@contextmanager
def _empty_library(version: int) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, up_to=version)
        yield connection


def _altered_column(connection: sqlite3.Connection, expected: sqlite3.Connection, table: str) -> str | None:
    """The first column that is not as it should be; more than there should be are a person's own."""
    there = {row[1]: row[2:] for row in connection.execute(f'PRAGMA table_info("{table}")')}
    for _, name, *about in expected.execute(f'PRAGMA table_info("{table}")'):
        if there.get(name) != tuple(about):
            return str(name)
    return None


def references(connection: sqlite3.Connection) -> Iterator[Reference]:
    """Every foreign key of the library's own tables."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = [name for name, (kind, _) in expected_objects(version).items() if kind == "table"]
    for table in tables:
        for _, _, parent, column, parent_column, _, on_delete, _ in connection.execute(
            f'PRAGMA foreign_key_list("{table}")'
        ).fetchall():
            yield Reference(
                table=table,
                column=column,
                parent=parent,
                parent_column=parent_column or "rowid",
                on_delete=on_delete,
            )


def orphan_faults(connection: sqlite3.Connection) -> list[Fault]:
    """One for each foreign key that has rows pointing to nothing."""
    faults = []
    for key in references(connection):
        (count,) = connection.execute(f'SELECT count(*) FROM "{key.table}" WHERE {key.orphans}').fetchone()
        if count:
            rows = f"{count:,} rows of {key.table} point" if count != 1 else f"1 row of {key.table} points"
            faults.append(
                Fault(kind="orphan", detail=f"{rows} to a row of {key.parent} that is not there", subject=key.name)
            )
    return faults


def _odd_root(connection: sqlite3.Connection) -> str | None:
    """A folder of pictures has to be one: text or bytes, and absolute unless it is relative to the library's."""
    for path, anchored in connection.execute("SELECT path, anchored FROM roots"):
        if not isinstance(path, str | bytes) or not (anchored or os.path.isabs(from_stored(path))):
            return "a root is no folder"
    return None


def _plain(sql: str) -> str:
    """The statement without what only the version of the program that wrote it decides: quotes and spaces."""
    return " ".join(re.sub(r'["`\[\]]', "", sql).split())


def _objects(connection: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    return {
        name: (kind, sql)
        for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        if not name.startswith("sqlite_")
    }
