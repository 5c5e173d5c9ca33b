"""A person's own SQL expression over the pictures, held to reading and to being one expression."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from clipcli.errors import UsageError
from clipcli.library.store import Library

__all__ = ["ids_where", "only_reading"]

# Everything else (writing, attaching, pragmas, recursion without an end) is refused by SQLite's compiler.
_ALLOWED = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION))
# Some builds of SQLite have these; they reach outside the database.
_FORBIDDEN_FUNCTIONS = frozenset(("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"))
_MAX_BYTES = 10_000_000
_STEPS_BETWEEN_LOOKS = 50_000
# https://sqlite.org/rescode.html
_ERROR, _INTERRUPT, _TOO_BIG, _MISMATCH, _AUTH, _RANGE = 1, 9, 18, 20, 23, 25
_IN_THE_EXPRESSION = frozenset((_ERROR, _TOO_BIG, _MISMATCH, _AUTH, _RANGE))


@contextmanager
def only_reading(connection: sqlite3.Connection) -> Iterator[None]:
    """Within, statements can only read, and what goes wrong in a person's expression comes out as UsageError."""
    connection.execute("PRAGMA query_only = 1")
    connection.set_authorizer(_permission)
    before = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_BYTES)
    connection.set_progress_handler(_carry_on, _STEPS_BETWEEN_LOOKS)
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", _ERROR) & 0xFF
        if code == _INTERRUPT:  # sqlite3 swallows what Ctrl-C raises in the progress handler
            raise KeyboardInterrupt from error
        if code not in _IN_THE_EXPRESSION:
            raise
        raise UsageError(f"--where: {_said(error)}") from error
    except (UnicodeEncodeError, ValueError) as error:  # half a character, a NUL
        raise UsageError(f"--where: {error}") from error
    finally:
        connection.set_progress_handler(None, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
        connection.set_authorizer(None)
        connection.execute("PRAGMA query_only = 0")


def ids_where(library: Library, expression: str) -> list[int]:
    """The pictures for which an expression over the columns of `pictures` holds. Raises UsageError unless it is one.

    It is compiled without brackets and inside two pairs: text that closes brackets it has not opened (`1) OR (0`,
    `1)) UNION SELECT ((2`) does not stand alone, what goes on behind the expression (`1 LIMIT 5`) not in brackets. No
    values are bound, so `?` is refused.
    """
    with library.read() as connection:
        connection.execute("SELECT * FROM pictures LIMIT 0")  # a damaged library is not the expression's fault
    with library.read() as connection, only_reading(connection):
        connection.execute(f"EXPLAIN SELECT id FROM pictures WHERE {expression}\n").fetchall()
        rows = connection.execute(f"SELECT id FROM pictures WHERE (({expression}\n))").fetchall()
    return [row[0] for row in rows]


def _permission(
    action: int,
    first: str | None,  # noqa: ARG001 - the signature is sqlite3's
    second: str | None,
    database: str | None,  # noqa: ARG001
    trigger: str | None,  # noqa: ARG001
) -> int:
    if action not in _ALLOWED or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _carry_on() -> int:
    """Called now and then so that Python gets to notice Ctrl-C during a long query."""
    return 0


def _said(error: sqlite3.Error) -> str:
    text = " ".join(str(error).split())
    if "not authorized" in text or "prohibited" in text:
        return "an expression may only read the library"
    if "bindings" in text or "binding" in text:
        return "there are no values to put in for ? or :name"
    if "one statement" in text:
        return "one expression is wanted, not several statements"
    return text
