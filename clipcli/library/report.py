"""How an index run is asked for, how it tells where it stands, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field

from clipcli.errors import UsageError
from clipcli.library.jobs import Skip
from clipcli.photos.decode import DEFAULT_MAX_MEGAPIXELS
from clipcli.photos.frames import MOST_FRAMES
from clipcli.photos.ignoring import LeftOut, check_patterns

__all__ = ["DEFAULT_SECONDS_PER_FILE", "IndexOptions", "IndexReport", "Progress"]

DEFAULT_SECONDS_PER_FILE = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexOptions:
    """`batch_size` is how many pictures a kill can cost: half of them in the model, half being written.

    It and `workers` (processes that read files) are chosen by device and processor where they are None.

    Of a moving picture, or a file of several pages, `frames` are embedded, spread evenly, and their mean is the vector.
    With `accept_truncated` a file that was cut short is taken for what is there of it. `seconds_per_file` is how long
    a file may take to be decoded, as long again as it takes to read a megabyte a second.

    `force` reads and embeds every file again, unchanged and known bad ones as well.

    `exclude` and `include` are gitignore patterns relative to each named folder: what matches the one is left out, and
    with the other only files that match are taken. Pictures that are in the library already stay.
    """

    batch_size: int | None = None
    workers: int | None = None
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
    seconds_per_file: float = DEFAULT_SECONDS_PER_FILE
    frames: int = 1
    accept_truncated: bool = False
    force: bool = False
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.batch_size is not None and not 2 <= self.batch_size <= 4096:
            raise UsageError(f"a batch has 2 to 4096 pictures, not {self.batch_size}")
        if self.workers is not None and not 1 <= self.workers <= 256:
            raise UsageError(f"1 to 256 processes can read files, not {self.workers}")
        if not self.max_megapixels > 0:
            raise UsageError(f"the limit in megapixels has to be above zero, not {self.max_megapixels:g}")
        if not 0 < self.seconds_per_file < 1e6:
            raise UsageError(
                f"a file may take more than 0 seconds and less than 1,000,000, not {self.seconds_per_file:g}"
            )
        if not 1 <= self.frames <= MOST_FRAMES:
            raise UsageError(f"1 to {MOST_FRAMES} frames of a picture can be embedded, not {self.frames}")
        check_patterns((*self.exclude, *self.include))


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Where a run stands. `phase` "scan": `done` files found so far. "embed": `done` of `total` files are through,
    `skipped` are those newly skipped since the last call; the first call comes before the model is used.
    """

    phase: str
    done: int
    total: int | None = None
    skipped: tuple[Skip, ...] = ()


@dataclass(kw_only=True, slots=True)
class IndexReport:
    """What became of every file: `considered == indexed + skipped + pending`.

    `truncated` of the embedded were taken for what is left of a file cut short. `recognised` were moved, copied or
    touched and needed no model. `known_bad` could not be read before either and have not changed. `pending` were not
    looked at (a preview). `kept_tags` are a person's tags of `forgotten` pictures, for when these are back. `others`
    are no pictures and count nowhere else, and `left_out` is what a person's rules leave out; `left_in` are places
    among that, and how many pictures are known there. `absent` are folders that are not there or empty; `emptied` are
    roots in which none of the pictures known was there, with how many were kept although their files are gone.
    """

    considered: int
    unchanged: int
    known_bad: int
    others: int
    left_out: LeftOut
    pending: int
    embedded: int = 0
    truncated: int = 0
    recognised: int = 0
    newly_skipped: list[Skip] = field(default_factory=list)
    forgotten: int = 0
    kept_tags: int = 0
    absent: list[bytes] = field(default_factory=list)
    emptied: dict[bytes, int] = field(default_factory=dict)
    left_in: dict[bytes, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def indexed(self) -> int:
        return self.unchanged + self.embedded + self.recognised

    @property
    def skipped(self) -> int:
        return self.known_bad + len(self.newly_skipped)
