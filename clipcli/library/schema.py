"""The tables, and the numbered steps that lead from an empty file to them.

Each migration runs in one transaction together with its own record and the version in the file's header, so that a
library has either all of it or nothing. A released migration is never edited; the next change is the next number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

__all__ = [
    "APPLICATION_ID", "FRAMES_SINCE", "KEPT_TAGS_SINCE", "MIGRATIONS", "READABLE_SINCE", "SCHEMA_VERSION",
    "STATE_OF_PICTURES_SINCE", "Migration", "migrate",
]  # fmt: skip

APPLICATION_ID = 0x636C6970  # "clip", at offset 68 of the file: `file` and other programs can tell what it is

_FIRST_TABLES = (
    """
CREATE TABLE migrations (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
)""",
    """
CREATE TABLE settings ( -- 'uuid' tells this library from every other; 'own_model' is the id of the model searched with
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID""",
    """
CREATE TABLE roots ( -- folders that were indexed; no picture belongs to two of them
  id INTEGER PRIMARY KEY,
  path TEXT NOT NULL, -- absolute; a BLOB where it is not UTF-8
  anchored INTEGER NOT NULL DEFAULT 0 CHECK (anchored IN (0, 1)), -- 1: path is relative to the folder that holds .clip
  added_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  scanned_at TEXT, -- the last time all of it was looked through
  UNIQUE (path, anchored)
)""",
    """
CREATE TABLE models ( -- whose embeddings are here; a model is its identity, never its name
  id INTEGER PRIMARY KEY,
  identity TEXT NOT NULL,
  precision TEXT NOT NULL,
  name TEXT NOT NULL, -- what it was called when last used
  folder TEXT NOT NULL, -- where it was then
  dimension INTEGER NOT NULL CHECK (dimension > 0),
  state TEXT NOT NULL DEFAULT (lower(hex(randomblob(8)))), -- changes whenever an embedding does: stamps the cache
  added_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  used_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  UNIQUE (identity, precision)
)""",
    """
CREATE TABLE images (
  id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice, so that a note of an id cannot come to mean another picture
  root_id INTEGER NOT NULL REFERENCES roots (id) ON DELETE CASCADE,
  path TEXT NOT NULL, -- relative to the root, with '/'; a BLOB where it is not UTF-8
  size INTEGER NOT NULL, -- bytes; with mtime_ns it tells an unchanged file without opening it
  mtime_ns INTEGER NOT NULL,
  digest TEXT NOT NULL, -- SHA-256 of the file, hexadecimal
  width INTEGER NOT NULL, -- upright
  height INTEGER NOT NULL,
  format TEXT NOT NULL,
  orientation INTEGER NOT NULL DEFAULT 1, -- as the metadata had it, 1 to 8
  taken_at TEXT, -- ISO 8601, with a zone where one is known
  taken_from TEXT CHECK (taken_from IN ('exif', 'xmp', 'file')),
  camera TEXT,
  lens TEXT,
  latitude REAL,
  longitude REAL,
  stale INTEGER NOT NULL DEFAULT 0 CHECK (stale IN (0, 1)), -- 1: the file could not be read when last looked at
  added_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  UNIQUE (root_id, path)
)""",
    """
CREATE TABLE embeddings ( -- one row per picture and model
  image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
  model_id INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
  digest TEXT NOT NULL, -- of the file the vector was made from; another one than the image's is out of date
  vector BLOB NOT NULL, -- little-endian float32, of length 1
  PRIMARY KEY (image_id, model_id)
)""",
    """
CREATE TABLE tags (
  image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
  label TEXT NOT NULL,
  score REAL, -- of the model that gave it
  model_id INTEGER REFERENCES models (id) ON DELETE SET NULL, -- empty: a person gave it
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  PRIMARY KEY (image_id, label)
) WITHOUT ROWID""",
    """
CREATE TABLE skipped ( -- files and folders that could not be read, and why
  id INTEGER PRIMARY KEY,
  root_id INTEGER NOT NULL REFERENCES roots (id) ON DELETE CASCADE,
  path TEXT NOT NULL, -- relative to the root; a BLOB where it is not UTF-8
  kind TEXT NOT NULL CHECK (kind IN ('file', 'folder')),
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  megapixels REAL, -- of a file that was too large: a higher limit tries it again
  first_seen_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  UNIQUE (root_id, path)
)""",
)

_FIRST_INDEXES = (
    ("images", ("digest",)),
    ("images", ("taken_at",)),
    # Which pictures have a vector, and of which content, is read from here without touching the vectors.
    ("embeddings", ("model_id", "image_id", "digest")),
    ("tags", ("label",)),
)

# A vector's row cannot change, come or go, by whatever program, without its model's state changing with it.
_FIRST_TRIGGERS = tuple(
    f"CREATE TRIGGER embeddings_{event.split()[0].lower()} AFTER {event} ON embeddings BEGIN "
    f"UPDATE models SET state = lower(hex(randomblob(8))) WHERE id = {which}.model_id; END"
    for event, which in (("INSERT", "new"), ("UPDATE OF image_id, model_id, vector", "new"), ("DELETE", "old"))
)

_FIRST_VIEWS = {
    "pictures": """
SELECT images.id, roots.path || '/' || images.path AS path, images.width, images.height, images.format, images.taken_at,
  images.camera, images.lens, images.latitude, images.longitude, images.stale,
  (SELECT group_concat(label, ', ') FROM tags WHERE tags.image_id = images.id) AS tags
FROM images JOIN roots ON roots.id = images.root_id""",
    "model_counts": """
SELECT models.id, models.name, models.precision, models.dimension, models.identity,
  count(embeddings.image_id) AS pictures, sum(embeddings.digest <> images.digest) AS out_of_date
FROM models LEFT JOIN embeddings ON embeddings.model_id = models.id LEFT JOIN images ON images.id = embeddings.image_id
GROUP BY models.id""",
    "skipped_reasons": "SELECT reason, count(*) AS files FROM skipped GROUP BY reason ORDER BY files DESC",
}


def _first(db: Database) -> None:
    for statement in (*_FIRST_TABLES, *_FIRST_TRIGGERS):
        db.execute(statement)
    for table, columns in _FIRST_INDEXES:
        db.table(table).create_index(columns)
    for name, select in _FIRST_VIEWS.items():
        db.create_view(name, select)
    db.table("settings").insert({"key": "uuid", "value": _random_uuid()})


_NOT_DUPLICATES = """
CREATE TABLE not_duplicates ( -- pairs of contents that a person has looked at and wants both of
  digest TEXT NOT NULL, -- SHA-256, as in images; the smaller of the two
  other_digest TEXT NOT NULL CHECK (other_digest >= digest), -- the same again: copies of it are wanted
  decided_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
  PRIMARY KEY (digest, other_digest)
) WITHOUT ROWID"""


def _not_duplicates(db: Database) -> None:
    db.execute(_NOT_DUPLICATES)


_FRAMES_AND_TRUNCATION = (
    # Comments of this kind stay in the middle of the statement, where SQLite keeps them.
    "ALTER TABLE images ADD COLUMN frames /* how many can be read in the file; empty: not counted yet */ INTEGER",
    "ALTER TABLE images ADD COLUMN truncated /* 1: the file is cut short, what is there was taken */ "
    "INTEGER NOT NULL DEFAULT 0 CHECK (truncated IN (0, 1))",
    "ALTER TABLE embeddings ADD COLUMN frames /* how many of them the vector is the mean of */ "
    "INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE skipped ADD COLUMN seconds /* the limit of a file that took too long: a higher one tries it again */ "
    "REAL",
    # Few pictures move: with this index none of the others is looked at when only they matter.
    "CREATE INDEX idx_images_moving ON images (root_id, frames) WHERE frames > 1",
    "DROP VIEW pictures",
)

_PICTURES_WITH_FRAMES = """
SELECT images.id, roots.path || '/' || images.path AS path, images.width, images.height, images.format, images.taken_at,
  images.camera, images.lens, images.latitude, images.longitude, images.stale, images.truncated, images.frames,
  (SELECT group_concat(label, ', ') FROM tags WHERE tags.image_id = images.id) AS tags
FROM images JOIN roots ON roots.id = images.root_id"""


def _frames_and_truncation(db: Database) -> None:
    for statement in _FRAMES_AND_TRUNCATION:
        db.execute(statement)
    db.create_view("pictures", _PICTURES_WITH_FRAMES)


_KEPT_TAGS = (
    """
CREATE TABLE kept_tags ( -- what a person had tagged pictures with of which no copy is left, until their content is back
  digest TEXT NOT NULL, -- SHA-256, as in images
  label TEXT NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (digest, label)
) WITHOUT ROWID""",
    """
CREATE TRIGGER images_tags_kept BEFORE DELETE ON images BEGIN
  INSERT OR IGNORE INTO kept_tags (digest, label, created_at) SELECT old.digest, label, created_at FROM tags
  WHERE image_id = old.id AND model_id IS NULL AND score IS NULL
  AND NOT EXISTS (SELECT 1 FROM images WHERE digest = old.digest AND id <> old.id);
  INSERT OR IGNORE INTO tags (image_id, label, created_at) SELECT images.id, label, created_at FROM tags, images
  WHERE image_id = old.id AND model_id IS NULL AND score IS NULL
  AND images.digest = old.digest AND images.id <> old.id; END""",
    """
CREATE TRIGGER images_tags_back AFTER INSERT ON images BEGIN
  INSERT OR IGNORE INTO tags (image_id, label, created_at) SELECT new.id, label, created_at FROM kept_tags
  WHERE digest = new.digest; END""",
    # What no label fitted has no score: without its model it would pass for a person's.
    """
CREATE TRIGGER models_tags_without_score BEFORE DELETE ON models BEGIN
  DELETE FROM tags WHERE model_id = old.id AND score IS NULL; END""",
)


def _kept_tags(db: Database) -> None:
    for statement in _KEPT_TAGS:
        db.execute(statement)


# What filters and counts ask about pictures cannot change, by whatever program, without this state changing with it.
_ASKED = ("id", "root_id", "path", "size", "width", "height", "format", "taken_at", "camera", "stale", "truncated")
_STATE_OF_PICTURES = (
    """
CREATE TABLE pictures_state ( -- one row; stamps the cache of what filters and counts ask about pictures
  id INTEGER PRIMARY KEY CHECK (id = 1),
  state TEXT NOT NULL
)""",
    "INSERT INTO pictures_state (id, state) VALUES (1, lower(hex(randomblob(8))))",
    *(
        f"CREATE TRIGGER images_state_{event.split()[0].lower()} AFTER {event} ON images BEGIN "
        "UPDATE pictures_state SET state = lower(hex(randomblob(8))); END"
        for event in ("INSERT", f"UPDATE OF {', '.join(_ASKED)}", "DELETE")
    ),
)


def _state_of_pictures(db: Database) -> None:
    for statement in _STATE_OF_PICTURES:
        db.execute(statement)


def _random_uuid() -> str:
    import uuid

    return str(uuid.uuid4())


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """One step. `apply` is called inside the transaction that also records the step."""

    number: int
    name: str
    apply: Callable[[Database], None]


MIGRATIONS = (
    Migration(number=1, name="first tables", apply=_first),
    Migration(number=2, name="not duplicates", apply=_not_duplicates),
    Migration(number=3, name="frames and truncation", apply=_frames_and_truncation),
    Migration(number=4, name="kept tags", apply=_kept_tags),
    Migration(number=5, name="state of pictures", apply=_state_of_pictures),
)
SCHEMA_VERSION = MIGRATIONS[-1].number
READABLE_SINCE = 1  # what has been added since then is empty in an older library: it can be read as it is
FRAMES_SINCE = 3  # `frames` and `truncated` are there from this version on
KEPT_TAGS_SINCE = 4
STATE_OF_PICTURES_SINCE = 5


def migrate(connection: sqlite3.Connection, *, up_to: int | None = None) -> None:
    """Bring the database to a version, by default the latest. Lets sqlite3's errors through; steps done so far stay."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    last = MIGRATIONS[-1].number if up_to is None else up_to
    pending = [migration for migration in MIGRATIONS if version < migration.number <= last]
    if not pending:
        return
    from sqlite_utils import Database  # late: a search never needs it

    db = Database(connection, recursive_triggers=False, execute_plugins=False)
    for migration in pending:
        connection.execute("BEGIN IMMEDIATE")
        try:
            migration.apply(db)
            db.table("migrations").insert({"number": migration.number, "name": migration.name})
            connection.execute(f"PRAGMA user_version = {migration.number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
