"""Rows as what is measured: pictures with one right class each, or pictures with their captions.

Shapes: N pictures, T captions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcli.datasets.rows import Row, Stored, content_of
from clipcli.errors import DataError

__all__ = ["Captioned", "Labelled", "captioned", "labelled"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """`wanted` (N,) is each picture's place among `classes`, which are called `names`: the label up to a comma."""

    pictures: tuple[Path | bytes, ...]
    names: tuple[str, ...]  # how a person would find each picture again
    classes: tuple[str, ...]
    wanted: NDArray[np.intp]

    @property
    def spoken(self) -> list[str]:
        """What each class is called: commas separate synonyms, the first of which is taken."""
        return [label.split(",")[0].strip() or label for label in self.classes]

    def only(self, places: NDArray[np.intp]) -> Labelled:
        """The same with these pictures; classes stay, with pictures or without."""
        chosen = places.tolist()
        return Labelled(
            pictures=tuple(self.pictures[place] for place in chosen),
            names=tuple(self.names[place] for place in chosen),
            classes=self.classes,
            wanted=self.wanted[places],
        )

    def joined(self, other: Labelled) -> tuple[Labelled, int]:
        """These, then those of `other` that are of a class that is here; and how many of `other` are of none."""
        place = {label: at for at, label in enumerate(self.classes)}
        kept = [at for at, wanted in enumerate(other.wanted.tolist()) if other.classes[wanted] in place]
        known = other.only(np.asarray(kept, dtype=np.intp))
        wanted = np.asarray([place[other.classes[at]] for at in known.wanted.tolist()], dtype=np.intp)
        together = Labelled(
            pictures=self.pictures + known.pictures,
            names=self.names + known.names,
            classes=self.classes,
            wanted=np.concatenate([self.wanted, wanted]),
        )
        return together, len(other.pictures) - len(kept)


@dataclass(frozen=True, kw_only=True, slots=True)
class Captioned:
    """`owners` (T,) is the place of the picture each of the `captions` belongs to."""

    pictures: tuple[Path | bytes, ...]
    names: tuple[str, ...]
    captions: tuple[str, ...]
    owners: NDArray[np.intp]

    def only(self, places: NDArray[np.intp]) -> Captioned:
        """The same with these pictures, and with their captions."""
        new = {int(place): at for at, place in enumerate(places)}
        kept = [(text, new[int(owner)]) for text, owner in zip(self.captions, self.owners, strict=True) if owner in new]
        return Captioned(
            pictures=tuple(self.pictures[place] for place in new),
            names=tuple(self.names[place] for place in new),
            captions=tuple(text for text, _ in kept),
            owners=np.asarray([owner for _, owner in kept], dtype=np.intp),
        )


def labelled(rows: Sequence[Row], *, where: str, texts_are_labels: bool = False, fewest: int = 2) -> Labelled:
    """The rows that have a label. In a table without any, texts that come again and again are labels.

    Raises DataError where there are fewer than `fewest` classes.
    """
    found = [(row, row.label) for row in rows if row.label]
    texts = Counter(text for row in rows for text in row.captions)
    repeated = len(texts) * 2 <= len(rows) and all(len(row.captions) == 1 for row in rows)
    if not found and (texts_are_labels or repeated):
        found = [(row, row.captions[0]) for row in rows if row.captions]
    classes = sorted({label for _, label in found})
    if len(classes) < fewest:
        raise DataError(
            f"{where} has {len(classes) or 'no'} class{'es' if not classes else ''}, and two are needed: folders by "
            "their names, or a column 'label' or 'class' (or one named with --text-column)"
        )
    place = {label: at for at, label in enumerate(classes)}
    return Labelled(
        pictures=tuple(content_of(row.image) for row, _ in found),
        names=tuple(row.name for row, _ in found),
        classes=tuple(classes),
        wanted=np.asarray([place[label] for _, label in found], dtype=np.intp),
    )


def captioned(rows: Iterable[Row], *, where: str) -> Captioned:
    """The rows that have captions; rows about the same file are one picture. Raises DataError for fewer than two."""
    by_picture: dict[Path | bytes | Stored, tuple[Row, list[str]]] = {}
    for row in rows:
        if row.captions:
            by_picture.setdefault(row.image, (row, []))[1].extend(row.captions)
    if not by_picture:
        raise DataError(
            f"{where} has no captions: a column 'caption', 'captions' or 'text' has them "
            "(or one named with --text-column)"
        )
    if len(by_picture) < 2:
        raise DataError(f"{where} has captions of one picture only, and at least two are needed")
    texts = [(text, at) for at, (_, said) in enumerate(by_picture.values()) for text in said]
    return Captioned(
        pictures=tuple(map(content_of, by_picture)),
        names=tuple(row.name for row, _ in by_picture.values()),
        captions=tuple(text for text, _ in texts),
        owners=np.asarray([at for _, at in texts], dtype=np.intp),
    )
