"""What can be wrong with a library, by kind."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KINDS", "Fault", "Kind"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """`damage`: it should never come about. The rest comes about in everyday life, and the next `embed` sees to it."""

    damage: bool
    meaning: str
    remedy: str

    @property
    def drops_vectors(self) -> bool:
        """Whether the next `embed` has to make something again after a repair."""
        return "dropped" in self.remedy


KINDS = {
    "integrity": Kind(damage=True, meaning="SQLite finds the file damaged", remedy="indexes are made again"),
    "schema": Kind(
        damage=True,
        meaning="a table, column, index, view or trigger is missing or altered",
        remedy="made again, but no table or column that is there",
    ),
    "orphan": Kind(damage=True, meaning="rows belong to a row that is not there", remedy="removed"),
    "not-a-number": Kind(damage=True, meaning="a vector has NaN or infinity in it", remedy="dropped"),
    "wrong-length": Kind(damage=True, meaning="a vector has more or fewer numbers than the model", remedy="dropped"),
    "not-unit": Kind(damage=True, meaning="a vector is not of length 1", remedy="dropped"),
    "wrong-digest": Kind(damage=True, meaning="a digest is not that of the file", remedy="vectors dropped, read again"),
    "stale-cache": Kind(damage=True, meaning="a cache does not hold the library's vectors", remedy="thrown away"),
    "unreadable": Kind(damage=True, meaning="the file cannot be read (--deep)", remedy="marked stale, vector kept"),
    "missing-file": Kind(damage=False, meaning="the picture's file is gone", remedy="forgotten"),
    "changed-file": Kind(
        damage=False, meaning="the file's size or time has changed (--deep)", remedy="noted: `embed` reads it again"
    ),
    "out-of-date": Kind(damage=False, meaning="a vector is of an older content of the file", remedy="dropped"),
    "old-cache": Kind(damage=False, meaning="a cache of an earlier state is left over", remedy="thrown away"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing that is wrong. `subject` is the table, index or foreign key it is about where that is not a picture.

    `path` is the picture's or the cache's, absolute; `model_id` is set where one model's vector is meant.
    """

    kind: str
    detail: str
    image_id: int | None = None
    model_id: int | None = None
    subject: str | None = None
    path: bytes | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no such kind of fault: {self.kind}")

    @property
    def damage(self) -> bool:
        return KINDS[self.kind].damage
