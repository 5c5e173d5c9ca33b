"""A model judges the pictures of the library by labels and tags them, from the stored vectors: no picture is opened.

What a run says about its labels replaces what models said about them before; a person's own tags stay as they are.
Shapes: N images, B batch, C labels, D embedding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import UsageError
from clipcli.library.models import StoredModel
from clipcli.library.store import Library
from clipcli.library.tags import BY_HAND, checked_label

__all__ = ["Labelled", "Rule", "Total", "label_pictures"]

_PICTURES_AT_ONCE = 4096  # a transaction each: what is interrupted is begun again by the next run, to the same end

Cosines = NDArray[np.float64]
Probabilities = Callable[[Cosines], NDArray[np.float64]]  # (B, C) -> (B, C)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Which of the labels a picture gets: the likeliest, or with `multi` every one; in either case none below
    `threshold`. A picture that gets none of them gets `none_label`.

    `independent` says that each label has a probability of its own, as a model trained with sigmoids gives it. The
    threshold is a probability where there is one, else (`multi` or a single label) a cosine.
    """

    labels: tuple[str, ...]
    multi: bool = False
    threshold: float | None = None
    none_label: str | None = None
    independent: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(dict.fromkeys(checked_label(label) for label in self.labels)))
        if not self.labels:
            raise UsageError("no labels given")
        if self.none_label is not None:
            object.__setattr__(self, "none_label", checked_label(self.none_label))
            if self.none_label in self.labels:
                raise UsageError(f"{self.none_label!r} is one of the labels; the one for none of them is another")
        if self.threshold is None:
            if self.multi or len(self.labels) == 1:
                what = "a probability" if self.independent else "a cosine"
                raise UsageError(
                    f"every picture would get {'every label' if self.multi else 'the label'}: say from which value on "
                    f"with --threshold ({what}; --dry-run shows which there are)"
                )
            if self.none_label is not None:
                raise UsageError("every picture would get a label: say from which probability on with --threshold")
        elif not -1 <= self.threshold <= 1 or (self.by_probability and self.threshold < 0):
            raise UsageError(f"{self.threshold:g} is no {'probability' if self.by_probability else 'cosine'}")

    @property
    def by_probability(self) -> bool:
        return self.independent or not (self.multi or len(self.labels) == 1)

    @property
    def judged(self) -> tuple[str, ...]:
        """All labels that a run decides about."""
        return self.labels if self.none_label is None else (*self.labels, self.none_label)

    def choose(self, cosines: Cosines, probabilities: Probabilities) -> NDArray[np.bool_]:
        """Which labels each picture gets (B, C)."""
        values = probabilities(cosines) if self.by_probability else cosines
        chosen = np.ones(cosines.shape, dtype=np.bool_)
        if not self.multi:
            chosen[:] = False
            chosen[np.arange(len(cosines)), cosines.argmax(axis=1)] = True  # of equal ones the first
        return chosen if self.threshold is None else chosen & (values >= self.threshold)


@dataclass(kw_only=True, slots=True)
class Total:
    """What became of a label: how many pictures it fits, how many of those have it by a person's hand already, how
    many tags are new and how many were taken back; `best` is the best cosine of all pictures looked at.
    """

    label: str
    pictures: int = 0
    by_hand: int = 0
    added: int = 0
    removed: int = 0
    best: float | None = None


@dataclass(kw_only=True, slots=True)
class Labelled:
    """`unusable` pictures have a damaged vector and were left as they are."""

    seen: int = 0
    unusable: int = 0
    totals: dict[str, Total] = field(default_factory=dict)


