"""The page about the library file: its tables, its queries, and what it says to Datasette, held against a library."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

from clipcli.library.store import Library
from clipcli.library.tags import add_tags
from tests.library.conftest import Index, rows
from tests.structure.source import ROOT

PAGE = (ROOT / "docs" / "library.md").read_text("utf-8")
METADATA = json.loads((ROOT / "docs" / "datasette.json").read_text("utf-8"))


def test_the_page_knows_every_table(library_file: Path) -> None:
    Library.open(library_file, write=True, create=True).close()
    there = set(rows(library_file, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"))
    tables = METADATA["databases"]["library"]["tables"]
    hidden = {name for name, told in tables.items() if told.get("hidden")}
    views = set(rows(library_file, "SELECT name FROM sqlite_master WHERE type = 'view'"))
    assert set(tables) == there - views
    named = {name for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named == there - hidden
    for name, told in tables.items():
        columns = set(rows(library_file, "SELECT name FROM pragma_table_info(?)", name))
        asked = {told.get("label_column"), told.get("sort_desc"), *told.get("facets", ())} - {None}
        assert asked <= columns


def test_its_queries_run(photo_folder: Callable[..., Path], index: Index, library_file: Path) -> None:
    index(photo_folder(count=3))
    with Library.open(library_file, write=True) as library:
        add_tags(library, [1, 2], "cat")
        add_tags(library, [3], "cat", score=0.25, model_id=1)
    with sqlite3.connect(library_file) as connection:
        connection.execute(
            "UPDATE images SET latitude = 1, longitude = 2, taken_at = '2021-07-04T12:00:00', taken_from = 'exif', "
            "camera = 'Box' WHERE id = 1"
        )
    connection.close()
    (block,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    cameras, labels, places = (rows(library_file, query) for query in block.split(";") if query.strip())
    assert cameras == [(None, 2), ("Box", 1)]
    assert labels == [("cat", 3, 2)]
    assert [Path(path).name for path in places] == rows(library_file, "SELECT path FROM images WHERE id = 1")
