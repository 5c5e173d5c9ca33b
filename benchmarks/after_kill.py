"""What a killed process has left: its library's rows, where it was, and whether anything of it still runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from benchmarks.told_embed import PHASES

__all__ = ["Broken", "nobody_left", "phase_of", "state_of", "version_of"]


class Broken(Exception):
    """A promise that was not kept."""


def state_of(db: Path) -> tuple[set[tuple[str, bytes]], set[tuple[int, str]], list[str]]:
    """Vectors with their digest, tags, and what SQLite's checks say: of a copy, so that nothing is mended in place."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "copy.db"
        shutil.copyfile(db, copy)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{db}-wal", f"{copy}-wal")
        with closing(sqlite3.connect(copy)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
            found += [str(row) for row in connection.execute("PRAGMA foreign_key_check")]
            return (
                set(connection.execute("SELECT digest, vector FROM embeddings")),
                set(connection.execute("SELECT image_id, label FROM tags")),
                found,
            )


def version_of(db: Path) -> int:
    """Of the schema, as the file's header has it."""
    with open(db, "rb") as file:
        return int.from_bytes(file.read(64)[60:], "big")


def phase_of(log: list[str]) -> str:
    """Where the process was: what it had begun and not ended."""
    begun = Counter(line[1:] for line in log if line.startswith("+"))
    begun.subtract(line[1:] for line in log if line.startswith("-"))
    return next((phase for phase in PHASES if begun[phase] > 0), "in between")


def nobody_left(group: int) -> None:
    """Whatever the killed process had started ends as well."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise Broken("a process was left over")
