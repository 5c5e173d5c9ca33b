"""Which texts and crops make up step t: a function of the seed and t alone, so a resumed run repeats nothing.

Shapes: B pictures, T texts, L tokens, S image size.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clipcli.datasets.sources import Row
from clipcli.errors import ImageError
from trainer.augment import vary
from trainer.options import SameText
from trainer.pictures import Crop, PictureStore
from trainer.row_plan import RowPlan

__all__ = ["Batch", "BatchMaker", "synonyms"]

# Decoding lets go of the interpreter's lock. One core at least is left to the step where there are several.
WORKERS = max(1, min(8, (os.cpu_count() or 1) - 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Everything one step needs, as arrays."""

    pixels: NDArray[np.uint8]  # (B, S, S, 3); of several processes each has its share of the B alone
    tokens: NDArray[np.int64]  # (T, L)
    lengths: NDArray[np.int64]  # (T,) tokens up to and with the end marker
    positives: NDArray[np.bool_]  # (B, T)
    ignored: NDArray[np.bool_] | None  # (B, T)
    labels: NDArray[np.int64]  # (B,) number of the label, -1 where there is none
    teacher_images: NDArray[np.float32] | None = None  # (B, E) a teacher's vectors, of length 1; own share as `pixels`
    teacher_texts: NDArray[np.float32] | None = None  # (T, E)
    text_features: NDArray[np.float32] | None = None  # (T, D) of length 1, where the text tower is locked
    soft: NDArray[np.float32] | None = None  # (B, K) soft labels, NaN where there is none
    numbers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))  # (B,) of the rows
    without: frozenset[int] = frozenset()  # rows known to be broken when it was made; others stand in for them
    broken: tuple[tuple[int, str], ...] = ()  # rows found to be so, and why: their pixels are no picture


def synonyms(label: str) -> list[str]:
    """The names of a class: commas separate them."""
    return [name for name in (part.strip() for part in label.split(",")) if name] or [label]


class Taught(Protocol):
    """Whoever has vectors for what is in a batch: `trainer.teacher.Teacher`."""

    def of_texts(self, texts: Sequence[str]) -> NDArray[np.float32]: ...

    def of_images(self, numbers: Sequence[int], crops: Sequence[Crop]) -> NDArray[np.float32]: ...


