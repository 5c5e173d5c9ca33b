"""The files a run has to open, in the order they were found: of a first run of a million pictures there are a million.

As objects they would take half a gigabyte. Here a thousand at a time are put column by column and compressed, which
leaves some thirteen bytes of each.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence

from clipcli.library.jobs import Job

__all__ = ["JobList"]

_TOGETHER = 1000
_LEVEL = 1  # the quickest: what is left to gain beyond it is little
_NOBODY = -(1 << 63)  # no row of SQLite that anybody has made has this id
_NUMBERS = 5  # columns


class JobList:
    """Jobs are added at the end and gone through from the beginning, as often as one likes."""

    def __init__(self, jobs: Iterable[Job] = ()) -> None:
        self._packed: list[bytes] = []
        self._last: list[Job] = []
        self._words: dict[bytes | str | None, int] = {}  # roots and reasons: few, and each many times
        for job in jobs:
            self.append(job)

    def append(self, job: Job) -> None:
        self._last.append(job)
        if len(self._last) == _TOGETHER:
            self._packed.append(self._pack(self._last))
            self._last = []

    def __len__(self) -> int:
        return len(self._packed) * _TOGETHER + len(self._last)

    def __iter__(self) -> Iterator[Job]:
        for packed in self._packed:
            yield from self._unpack(packed)
        yield from self._last

    def _word(self, word: bytes | str | None) -> int:
        return self._words.setdefault(word, len(self._words))

    def _pack(self, jobs: Sequence[Job]) -> bytes:
        columns = (
            [job.size for job in jobs],
            [job.mtime_ns for job in jobs],
            [_NOBODY if job.image_id is None else job.image_id for job in jobs],
            [self._word(job.root) for job in jobs],
            [self._word(job.known_reason) for job in jobs],
        )
        numbers = array("q", (number for column in columns for number in column)).tobytes()
        # Bytes of like weight stand together: most are the same from job to job.
        paths = b"\0".join(job.path for job in jobs)  # a path has no NUL
        return zlib.compress(b"".join(numbers[place::8] for place in range(8)) + paths, _LEVEL)

    def _unpack(self, packed: bytes) -> Iterator[Job]:
        content = zlib.decompress(packed)
        count = _TOGETHER * _NUMBERS
        numbers = bytearray(8 * count)
        for place in range(8):
            numbers[place::8] = content[place * count : (place + 1) * count]
        values = array("q", bytes(numbers))
        size, mtime, image, root, reason = (values[at : at + _TOGETHER] for at in range(0, count, _TOGETHER))
        words = list(self._words)
        for at, path in enumerate(content[8 * count :].split(b"\0")):
            where, why = words[root[at]], words[reason[at]]
            assert isinstance(where, bytes)
            assert why is None or isinstance(why, str)
            yield Job(
                root=where,
                path=path,
                size=size[at],
                mtime_ns=mtime[at],
                image_id=None if image[at] == _NOBODY else image[at],
                known_reason=why,
            )
