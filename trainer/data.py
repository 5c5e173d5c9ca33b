"""From the sources to rows that can be trained on: read, split, decoded once, and a summary of what was set aside."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clipcli.bundle.spec import Preprocess
from clipcli.errors import DataError, ImageError
from trainer.options import TrainOptions
from trainer.pictures import PictureStore, available_memory
from trainer.sources import Row, read_source
from trainer.validation import ValidationSet

__all__ = ["Data", "DataSummary", "prepare_data"]

LEAST_PAIRS = 8  # fewer cannot be split into something to learn from and something to check with


@dataclass(slots=True)
class DataSummary:
    """What a person should know before hours are spent."""

    pairs: int = 0
    pictures: int = 0
    captions: int = 0
    labels: int = 0
    training: int = 0
    validation: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)  # (where, reason)

    def reasons(self) -> list[tuple[str, int, str]]:
        """(reason, how many, an example), the commonest first."""
        counts = Counter(reason for _, reason in self.refused)
        example = {reason: where for where, reason in reversed(self.refused)}
        return [(reason, count, example[reason]) for reason, count in counts.most_common()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Rows, which of them train (by source), and pictures to validate on."""

    rows: list[Row]
    groups: list[list[int]]
    store: PictureStore
    sets: list[ValidationSet]
    summary: DataSummary

    def texts(self, templates: Sequence[str]) -> Iterable[str]:
        """Every text training can show, to learn a vocabulary from; labels once with each template."""
        labels: set[str] = set()
        for group in self.groups:
            for number in group:
                yield from self.rows[number].captions
                if (label := self.rows[number].label) is not None:
                    labels.add(label)
        for label in sorted(labels):
            for template in templates:
                # Twice, so that the whole name can become one piece: what stands once is not merged.
                yield template.replace("{}", label)
                yield template.replace("{}", label)


def prepare_data(
    options: TrainOptions,
    preprocess: Preprocess,
    *,
    begin: Callable[[str, int], Callable[[int], None]],
    summarise: Callable[[DataSummary], None],
) -> Data:
    """Read, split and decode. `begin(label, total)` starts a progress bar and gives what moves it along.

    Raises:
        NotFoundError: a source does not exist.
        DataError: it cannot be read, or too little is left to train on; `summarise` was called before.
    """
    rows: list[Row] = []
    sources: list[list[int]] = []
    summary = DataSummary()
    for name in options.data:
        source = read_source(Path(name), image_column=options.image_column, text_column=options.text_column)
        sources.append(list(range(len(rows), len(rows) + len(source.rows))))
        rows.extend(source.rows)
        summary.refused.extend(source.refused)
    held: list[tuple[str, list[int]]] = []
    train_rows = len(rows)
    for name in options.validation:
        source = read_source(Path(name), image_column=options.image_column, text_column=options.text_column)
        held.append((Path(name).stem, list(range(len(rows), len(rows) + len(source.rows)))))
        rows.extend(source.rows)

    budget = options.cache_mb * 2**20 if options.cache_mb else available_memory() // 3
    store = PictureStore(rows, preprocess, crop_min=options.crop_min, budget=budget)
    bad = store.load(range(train_rows), begin("reading pictures", train_rows))
    summary.refused.extend((rows[number].name, f"unreadable picture ({reason})") for number, reason in bad)
    unreadable = {number for number, _ in bad}
    sources = [[number for number in source if number not in unreadable] for source in sources]

    if not held:
        held = [("validation", _hold_out(rows, sources, options))]
        out = set(held[0][1])
        sources = [[number for number in source if number not in out] for source in sources]
    sets = [_validation_set(name, numbers, rows, store, summary) for name, numbers in held]
    _count(summary, rows, sources, sets)
    summarise(summary)
    _judge(summary, rows, sources, options)
    return Data(rows=rows, groups=[source for source in sources if source], store=store, sets=sets, summary=summary)


def _hold_out(rows: Sequence[Row], sources: Sequence[Sequence[int]], options: TrainOptions) -> list[int]:
    """Rows of a few pictures, a picture's rows together, chosen by the picture alone: adding rows moves no other."""
    by_picture: dict[str, list[int]] = {}
    for source in sources:
        for number in source:
            image = rows[number].image
            key = hashlib.sha256(f"{options.seed}".encode())
            key.update(image if isinstance(image, bytes) else image.name.encode("utf-8", "surrogateescape"))
            by_picture.setdefault(key.hexdigest(), []).append(number)
    wanted = min(options.validation_limit, max(2, round(options.validation_share * len(by_picture))))
    return [number for key in sorted(by_picture)[:wanted] for number in by_picture[key]]


def _validation_set(
    name: str, numbers: Sequence[int], rows: Sequence[Row], store: PictureStore, summary: DataSummary
) -> ValidationSet:
    """Rows of one picture become one picture with all its captions."""
    by_picture: dict[Path | bytes, list[int]] = {}
    for number in numbers:
        by_picture.setdefault(rows[number].image, []).append(number)
    size = store.preprocess.image_size
    pixels, captions, labels = [np.empty((0, size, size, 3), dtype=np.uint8)], [], []
    for of_picture in by_picture.values():
        try:
            pixels.append(store.whole(of_picture[0])[None])
        except ImageError as error:
            summary.refused.append((rows[of_picture[0]].name, f"unreadable picture ({error.reason})"))
            continue
        captions.append(tuple(text for number in of_picture for text in rows[number].captions))
        labels.append(next((rows[number].label for number in of_picture if rows[number].label), None))
    return ValidationSet(name=name, pixels=np.concatenate(pixels), captions=tuple(captions), labels=tuple(labels))


def _count(
    summary: DataSummary, rows: Sequence[Row], sources: Sequence[Sequence[int]], sets: Sequence[ValidationSet]
) -> None:
    used = [rows[number] for source in sources for number in source]
    summary.training = len(used)
    summary.validation = sum(len(each.pixels) for each in sets)
    summary.pairs = summary.training + summary.validation
    summary.pictures = len({row.image for row in used}) + summary.validation
    summary.captions = len({text for row in used for text in row.captions})
    summary.labels = len({row.label for row in used if row.label})


def _judge(summary: DataSummary, rows: Sequence[Row], sources: Sequence[Sequence[int]], options: TrainOptions) -> None:
    where = ", ".join(Path(name).name for name in options.data)
    if summary.pairs < LEAST_PAIRS:
        found = f"{summary.pairs} usable pair{'' if summary.pairs == 1 else 's'}"
        raise DataError(f"{where}: {found}, and at least {LEAST_PAIRS} are needed to train and to check")
    if options.weights and not all(sources):
        raise DataError(f"{where}: a source with a weight has no usable pairs")
    texts = {
        text.casefold()
        for source in sources
        for number in source
        for text in (*rows[number].captions, rows[number].label or "")
    }
    if len(texts - {""}) < 2:
        raise DataError(f"{where}: all pictures have the same text, so there is nothing to tell apart")
    if summary.pictures - summary.validation < 2:
        raise DataError(f"{where}: all pairs show the same picture, so there is nothing to tell apart")
