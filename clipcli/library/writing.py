"""The last stage of an index run: one transaction per batch, so that a batch is in the library whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clipcli.library.id_set import IdSet
from clipcli.library.jobs import Copied, Decoded, Job, Kept, Outcome, Refused
from clipcli.library.kept_tags import are_kept, count_by_hand, drop_kept
from clipcli.library.known_files import parts_of
from clipcli.library.plan import UnlistedFolder
from clipcli.library.store import Library
from clipcli.library.stored_paths import to_stored
from clipcli.library.tags import BY_HAND
from clipcli.library.vanished import Vanished
from clipcli.photos.facts import Facts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Batch", "BatchWriter"]

_FACTS = (
    "width",
    "height",
    "format",
    "orientation",
    "taken_at",
    "taken_from",
    "camera",
    "lens",
    "latitude",
    "longitude",
    "frames",
    "truncated",
)
_SAVE_VECTOR = """
INSERT INTO embeddings (image_id, model_id, digest, vector, frames) {values}
ON CONFLICT (image_id, model_id) DO UPDATE SET digest = excluded.digest, vector = excluded.vector,
  frames = excluded.frames"""
_NOW = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Outcomes in order, and the vectors of those that are `Decoded`, in the same order. B of them."""

    outcomes: Sequence[Outcome]
    vectors: NDArray[np.float32]  # (B, D)


