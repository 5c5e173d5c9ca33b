"""Models of the world that are known by name: where they come from, how large they are, how good they are said to be.

The figures are published ones, each with the place it was published at; nothing here was measured by this project.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from clipcli.errors import NotFoundError

__all__ = ["Known", "find_known", "known_models"]

_FILE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A line of the catalogue."""

    name: str
    repository: str
    architecture: str
    image_size: int
    parameters_millions: float
    comes_as: str  # "graphs", which need no torch, or "weights", which do
    licence: str | None  # None where only the model's own card says
    licence_from: str | None = None
    zero_shot_imagenet: float | None  # top-1 accuracy in percent
    zero_shot_from: str | None = None
    logit_scale: float | None = None  # where the graphs leave it out and it is published
    logit_scale_from: str | None = None
    activation: str | None = None  # what weights were trained with, whatever the source states
    revision: str | None = None

    def __post_init__(self) -> None:
        for value, source in (
            (self.licence, self.licence_from),
            (self.zero_shot_imagenet, self.zero_shot_from),
            (self.logit_scale, self.logit_scale_from),
        ):
            if (value is None) != (source is None):
                raise ValueError(f"{self.name}: a figure needs its reference")

    @property
    def size_bytes(self) -> int:
        """About what it takes in fp32: four bytes a parameter. The hub says exactly, before anything is fetched."""
        return round(self.parameters_millions * 4e6)


@cache
def known_models() -> tuple[Known, ...]:
    """The catalogue."""
    return tuple(Known(**line) for line in json.loads(_FILE.read_text("utf-8")))


def find_known(name: str) -> Known:
    """Raises NotFoundError."""
    for known in known_models():
        if known.name == name:
            return known
    if "/" in name:
        raise NotFoundError(f"no model is known as {name!r}; a repository of the hub is pulled as hf:{name}")
    near = difflib.get_close_matches(name, [known.name for known in known_models()], n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise NotFoundError(
        f"no model is known as {name!r} ({meant}'clip models list' names those that are; hf:OWNER/REPO takes any "
        "repository)"
    )
