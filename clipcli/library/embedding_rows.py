"""What a file of embeddings holds, whatever its format: pictures with their facts, vectors and tags.

What was added later is in columns and fields that an earlier version of this program does not look for, and may be
missing in a file that one has written. Shapes: B rows of a block, D embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ADDED_LATER", "COLUMNS", "ROWS_AT_ONCE", "Block", "Extras", "Origin", "TagGiven"]

ROWS_AT_ONCE = 4096

# Name -> type and whether it may be missing. `root_b64` and `path_b64` have the bytes where they are not UTF-8.
COLUMNS: Mapping[str, tuple[type, bool]] = {
    "root": (str, False),
    "root_b64": (str, True),
    "path": (str, False),  # relative to the root
    "path_b64": (str, True),
    "size": (int, False),
    "mtime_ns": (int, False),
    "digest": (str, False),
    "width": (int, False),
    "height": (int, False),
    "format": (str, False),
    "orientation": (int, False),
    "taken_at": (str, True),
    "taken_from": (str, True),
    "camera": (str, True),
    "lens": (str, True),
    "latitude": (float, True),
    "longitude": (float, True),
    "frames": (int, True),
    "truncated": (int, False),
    "vector_frames": (int, False),  # how many of them the vector is the mean of
}
ADDED_LATER: Mapping[str, Any] = {"frames": None, "truncated": 0, "vector_frames": 1}


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """The model that made the vectors."""

    identity: str
    precision: str
    model: str
    folder: str
    dimension: int

    def __post_init__(self) -> None:
        if not (self.identity and self.precision and self.model and self.dimension > 0):
            raise ValueError("a model has an identity, a precision, a name and a dimension")


@dataclass(frozen=True, kw_only=True, slots=True)
class TagGiven:
    """A label of a picture; `model` counts in `Extras.models`. Without score and model it is a person's own."""

    label: str
    score: float | None
    model: int | None
    at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """What belongs to no single picture: the models that gave tags, the pairs of contents decided to be distinct, each
    with the time of the decision, and a person's tags of pictures that are gone: digest, label and time.
    """

    models: Sequence[Origin] = ()
    not_duplicates: Sequence[tuple[str, str, str]] = ()
    kept_tags: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Rows as lists, one per column of `COLUMNS`, their vectors, and the tags of each."""

    columns: Mapping[str, Sequence[Any]]
    vectors: NDArray[np.float32]  # (B, D)
    tags: Sequence[Sequence[TagGiven]]
