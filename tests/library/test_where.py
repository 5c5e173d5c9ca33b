"""A person's own SQL expression: one expression, read-only, and refused in one line where it is anything else."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from clipcli.errors import UsageError
from clipcli.library.filters import Filters, chosen_ids
from clipcli.library.store import Library
from tests.library.test_filters import COUNT, PICTURES, PLACES, library
from tests.library.test_search import fill, unit

__all__ = ["library"]  # a fixture

WHERE = {
    "width > 1000": lambda each: each.width > 1000,
    "camera IS NULL -- none": lambda each: each.camera is None,
    "id IN (SELECT image_id FROM tags WHERE label = 'dog')": lambda each: "dog" in each.tags,
    "(id = 3) OR (id = 5)": lambda each: each.id in (3, 5),
    "round(latitude) = 49": lambda each: each.place in PLACES[:2],
    "0": lambda each: False,
}


@pytest.mark.parametrize("expression", WHERE)
def test_an_expression(expression: str, library: Library) -> None:
    expected = [each.id for each in PICTURES if WHERE[expression](each)]
    assert chosen_ids(library, Filters(where=expression)).tolist() == expected


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "incomplete"),
        ("widht > 5", "no such column: widht"),
        ("width >", "incomplete"),
        ("id=1) OR (id=2", "syntax error"),
        ("1 LIMIT 1", "LIMIT"),
        ("1 UNION SELECT * FROM images", "--where"),
        ("1) UNION SELECT (5", "syntax error"),
        ("1)) UNION SELECT ((5", "--where"),
        ("1))) UNION SELECT id FROM images WHERE (((1", "--where"),
        ("1) /*", "syntax error"),
        ("1; DELETE FROM images", "--where"),
        ("1); DELETE FROM images; SELECT (1", "--where"),
        ("id = ?", "no values"),
        ("id = :x", "no values"),
        ("load_extension('x')", "only read"),
        ("id IN (SELECT arg FROM pragma_user_version)", "--where"),
        ("id IN (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n)", "only read"),
        ("count(*) > 1", "misuse"),
        ("json(path)", "malformed"),
        ("length(zeroblob(900000000)) > 1", "too big"),
        ("1 = '\0'", "--where"),
        ("camera = '\ud800'", "--where"),
    ],
)
def test_an_expression_that_is_none_or_wants_to_write(expression: str, said: str, library: Library) -> None:
    before = library.path.read_bytes()
    with pytest.raises(UsageError, match=said) as refused:
        chosen_ids(library, Filters(where=expression))
    assert str(refused.value).startswith("--where: ")
    assert "\n" not in str(refused.value)
    assert library.path.read_bytes() == before
    assert len(chosen_ids(library, Filters())) == COUNT  # the connection is as it was


def test_a_writer_s_own_connection_is_held_to_reading_and_let_go(library_file: Path) -> None:
    with Library.open(library_file, write=True, create=True) as library:
        fill(library, unit(2))
        with pytest.raises(UsageError):
            chosen_ids(library, Filters(where="1; DELETE FROM images"))
        assert chosen_ids(library, Filters(where="id = 2")).tolist() == [2]
        with library.write() as connection:
            connection.execute("DELETE FROM images WHERE id = 1")
        assert chosen_ids(library, Filters()).tolist() == [2]


def test_a_damaged_library_is_not_the_expression_s_fault(library: Library) -> None:
    from clipcli.library.where import only_reading

    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    with pytest.raises(sqlite3.DatabaseError), only_reading(library.connection):
        raise error


def test_ctrl_c_ends_an_expression_that_takes_for_ever(library: Library) -> None:
    """400^5 rows: about as many seconds as the pictures are old."""
    tables = ", ".join(f"images AS t{number}" for number in range(5))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    started = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        chosen_ids(library, Filters(where=f"(SELECT sum(t0.id * t1.id * t2.id * t3.id * t4.id) FROM {tables}) > 0"))
    assert time.monotonic() - started < 10
    assert len(chosen_ids(library, Filters())) == COUNT
