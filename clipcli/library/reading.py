"""The first stage of an index run, in several threads: a file becomes pixels, or turns out to need none.

Shapes: F frames, S image size.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from clipcli.bundle.preprocess import normalise
from clipcli.bundle.spec import Preprocess
from clipcli.errors import ImageError
from clipcli.library.decoder import TOO_SLOW, DecoderGoneError, DecoderProcess, Opened, Wish
from clipcli.library.decoders import Decoders
from clipcli.library.jobs import Copied, Decoded, Job, Kept, Outcome, Postponed, Refused
from clipcli.library.known_files import wanted_frames
from clipcli.library.report import IndexOptions
from clipcli.library.stored_paths import absolute
from clipcli.photos.refusals import TooLargeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clipcli.photos.facts import Facts

__all__ = ["Contents", "Reader"]

# Pictures above this are decoded one at a time, so that the largest allowed ones never share the memory.
_SIDE_BY_SIDE_MEGAPIXELS = 32.0


class Contents:
    """Which contents already have a vector of the model: in the library, or in the making. Safe between threads."""

    def __init__(self, connection: sqlite3.Connection, model_id: int, *, frames: int) -> None:
        self._connection = connection  # for reading; its own, so that the writer's transactions do not matter
        self._model_id = model_id
        self._of_right_frames = f"embeddings.frames = {wanted_frames(frames)}"
        self._lock = threading.Lock()
        self._in_the_making: set[str] = set()

    def close(self) -> None:
        """Close the connection once no thread is in the middle of a query; a later one fails in its thread."""
        with self._lock:
            self._connection.close()

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

    def has_vector(self, image_id: int, digest: str, *, frames: int | None = None) -> bool:
        """Whether that image has a vector of exactly this content, and is known to have this content.

        The vector is of as many frames as the run wants, or of exactly `frames`.
        """
        right = self._of_right_frames if frames is None else f"embeddings.frames = {frames:d}"
        return (
            self._one(
                "SELECT 1 FROM embeddings JOIN images ON images.id = embeddings.image_id "
                "WHERE image_id = ? AND model_id = ? AND embeddings.digest = ? AND images.digest = embeddings.digest "
                f"AND {right}",
                (image_id, self._model_id, digest),
            )
            is not None
        )

    def with_vector(self, digest: str) -> int | None:
        """Any image of this content that has a vector of it."""
        return self._one(
            "SELECT images.id FROM images JOIN embeddings ON embeddings.image_id = images.id "
            "AND embeddings.model_id = ? AND embeddings.digest = images.digest "
            f"WHERE images.digest = ? AND {self._of_right_frames} LIMIT 1",
            (self._model_id, digest),
        )

    def _one(self, query: str, values: tuple[object, ...]) -> int | None:
        with self._lock:
            row = self._connection.execute(query, values).fetchone()
        return None if row is None else int(row[0])


class Reader:
    """Reads one file at a time per thread, each with a process that does the decoding."""

    def __init__(self, contents: Contents, decoders: Decoders, preprocess: Preprocess, options: IndexOptions) -> None:
        self._contents = contents
        self._decoders = decoders
        self._preprocess = preprocess
        self._options = options
        self._large_ones = threading.Lock()
        self._expects_news = False  # the first file tells
        self._likely = self._wish(min(options.max_megapixels, _SIDE_BY_SIDE_MEGAPIXELS))
        self.postpones = True  # whether a content in the making is waited for; not in the second round

    def read(self, job: Job) -> Outcome:
        """What came of the file. Only errors of the program or of the library are raised."""
        try:
            try:
                return self._read(job)
            except DecoderGoneError as error:
                if error.was_fresh:
                    raise
                return self._read(job, fresh=True)  # a file that came before it may have broken that process
        except TooLargeError as error:
            return Refused(job=job, reason=error.reason, detail=str(error), megapixels=error.megapixels)
        except DecoderGoneError as error:
            seconds = self._options.seconds_per_file if error.reason == TOO_SLOW else None
            return Refused(job=job, reason=error.reason, detail=str(error), seconds=seconds)
        except ImageError as error:
            return Refused(job=job, reason=error.reason, detail=str(error))

    def _read(self, job: Job, *, fresh: bool = False) -> Outcome:
        likely = self._likely
        with self._decoders.one(fresh=fresh) as decoder:
            opened = decoder.open(
                absolute(job.root, job.path),
                size=job.size,
                limit_s=self._options.seconds_per_file,
                at_once=likely if self._expects_news or self._options.force else None,
            )
            known = None if self._options.force else self._known(job, opened)
            # Where files are moved or touched, they come in crowds: what one turned out to be, the next may be as well.
            self._expects_news = known is None
            if known is not None:
                return known
            try:
                levels, facts = self._decoded(decoder, likely)  # (F, S, S, 3)
            except BaseException:
                self._contents.release((opened.digest,))
                raise
        if not self._options.force and self._only_counted(job, opened, facts):
            self._contents.release((opened.digest,))
            return Kept(job=job, size=opened.size, mtime_ns=opened.mtime_ns, frames=facts.frames)
        return Decoded(
            job=job,
            size=opened.size,
            mtime_ns=opened.mtime_ns,
            digest=opened.digest,
            facts=facts,
            pixels=np.stack([normalise(frame, self._preprocess) for frame in levels]),
        )

    def _wish(self, max_megapixels: float) -> Wish:
        return Wish(
            max_megapixels=max_megapixels,
            frames=self._options.frames,
            accept_truncated=self._options.accept_truncated,
            limit_s=self._options.seconds_per_file,
        )

    def _decoded(self, decoder: DecoderProcess, likely: Wish) -> tuple[NDArray[np.uint8], Facts]:
        most = self._options.max_megapixels
        try:
            return decoder.decode(likely)
        except TooLargeError as error:
            if error.megapixels > most:
                return decoder.decode(self._wish(most))  # the same again, with the limit that was asked for
        with self._large_ones:
            return decoder.decode(self._wish(most))

    def _known(self, job: Job, opened: Opened) -> Outcome | None:
        """What needs no decoding. Otherwise None, and the content is claimed."""
        if not self._contents.claim(opened.digest) and self.postpones:
            return Postponed(job=job)
        found: Outcome | None = None
        if job.image_id is not None and self._contents.has_vector(job.image_id, opened.digest):
            found = Kept(job=job, size=opened.size, mtime_ns=opened.mtime_ns)
        else:
            source = self._contents.with_vector(opened.digest)
            if source is not None:
                found = Copied(job=job, size=opened.size, mtime_ns=opened.mtime_ns, digest=opened.digest, source=source)
        if found is not None:
            self._contents.release((opened.digest,))
        return found

    def _only_counted(self, job: Job, opened: Opened, facts: Facts) -> bool:
        """Whether the file had to be decoded only to learn that it has one frame: its vector is of that one."""
        return (
            facts.frames == 1
            and job.image_id is not None
            and self._contents.has_vector(job.image_id, opened.digest, frames=1)
        )
