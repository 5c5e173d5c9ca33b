"""Which rows train and which are held out, kept in the run's folder: a picture that breaks later moves no other one."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcli.datasets.sources import Row
from clipcli.errors import DataError
from trainer.checkpoints import write_atomically

__all__ = ["SPLIT", "Split"]

SPLIT = "split.npz"
TRAINED, HELD = 1, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """`roles` (rows,) says what each row of DATA is for: 0 for nothing, 1 to train on, 2 held out."""

    of: str  # digest of the rows it was made for
    roles: NDArray[np.uint8]

    @classmethod
    def made(cls, rows: Sequence[Row], train: Iterable[int], held: Iterable[int]) -> Split:
        roles = np.zeros(len(rows), dtype=np.uint8)
        roles[list(train)] = TRAINED
        roles[list(held)] = HELD
        return cls(of=_digest(rows), roles=roles)

    def fits(self, rows: Sequence[Row]) -> bool:
        """Whether these are the rows it was made for: by name and text, not by what is in the pictures."""
        return len(rows) == len(self.roles) and _digest(rows) == self.of

    def trains(self, number: int) -> bool:
        return bool(self.roles[number] == TRAINED)

    def held(self) -> list[int]:
        return [int(number) for number in np.flatnonzero(self.roles == HELD)]

    def save(self, run: Path) -> None:
        """Raises NoSpaceError."""
        write_atomically(
            run / SPLIT, lambda handle: np.savez_compressed(handle, of=np.asarray(self.of), roles=self.roles)
        )

    @classmethod
    def load(cls, run: Path) -> Split | None:
        """None for a run of an earlier version, which kept none. Raises DataError."""
        path = run / SPLIT
        if not path.exists():
            return None
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                return cls(of=str(file["of"]), roles=np.asarray(file["roles"], dtype=np.uint8))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path} cannot be read: {error}; take it away, and the data is split anew") from error


def _digest(rows: Sequence[Row]) -> str:
    made = hashlib.sha256()
    for row in rows:
        made.update(repr((row.name, row.captions, row.label, row.further)).encode("utf-8", "surrogatepass"))
    return made.hexdigest()
