"""rclip in an environment of its own: how it is told to index and to search, and its database filled with vectors.

It is used as it comes, but for one thing: its model takes 256 pixels, ours in these measurements 224, and 224 is what
it is told then.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import compiled
from benchmarks.timing import process

__all__ = ["Rclip"]

# What `rclip QUERY` does before it searches: nothing of the text tower is loaded, which would only make it slower.
INDEX = """
import os
import rclip.utils.preprocess
rclip.utils.preprocess.IMAGE_SIZE = 224
from rclip.main import init_rclip
for one in init_rclip(os.getcwd(), 8):
    one.close()
"""
DATABASE = "db.sqlite3"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rclip:
    """`python` is the interpreter it is installed for; `data` its data folder, with the models in it."""

    python: Path
    data: Path

    @property
    def environment(self) -> dict[str, str]:
        return compiled(os.environ, self.data / "bytecode") | {"RCLIP_DATADIR": str(self.data), "HF_HUB_OFFLINE": "1"}

    @property
    def program(self) -> str:
        return str(self.python.with_name("rclip"))

    @property
    def version(self) -> str:
        told = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True)
        return told.stdout.strip()

    def index_line(self) -> list[str]:
        return [str(self.python), "-c", INDEX]

    def index(self, photos: Path) -> Callable[[], None]:
        """Index a folder from nothing."""
        run = process(self.index_line(), self.environment, folder=photos)

        def from_nothing() -> None:
            self.forget()
            run()
            if self.count() != len(list(photos.iterdir())):
                raise RuntimeError("rclip has not indexed all there is")

        return from_nothing

    def search(self, photos: Path, phrase: Callable[[], str]) -> Callable[[], None]:
        """Search what is there below `photos`, without looking for new pictures."""
        return process(lambda: [self.program, "-n", phrase()], self.environment, folder=photos)

    def forget(self) -> None:
        for path in self.data.glob(f"{DATABASE}*"):
            path.unlink()

    def count(self) -> int:
        connection = sqlite3.connect(self.data / DATABASE)
        try:
            return int(connection.execute("SELECT count(*) FROM images WHERE deleted IS NULL").fetchone()[0])
        finally:
            connection.close()

    def fill(self, photos: Path, vectors: NDArray[np.float32]) -> None:
        """Have it believe that so many pictures lie below `photos`. Its own program makes the tables."""
        self.forget()
        empty = self.data / "empty"
        empty.mkdir(exist_ok=True)
        process(self.index_line(), self.environment, folder=empty)()
        shutil.rmtree(empty)

        def rows() -> Iterator[tuple[object, ...]]:
            for number, vector in enumerate(vectors):
                path = f"{photos}/{number // 1000:03d}/{number:06d}.jpg"
                yield (number + 1, path, 1.0, 1, vector.tobytes(), f"{number:064x}")

        connection = sqlite3.connect(self.data / DATABASE)
        with connection:
            connection.executemany(
                "INSERT INTO images (id, filepath, modified_at, size, vector, hash) VALUES (?, ?, ?, ?, ?, ?)", rows()
            )
        connection.close()
