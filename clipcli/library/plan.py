"""What an index run has found that it has to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from clipcli.library.id_set import IdSet
from clipcli.library.job_list import JobList
from clipcli.library.jobs import Skip
from clipcli.library.mounts import Mounts
from clipcli.photos.ignoring import LeftOut

__all__ = ["Plan", "UnlistedFolder"]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnlistedFolder:
    """A folder that could not be listed, for the table of what was skipped."""

    root: bytes
    skip: Skip
    path: bytes


@dataclass(kw_only=True, slots=True)
class Plan:
    """`unchanged` files are in the library as they are; `known_bad` ones could not be read before and have not changed.

    `others` looked like no picture and are not counted as considered, nor is what rules leave out. `vanished` are the
    ids of images whose file is gone. `absent` are folders that are not there, or empty where pictures
    are known: perhaps a disk that is not mounted. `held` are, by root, those of the vanished that are not to be
    forgotten, as no other picture of the root is there either. `mounts` are, by root, the places in it where disks are
    or were mounted. `left_in` are places that a `.clipignore` leaves out by now, and how many pictures are known
    there.
    """

    jobs: JobList = field(default_factory=JobList)
    unchanged: int = 0
    known_bad: int = 0
    others: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)
    unlisted: list[UnlistedFolder] = field(default_factory=list)
    vanished: IdSet = field(default_factory=IdSet)
    outdated_skips: IdSet = field(default_factory=IdSet)
    absent: list[bytes] = field(default_factory=list)
    held: dict[bytes, IdSet] = field(default_factory=dict)
    scanned_roots: list[bytes] = field(default_factory=list)
    mounts: dict[bytes, Mounts] = field(default_factory=dict)
    left_in: dict[bytes, int] = field(default_factory=dict)

    @property
    def considered(self) -> int:
        return len(self.jobs) + self.unchanged + self.known_bad + len(self.unlisted)