class Spoken(Protocol):
    """Whoever has features of texts: `trainer.locked_texts.LockedTexts`."""

    def of_texts(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class BatchMaker:
    """Turns row numbers into batches, some steps ahead of the device."""

    def __init__(
        self,
        *,
        rows: Sequence[Row],
        plan: RowPlan,
        store: PictureStore,
        tokenise: Callable[[Sequence[str]], NDArray[np.int64]],
        end_id: int,
        templates: Sequence[str],
        same_text: SameText,
        crop_min: float,
        flip: bool,
        seed: int,
        colour: float = 0.0,
        erase: float = 0.0,
    ) -> None:
        self.rows, self.plan, self.store = rows, plan, store
        self.tokenise, self.end_id, self.templates = tokenise, end_id, templates
        self.same_text, self.crop_min, self.flip, self.seed = same_text, crop_min, flip, seed
        self.colour, self.erase = colour, erase
        seen = {rows[number].label for group in plan.groups for number in group}
        self.labels = sorted(label for label in seen if label is not None)
        self.label_number = {label: number for number, label in enumerate(self.labels)}
        self.picture = _same_pictures(rows, store)
        self.teacher: Taught | None = None
        self.locked: Spoken | None = None
        self.soft: NDArray[np.float32] | None = None  # (rows, K)
        self.without: frozenset[int] = frozenset()  # rows whose pictures have become unreadable
        self.own: Callable[[int], slice] = lambda count: slice(0, count)  # the pictures of a batch that are needed here

    def stream(self, start: int, stop: int, *, ahead: int = 0) -> Batches:
        """Batches of the steps from `start` to `stop`, in order, made by threads; `ahead` at most, 0 is three or more.

        Each is made from its step's number alone, so how many threads there are changes nothing in it.
        """
        return Batches(self, start, stop, ahead or 2 + WORKERS, WORKERS)

    def make(self, step: int) -> Batch:
        """The batch of one step."""
        random = np.random.default_rng((self.seed, 2, step))
        without = self.without
        numbers = self.plan(step, without)
        size = self.store.preprocess.image_size
        crops = [self._crop(random) for _ in numbers]
        own = range(len(numbers))[self.own(len(numbers))]
        pixels = np.zeros((len(own), size, size, 3), dtype=np.uint8)
        broken: dict[int, str] = {}
        for place, number in enumerate(own):
            try:
                self.store.crop(int(numbers[number]), crops[number], pixels[place])
            except ImageError as error:
                broken[int(numbers[number])] = error.reason
        if self.colour or self.erase:
            pixels = vary(
                pixels,
                colour=self.colour,
                erase=self.erase,
                batch_size=len(numbers),
                own=self.own(len(numbers)),
                random=np.random.default_rng((self.seed, 7, step)),
            )
        texts, positives, ignored = self._texts(numbers, random)
        tokens = self.tokenise(texts)
        taught = self.teacher
        labels = [self.label_number.get(self.rows[number].label or "", -1) for number in numbers]
        return Batch(
            pixels=pixels,
            tokens=tokens,
            lengths=(tokens == self.end_id).argmax(axis=1) + 1,
            positives=positives,
            ignored=ignored,
            labels=np.asarray(labels, dtype=np.int64),
            teacher_images=None
            if taught is None
            else taught.of_images(numbers[own].tolist(), [crops[at] for at in own]),
            teacher_texts=None if taught is None else taught.of_texts(texts),
            text_features=None if self.locked is None else self.locked.of_texts(texts),
            soft=self.soft[numbers] if self.soft is not None else None,
            numbers=numbers,
            without=without,
            broken=tuple(broken.items()),
        )

    def _crop(self, random: np.random.Generator) -> Crop:
        # Even in area, as usual for random resized crops (Szegedy et al. 2015), but always square.
        side = math.sqrt(random.uniform(self.crop_min**2, 1.0))
        return Crop(
            side=side, across=random.random(), down=random.random(), mirrored=self.flip and random.random() < 0.5
        )

    def _say(self, label: str, random: np.random.Generator) -> str:
        names = synonyms(label)
        # The first name is the one people use; half of the time it is that one.
        name = names[0] if random.random() < 0.5 else names[int(random.integers(len(names)))]
        return self.templates[int(random.integers(len(self.templates)))].replace("{}", name)

    def _texts(
        self, numbers: NDArray[np.int64], random: np.random.Generator
    ) -> tuple[list[str], NDArray[np.bool_], NDArray[np.bool_] | None]:
        """Texts, and which of them belong to which picture: (B, T)."""
        rows = [self.rows[number] for number in numbers]
        spoken: list[str] = []
        keys: list[str] = []  # equal where two rows say the same, in whatever words
        for row in rows:
            if row.captions and (row.label is None or random.random() < 0.5):
                text = row.captions[int(random.integers(len(row.captions)))]
                spoken.append(text)
                keys.append(f"caption {text.casefold()}")
            else:
                label = row.label or ""
                spoken.append(self._say(label, random))
                keys.append(f"label {label.casefold()}")
        pictures = self.picture[numbers]
        one_picture = pictures[:, None] == pictures[None, :]  # (B, B)
        if self.same_text != "positive":
            # The paper: each text belongs to its own picture. Ignored: what says the same, or of the same picture, is
            # no negative either.
            own = np.eye(len(rows), dtype=np.bool_)
            alike = np.asarray(keys)[:, None] == np.asarray(keys)[None, :]
            return spoken, own, (alike | one_picture) if self.same_text == "ignore" else None
        columns: dict[str, int] = {}
        texts: list[str] = []
        for key, text in zip(keys, spoken, strict=True):
            if key not in columns:
                columns[key] = len(texts)
                texts.append(text)
        positives = np.zeros((len(rows), len(texts)), dtype=np.bool_)
        positives[np.arange(len(rows)), [columns[key] for key in keys]] = True
        if len(np.unique(pictures)) < len(rows):  # two rows of one picture: what is said of one holds for the other
            positives = one_picture @ positives
        return texts, positives, None


def _same_pictures(rows: Sequence[Row], store: PictureStore) -> NDArray[np.int64]:
    """(rows,) the same number where the picture is the same file or, within other files, the same bytes."""
    numbers: dict[object, int] = {}
    found: list[int] = []
    for at, row in enumerate(rows):
        inside = not isinstance(row.image, Path) and at in store.digests
        found.append(numbers.setdefault(store.digests[at] if inside else row.image, len(numbers)))
    return np.asarray(found, dtype=np.int64)


class Batches:
    """An iterator that keeps some batches ready. Close it, or use it as a context, to let go of its threads."""

    def __init__(self, maker: BatchMaker, start: int, stop: int, ahead: int, workers: int) -> None:
        self.maker, self.next, self.stop = maker, start, stop
        self.pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="batches")
        self.waiting = [self.pool.submit(maker.make, step) for step in range(start, min(stop, start + ahead))]
        self.asked = start + len(self.waiting)

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        if not self.waiting:
            raise StopIteration
        batch = self.waiting.pop(0).result()
        if self.asked < self.stop:
            self.waiting.append(self.pool.submit(self.maker.make, self.asked))
            self.asked += 1
        return batch
