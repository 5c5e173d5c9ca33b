"""Embeddings kept by what they are of, so that a second measurement computes nothing twice.

One SQLite file in the user's cache folder. A row's key is the model's identity, the precision, and a digest of the
picture's bytes or of the text: a renamed file is found again, a changed one is not. It can be thrown away at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["FeatureCache", "feature_cache_path", "picture_digest", "text_digest"]

MOST_BYTES = 2 << 30  # a larger file is begun anew: half a million vectors of 1,024 numbers
_VERSION = 1


def feature_cache_path() -> Path:
    """Where the cache is for this user."""
    import platformdirs

    return platformdirs.user_cache_path("clip", appauthor=False) / "features.db"


def picture_digest(data: bytes, change: str | None = None) -> bytes:
    """Of an encoded picture, and of what is done to it before it is looked at."""
    salt = (change or "").encode()
    return hashlib.blake2b(data, digest_size=20, person=b"picture", salt=salt).digest()


def text_digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20, person=b"text").digest()


class FeatureCache:
    """Vectors of one model in one precision. A cache that cannot be read or written is one that knows nothing."""

    def __init__(self, path: Path, *, identity: str, precision: str, dimension: int) -> None:
        self.path = path
        self.model = f"{identity} {precision}"
        self.dimension = dimension

    def known(self, digests: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """The vector (D,) of each digest there is one of."""
        wanted = json.dumps(sorted({digest.hex() for digest in digests}))
        found: dict[bytes, NDArray[np.float32]] = {}
        with self._opened() as connection:
            if connection is not None:
                for digest, vector in connection.execute(
                    "SELECT digest, vector FROM features WHERE model = ? "
                    "AND digest IN (SELECT value FROM json_each(?))",
                    (self.model, wanted),
                ):
                    if len(vector) == 4 * self.dimension:
                        found[bytes.fromhex(digest)] = np.frombuffer(vector, dtype="<f4")
        return found

    def keep(self, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Remember vectors (D,) by digest, all of them or none."""
        rows: Iterable[tuple[str, str, bytes]] = (
            (self.model, digest.hex(), vector.astype("<f4").tobytes()) for digest, vector in vectors.items()
        )
        with self._opened() as connection:
            if connection is not None:
                with connection:
                    connection.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", rows)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection | None]:
        """Errors of the file end the block quietly, and one that cannot be opened is None: what is not remembered is
        computed.
        """
        given = False
        with contextlib.suppress(OSError, sqlite3.Error):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileNotFoundError):
                if self.path.stat().st_size > MOST_BYTES:
                    self.path.unlink()
            with contextlib.closing(sqlite3.connect(self.path, timeout=5)) as connection:
                if not _is_ours(connection):
                    connection.close()
                    self.path.unlink()  # the next one finds the place free
                else:
                    given = True
                    yield connection
        if not given:
            yield None


def _is_ours(connection: sqlite3.Connection) -> bool:
    """Whether the file has our table, made here where it is empty."""
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS features (model TEXT, digest TEXT, vector BLOB NOT NULL, "
                    "PRIMARY KEY (model, digest)) WITHOUT ROWID"
                )
                connection.execute(f"PRAGMA user_version = {_VERSION}")
            version = _VERSION
    except sqlite3.OperationalError:  # locked for long, or no place to write: not the file's fault
        raise
    except sqlite3.DatabaseError:
        return False
    return bool(version == _VERSION)