class BatchWriter:
    """Writes batches for one model. `vanished` are ids of images whose files are gone: a new file with the content of
    one takes the image over, tags and all, under its new path.
    """

    def __init__(
        self, library: Library, *, model_id: int, root_ids: Mapping[bytes, int], vanished: Iterable[int]
    ) -> None:
        self._library = library
        self._model_id = model_id
        self._root_ids = root_ids
        self._vanished = Vanished(library, vanished)
        self._back: set[str] = set()  # new contents of which a person's tags were kept

    def commit(self, batch: Batch) -> None:
        """One transaction. After NoSpaceError, LibraryLockedError or LibraryDamagedError none of it is there."""
        taken_over: list[int] = []
        with self._library.write() as connection:
            rows = iter(batch.vectors)
            for outcome in batch.outcomes:
                if isinstance(outcome, Decoded):
                    image_id = self._save_image(connection, outcome, outcome.facts, taken_over)
                    connection.execute(
                        _SAVE_VECTOR.format(values="VALUES (?, ?, ?, ?, ?)"),
                        (
                            image_id,
                            self._model_id,
                            outcome.digest,
                            next(rows).astype("<f4").tobytes(),
                            len(outcome.pixels),
                        ),
                    )
                elif isinstance(outcome, Copied):
                    self._copy(connection, outcome, taken_over)
                elif isinstance(outcome, Kept):
                    connection.execute(
                        "UPDATE images SET size = ?, mtime_ns = ?, frames = coalesce(?, frames), stale = 0, "
                        f"updated_at = {_NOW} WHERE id = ?",
                        (outcome.size, outcome.mtime_ns, outcome.frames, outcome.job.image_id),
                    )
                    self._not_skipped(connection, outcome.job)
                elif isinstance(outcome, Refused):
                    self._save_refusal(connection, outcome)
        for image_id in taken_over:
            self._vanished.ids.discard(image_id)

    def save_unlisted(self, folders: Iterable[UnlistedFolder]) -> None:
        with self._library.write() as connection:
            for folder in folders:
                self._save_skip(connection, folder.root, folder.path, "folder", folder.skip.reason, folder.skip.detail)

    def still_missing(self, image_ids: Set[int]) -> IdSet:
        """Those of the vanished images that no file has taken over so far."""
        return IdSet(image_id for image_id in image_ids if image_id in self._vanished.ids)

    def forget(self, *, skips: Iterable[int], but: Set[int] = frozenset()) -> tuple[int, int]:
        """Remove what is gone from the disk and was not found again under another name: how many pictures that was, and
        how many tags of a person they had, which the library keeps until the same content is back. Images in `but`
        stay.
        """
        gone = IdSet(image_id for image_id in self._vanished.ids if image_id not in but)
        with self._library.write() as connection:
            drop_kept(connection, self._back)
            kept = sum(count_by_hand(connection, part) for part in parts_of(gone))
        for table, ids in (("images", gone), ("skipped", skips)):
            for part in parts_of(ids):
                with self._library.write() as connection:
                    connection.execute(f"DELETE FROM {table} WHERE id IN ({','.join('?' * len(part))})", part)
        self._vanished.ids.clear()
        self._back.clear()
        return len(gone), kept

    def _save_image(
        self, connection: sqlite3.Connection, outcome: Decoded | Copied, facts: Facts, taken_over: list[int]
    ) -> int:
        job = outcome.job
        image_id = job.image_id
        if image_id is None:
            image_id = self._vanished.of_content(connection, outcome.digest, but=taken_over)
            if image_id is not None:
                taken_over.append(image_id)
        columns = ("root_id", "path", "size", "mtime_ns", "digest", *_FACTS)
        values = (
            self._root_ids[job.root],
            to_stored(job.path),
            outcome.size,
            outcome.mtime_ns,
            outcome.digest,
            *(getattr(facts, name) for name in _FACTS),
        )
        if image_id is not None:
            # What a model said of another content is not said of this one; what a person said, the person takes back.
            connection.execute(
                f"DELETE FROM tags WHERE image_id = ?1 AND NOT ({BY_HAND}) "
                "AND EXISTS (SELECT 1 FROM images WHERE id = ?1 AND digest <> ?2)",
                (image_id, outcome.digest),
            )
            changes = ", ".join(f"{column} = ?" for column in columns)
            connection.execute(
                f"UPDATE images SET {changes}, stale = 0, updated_at = {_NOW} WHERE id = ?", (*values, image_id)
            )
        else:
            changes = ", ".join(f"{column} = excluded.{column}" for column in columns)
            (image_id,) = connection.execute(
                f"INSERT INTO images ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
                f"ON CONFLICT (root_id, path) DO UPDATE SET {changes}, stale = 0, updated_at = {_NOW} RETURNING id",
                values,
            ).fetchone()
            if are_kept(connection, outcome.digest):
                self._back.add(outcome.digest)
        self._not_skipped(connection, job)
        assert image_id is not None
        return int(image_id)

    def _copy(self, connection: sqlite3.Connection, outcome: Copied, taken_over: list[int]) -> None:
        row = connection.execute(f"SELECT {', '.join(_FACTS)} FROM images WHERE id = ?", (outcome.source,)).fetchone()
        if row is None:  # somebody removed it meanwhile: the next run embeds the file
            return
        facts = Facts(**dict(zip(_FACTS, row, strict=True)))  # `truncated` stays 0 or 1, which is as good
        if facts.taken_from == "file":
            moment = datetime.fromtimestamp(outcome.mtime_ns // 1_000_000_000, UTC)
            facts = replace(facts, taken_at=moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
        image_id = self._save_image(connection, outcome, facts, taken_over)
        if image_id != outcome.source:
            connection.execute(
                _SAVE_VECTOR.format(
                    values="SELECT ?, model_id, digest, vector, frames FROM embeddings "
                    "WHERE image_id = ? AND model_id = ?"
                ),
                (image_id, outcome.source, self._model_id),
            )

    def _save_refusal(self, connection: sqlite3.Connection, outcome: Refused) -> None:
        job = outcome.job
        if job.image_id is not None:  # the old vector stays, marked
            connection.execute("UPDATE images SET stale = 1 WHERE id = ?", (job.image_id,))
        self._save_skip(
            connection,
            job.root,
            job.path,
            "file",
            outcome.reason,
            outcome.detail,
            job.size,
            job.mtime_ns,
            outcome.megapixels,
            outcome.seconds,
        )

    def _save_skip(
        self,
        connection: sqlite3.Connection,
        root: bytes,
        path: bytes,
        kind: str,
        reason: str,
        detail: str,
        size: int = 0,
        mtime_ns: int = 0,
        megapixels: float | None = None,
        seconds: float | None = None,
    ) -> None:
        connection.execute(
            """
INSERT INTO skipped (root_id, path, kind, reason, detail, size, mtime_ns, megapixels, seconds)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (root_id, path) DO UPDATE SET kind = excluded.kind, reason = excluded.reason, detail = excluded.detail,
  size = excluded.size, mtime_ns = excluded.mtime_ns, megapixels = excluded.megapixels,
  seconds = excluded.seconds""",
            (self._root_ids[root], to_stored(path), kind, reason, detail, size, mtime_ns, megapixels, seconds),
        )

    def _not_skipped(self, connection: sqlite3.Connection, job: Job) -> None:
        connection.execute(
            "DELETE FROM skipped WHERE root_id = ? AND path = ?", (self._root_ids[job.root], to_stored(job.path))
        )