def label_pictures(
    library: Library,
    model: StoredModel,
    prototypes: NDArray[np.float32],  # (C, D)
    rule: Rule,
    *,
    probabilities: Probabilities,
    image_ids: NDArray[np.int64] | None = None,
    dry_run: bool = False,
    on_progress: Callable[[int], None],
) -> Labelled:
    """Tag the pictures that have a vector of the model (of them those in `image_ids`, ascending) by the rule.

    A transaction per batch; only what changes is written. With `dry_run` the library need not be open for writing.
    `on_progress` is called with how many more are done.
    """
    from clipcli.library.vectors import vectors as stored_vectors

    result = Labelled(totals={label: Total(label=label) for label in rule.judged})
    directions = prototypes.astype(np.float64).T  # (D, C)
    ids, rows = stored_vectors(library, identity=model.identity, precision=model.precision)  # (N,), (N, D)
    places = np.arange(len(ids)) if image_ids is None else np.flatnonzero(np.isin(ids, image_ids, assume_unique=True))
    for start in range(0, len(places), _PICTURES_AT_ONCE):
        part = places[start : start + _PICTURES_AT_ONCE]
        vectors = rows[part].astype(np.float64)  # (B, D)
        sound = np.isfinite(vectors).all(axis=1)
        cosines = vectors[sound] @ directions  # (B, C)
        chosen = rule.choose(cosines, probabilities)
        wanted = _wanted(rule, ids[part][sound].tolist(), cosines, chosen)
        if dry_run:
            with library.read():
                _compare(library, model, rule, ids[part][sound].tolist(), wanted, result)
        else:
            with library.write():
                _replace(library, model, rule, ids[part][sound].tolist(), wanted, result)
        result.seen += len(part)
        result.unusable += int(len(part) - sound.sum())
        for label, column in zip(rule.labels, cosines.T, strict=True):
            best = float(column.max(initial=-1.0))
            total = result.totals[label]
            total.best = best if total.best is None else max(total.best, best)
        on_progress(len(part))
    return result


_Wanted = dict[tuple[int, str], float | None]  # (image id, label) -> score


def _wanted(rule: Rule, ids: Sequence[int], cosines: Cosines, chosen: NDArray[np.bool_]) -> _Wanted:
    wanted: _Wanted = {
        (ids[row], rule.labels[column]): round(float(cosines[row, column]), 6)
        for row, column in np.argwhere(chosen).tolist()
    }
    if rule.none_label is not None:
        wanted.update({(ids[row], rule.none_label): None for row in np.flatnonzero(~chosen.any(axis=1)).tolist()})
    return wanted


@dataclass(frozen=True, kw_only=True, slots=True)
class _Changes:
    written: list[tuple[int, str, float | None]]
    removed: list[tuple[int, str]]


def _compare(
    library: Library, model: StoredModel, rule: Rule, ids: Sequence[int], wanted: _Wanted, result: Labelled
) -> _Changes:
    """What has to be written and removed; counted in `result`."""
    there = {
        (image_id, label): (by_hand, score, model_id)
        for image_id, label, by_hand, score, model_id in library.connection.execute(
            f"SELECT image_id, label, {BY_HAND}, score, model_id FROM tags "
            "WHERE image_id IN (SELECT value FROM json_each(?)) AND label IN (SELECT value FROM json_each(?))",
            (json.dumps(ids), json.dumps(rule.judged)),
        )
    }
    by_hand = {key for key, (hand, *_) in there.items() if hand}
    written = [
        (*key, score)
        for key, score in wanted.items()
        if key not in by_hand and (key not in there or there[key][1:] != (score, model.id))
    ]
    removed = [key for key in there if key not in wanted and key not in by_hand]
    for key in wanted:
        total = result.totals[key[1]]
        total.pictures += 1
        total.by_hand += key in by_hand
        total.added += key not in there
    for _, label in removed:
        result.totals[label].removed += 1
    return _Changes(written=written, removed=removed)


def _replace(
    library: Library, model: StoredModel, rule: Rule, ids: Sequence[int], wanted: _Wanted, result: Labelled
) -> None:
    """To be called within `write()`, so that what is compared is what is changed."""
    changes = _compare(library, model, rule, ids, wanted, result)
    library.connection.executemany("DELETE FROM tags WHERE image_id = ? AND label = ?", changes.removed)
    # A picture may have been forgotten since its vector was read.
    library.connection.executemany(
        "INSERT OR REPLACE INTO tags (image_id, label, score, model_id) "
        "SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM images WHERE id = ?1)",
        [(*one, model.id) for one in changes.written],
    )
