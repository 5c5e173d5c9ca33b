"""Writes the library of one schema version, to be kept: python -m tests.library.released.make NUMBER."""

from __future__ import annotations

import gzip
import hashlib
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from clipcli.bundle.encoder import Model
from clipcli.library.schema import APPLICATION_ID, migrate
from tests.library.released import FOLDER
from tests.tiny_bundle import COLOURS, make_tiny_bundle, solid_pixels

MOMENT = "2026-11-21T12:00:00Z"


def make(number: int) -> Path:
    """The file; raises FileExistsError where there is one already."""
    target = FOLDER / f"version-{number}.db.gz"
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "library.db"
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("PRAGMA page_size = 16384")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection, up_to=number)
            connection.execute("BEGIN")
            _fill_first(connection, make_tiny_bundle(Path(name) / "tiny"))
            for later, fill in _LATER.items():
                if later <= number:
                    fill(connection)
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
        with open(target, "xb") as out:
            out.write(gzip.compress(file.read_bytes(), mtime=0))
    return target


def _fill_first(connection: sqlite3.Connection, bundle: Path) -> None:
    """Fixed statements, not the program's own: those follow the latest schema."""
    connection.execute("UPDATE migrations SET applied_at = ?", (MOMENT,))
    connection.execute("UPDATE settings SET value = '00000000-0000-4000-8000-00000000c11b' WHERE key = 'uuid'")
    connection.execute("INSERT INTO settings VALUES ('own_model', '1')")
    roots = "INSERT INTO roots (id, path, added_at, scanned_at) VALUES (?, ?, ?, ?)"
    connection.execute(roots, (1, "/disk/photos", MOMENT, MOMENT))
    connection.execute(roots, (2, b"/disk/\xffold", MOMENT, None))
    models = (
        "INSERT INTO models (id, identity, precision, name, folder, dimension, added_at, used_at) "
        "VALUES (?, ?, 'fp32', ?, '/models', ?, ?, ?)"
    )
    connection.execute(models, (1, "0" * 64, "tiny", 24, MOMENT, MOMENT))
    connection.execute(models, (2, "1" * 64, "other", 8, MOMENT, MOMENT))
    model = Model.load(bundle, threads=1)
    for number, colour in enumerate(COLOURS, start=1):
        digest = hashlib.sha256(colour.encode()).hexdigest()
        path: str | bytes = f"{colour}.jpg" if number != 4 else b"sub/\xfe.jpg"
        connection.execute(
            "INSERT INTO images (id, root_id, path, size, mtime_ns, digest, width, height, format, taken_at, "
            "taken_from, camera, latitude, longitude, stale, added_at, updated_at) "
            "VALUES (?, ?, ?, 700, 1700000000000000000, ?, 48, 40, 'JPEG', ?, 'exif', 'Canon', 47.5, 8.5, ?, ?, ?)",
            (number, 1 + (number > 4), path, digest, f"2014-0{number}-01T10:00:00", number == 6, MOMENT, MOMENT),
        )
        vector = model.encode_images(solid_pixels(colour)[None])[0].astype("<f4")
        other = np.zeros(8, dtype="<f4")
        other[number] = 1
        save = "INSERT INTO embeddings (image_id, model_id, digest, vector) VALUES (?, ?, ?, ?)"
        connection.execute(save, (number, 1, digest, vector.tobytes()))
        if number < 4:
            connection.execute(save, (number, 2, digest, other.tobytes()))
    tags = "INSERT INTO tags (image_id, label, score, model_id, created_at) VALUES (?, ?, ?, ?, ?)"
    connection.execute(tags, (1, "holiday", None, None, MOMENT))
    connection.execute(tags, (1, "motorcycle", 0.75, 1, MOMENT))
    connection.execute(tags, (4, "holiday", None, None, MOMENT))
    skipped = (
        "INSERT INTO skipped (root_id, path, kind, reason, detail, size, mtime_ns, megapixels, first_seen_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    connection.execute(skipped, (1, "bad.png", "file", "not-an-image", "text", 4, 1, None, MOMENT))
    connection.execute(skipped, (2, b"\xfd", "folder", "no-permission", "permission denied", 0, 0, None, MOMENT))
    connection.execute(skipped, (1, "huge.tif", "file", "too-large", "900 megapixels", 9, 1, 900.0, MOMENT))


def _fill_second(connection: sqlite3.Connection) -> None:
    digests = sorted(hashlib.sha256(colour.encode()).hexdigest() for colour in ("red", "green"))
    connection.execute("INSERT INTO not_duplicates VALUES (?, ?, ?)", (*digests, MOMENT))


def _fill_third(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE images SET frames = 1 WHERE id < 6")  # the last one has not been counted yet
    connection.execute("UPDATE images SET frames = 12, format = 'GIF' WHERE id = 2")
    connection.execute("UPDATE embeddings SET frames = 5 WHERE image_id = 2 AND model_id = 1")
    connection.execute("UPDATE images SET truncated = 1 WHERE id = 3")
    skipped = (
        "INSERT INTO skipped (root_id, path, kind, reason, detail, size, mtime_ns, seconds, first_seen_at) "
        "VALUES (1, 'slow.png', 'file', 'too-slow', 'longer than 30 s', 9, 1, 30, ?)"
    )
    connection.execute(skipped, (MOMENT,))


def _fill_fourth(connection: sqlite3.Connection) -> None:
    digest = hashlib.sha256(b"a picture that is gone").hexdigest()
    connection.execute("INSERT INTO kept_tags VALUES (?, 'grandmother', ?)", (digest, MOMENT))


_LATER: dict[int, Callable[[sqlite3.Connection], None]] = {2: _fill_second, 3: _fill_third, 4: _fill_fourth}


if __name__ == "__main__":
    print(make(int(sys.argv[1])))  # noqa: T201 - a script
