"""The first stage of an index run, in several threads: a file becomes pixels, or turns out to need none."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Iterable

from clipcli.bundle.preprocess import to_pixels
from clipcli.bundle.spec import Preprocess
from clipcli.errors import ImageError
from clipcli.library.jobs import Copied, Decoded, Job, Kept, Outcome, Postponed, Refused
from clipcli.library.stored_paths import absolute
from clipcli.photos.decode import TooLargeError, decode, file_error

__all__ = ["Contents", "Reader"]


class Contents:
    """Which contents already have a vector of the model: in the library, or in the making. Safe between threads."""

    def __init__(self, connection: sqlite3.Connection, model_id: int) -> None:
        self._connection = connection  # for reading; its own, so that the writer's transactions do not matter
        self._model_id = model_id
        self._lock = threading.Lock()
        self._in_the_making: set[str] = set()

    def claim(self, digest: str) -> bool:
        """True when nobody else is at it; the content then counts as in the making until it is released."""
        with self._lock:
            if digest in self._in_the_making:
                return False
            self._in_the_making.add(digest)
            return True

    def release(self, digests: Iterable[str]) -> None:
        with self._lock:
            self._in_the_making.difference_update(digests)

    def has_vector(self, image_id: int, digest: str) -> bool:
        """Whether that image has a vector of exactly this content, and is known to have this content."""
        return (
            self._one(
                "SELECT 1 FROM embeddings JOIN images ON images.id = embeddings.image_id "
                "WHERE image_id = ? AND model_id = ? AND embeddings.digest = ? AND images.digest = embeddings.digest",
                (image_id, self._model_id, digest),
            )
            is not None
        )

    def with_vector(self, digest: str) -> int | None:
        """Any image of this content that has a vector of it."""
        return self._one(
            "SELECT images.id FROM images JOIN embeddings ON embeddings.image_id = images.id "
            "AND embeddings.model_id = ? AND embeddings.digest = images.digest WHERE images.digest = ? LIMIT 1",
            (self._model_id, digest),
        )

    def _one(self, query: str, values: tuple[object, ...]) -> int | None:
        with self._lock:
            row = self._connection.execute(query, values).fetchone()
        return None if row is None else int(row[0])


class Reader:
    """Reads one file at a time per thread. With `force` a known content is embedded again."""

    def __init__(self, contents: Contents, preprocess: Preprocess, *, max_megapixels: float, force: bool) -> None:
        self._contents = contents
        self._preprocess = preprocess
        self._max_megapixels = max_megapixels
        self._force = force
        self.postpones = True  # whether a content in the making is waited for; not in the second round

    def read(self, job: Job) -> Outcome:
        """What came of the file. Only errors of the program or of the library are raised."""
        try:
            return self._read(job)
        except TooLargeError as error:
            return Refused(job=job, reason=error.reason, detail=str(error), megapixels=error.megapixels)
        except ImageError as error:
            return Refused(job=job, reason=error.reason, detail=str(error))
        except OSError as error:
            refusal = file_error(error)
            return Refused(job=job, reason=refusal.reason, detail=str(refusal))

    def _read(self, job: Job) -> Outcome:
        path = absolute(job.root, job.path)
        with open(path, "rb") as file:
            # As it was opened: what changes while it is read is noticed by the next run.
            status = os.fstat(file.fileno())
            size, mtime_ns = status.st_size, status.st_mtime_ns
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            known = None if self._force else self._known(job, digest, size, mtime_ns)
            if known is not None:
                return known
            try:
                file.seek(0)
                picture, facts = decode(
                    file,
                    name=path,
                    mtime_ns=mtime_ns,
                    max_megapixels=self._max_megapixels,
                    hint=self._preprocess.image_size,
                )
                pixels = to_pixels(picture, self._preprocess)
            except BaseException:
                self._contents.release((digest,))
                raise
        return Decoded(job=job, size=size, mtime_ns=mtime_ns, digest=digest, facts=facts, pixels=pixels)

    def _known(self, job: Job, digest: str, size: int, mtime_ns: int) -> Outcome | None:
        """What needs no decoding. Otherwise None, and the content is claimed."""
        if not self._contents.claim(digest) and self.postpones:
            return Postponed(job=job)
        found: Outcome | None = None
        if job.image_id is not None and self._contents.has_vector(job.image_id, digest):
            found = Kept(job=job, size=size, mtime_ns=mtime_ns)
        else:
            source = self._contents.with_vector(digest)
            if source is not None:
                found = Copied(job=job, size=size, mtime_ns=mtime_ns, digest=digest, source=source)
        if found is not None:
            self._contents.release((digest,))
        return found
