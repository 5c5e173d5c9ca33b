"""From the sources to rows that can be trained on: read, split, decoded once, and a summary of what was set aside."""

from __future__ import annotations

import bisect
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clipcli.bundle.spec import Preprocess, read_spec
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.datasets.sources import Row, read_source
from clipcli.errors import DataError, ImageError
from trainer.doctor import Finding, diagnose, set_aside, small_validation
from trainer.options import TrainOptions
from trainer.pictures import PictureStore, available_memory
from trainer.validation import ValidationSet

__all__ = ["Data", "DataSummary", "prepare_data", "read_sets"]

LEAST_PAIRS = 8  # fewer cannot be split into something to learn from and something to check with
LEAST_PICTURES = 4


@dataclass(slots=True)
class DataSummary:
    """What a person should know before hours are spent."""

    pairs: int = 0  # usable ones in DATA, those that are held out among them
    pictures: int = 0
    captions: int = 0
    labels: int = 0
    training: int = 0
    validation: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)  # (where, reason)
    notes: list[str] = field(default_factory=list)  # what looks odd and is done all the same
    findings: list[Finding] = field(default_factory=list)  # every fault by a name, what was set aside among them

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
    known: bool = False,
) -> Data:
    """Read, split and decode. `begin(label, total)` starts a progress bar and gives what moves it along.

    `known` data has been examined before, when the run began: the doctor is not asked again.

    Raises:
        NotFoundError: a source does not exist.
        DataError: it cannot be read, or too little is left to train on; `summarise` was called before.
    """
    rows: list[Row] = []
    summary = DataSummary()
    sources = [numbers for _, numbers in _read(options.data, options, rows, summary)]
    train_rows = len(rows)
    held = _read(options.validation, options, rows, summary)

    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes that torchrun started on this machine
    budget = options.cache_mb * 2**20 if options.cache_mb else available_memory() // (3 * beside)
    store = PictureStore(rows, preprocess, crop_min=options.crop_min, budget=budget)
    bad = store.load(range(train_rows), begin("reading pictures", train_rows))
    summary.refused.extend((rows[number].name, f"unreadable picture ({reason})") for number, reason in bad)
    unreadable = {number for number, _ in bad}
    sources = [[number for number in source if number not in unreadable] for source in sources]
    summary.pairs = sum(map(len, sources))
    summary.pictures = len({store.digests[number] for source in sources for number in source})

    if not options.validation:
        held = [("validation", _hold_out(store, sources, options))]
        out = set(held[0][1])
        sources = [[number for number in source if number not in out] for source in sources]
    sets = [_validation_set(name, numbers, store, summary, begin) for name, numbers in held]
    _count(summary, rows, sources, sets)
    _remark(summary, rows, sources, held)
    if not known:
        _diagnose(summary, store, sources, held, options)
    summarise(summary)
    _judge(summary, rows, sources, sets, options)
    return Data(rows=rows, groups=[source for source in sources if source], store=store, sets=sets, summary=summary)


def read_sets(
    names: Sequence[str],
    options: TrainOptions,
    preprocess: Preprocess,
    *,
    begin: Callable[[str, int], Callable[[int], None]],
) -> list[ValidationSet]:
    """Sources of their own to measure on, beside those of the run. Raises NotFoundError, DataError."""
    rows: list[Row] = []
    summary = DataSummary()
    read = _read(names, options, rows, summary)
    store = PictureStore(rows, preprocess, crop_min=1.0, budget=0)
    sets = [_validation_set(name, numbers, store, summary, begin) for name, numbers in read]
    for each in sets:
        if not len(each.pixels):
            raise DataError(f"{each.name}: no usable pairs to measure on")
    return sets


def _read(
    names: Sequence[str], options: TrainOptions, rows: list[Row], summary: DataSummary
) -> list[tuple[str, list[int]]]:
    """Add the rows of each source to `rows`; (what the source is called, the numbers of its rows)."""
    read: list[tuple[str, list[int]]] = []
    for name in names:
        source = read_source(Path(name), image_column=options.image_column, text_column=options.text_column)
        called = Path(name).stem
        if called in dict(read):  # figures of two sets must not share a name
            called = f"{called}-{len(read) + 1}"
        read.append((called, list(range(len(rows), len(rows) + len(source.rows)))))
        rows.extend(source.rows)
        summary.refused.extend(source.refused)
    return read


def _hold_out(store: PictureStore, sources: Sequence[Sequence[int]], options: TrainOptions) -> list[int]:
    """Rows of a few pictures, all rows of equal files together, chosen by the picture and the seed alone.

    A picture is held out or not whatever it is called and whatever else there is, so that a model trained on more
    pairs was never shown what an earlier one was measured on. Where that leaves fewer than the least or more than
    the limit, the next ones, or the first, in the same order are taken: at most half of all.
    """
    if sum(map(len, sources)) < LEAST_PAIRS:
        return []  # too few to go on with; `_judge` says so
    by_picture: dict[str, list[int]] = {}
    for source in sources:
        for number in source:
            key = hashlib.sha256(f"{options.seed}".encode() + store.digests[number])
            by_picture.setdefault(key.hexdigest(), []).append(number)
    order = sorted(by_picture)
    drawn = bisect.bisect(order, f"{int(options.validation_share * 16**16):016x}")
    least = max(2, min(options.validation_least, len(order) // 5))
    wanted = min(options.validation_limit, max(least, drawn), len(order) // 2)
    return [number for key in order[:wanted] for number in by_picture[key]]


def _validation_set(
    name: str,
    numbers: Sequence[int],
    store: PictureStore,
    summary: DataSummary,
    begin: Callable[[str, int], Callable[[int], None]],
) -> ValidationSet:
    """Rows of one picture become one picture with all its captions."""
    rows = store.rows
    by_picture: dict[Path | bytes, list[int]] = {}
    for number in numbers:
        by_picture.setdefault(rows[number].image, []).append(number)
    firsts = [of_picture[0] for of_picture in by_picture.values()]
    size = store.preprocess.image_size
    pixels = np.empty((len(firsts), size, size, 3), dtype=np.uint8)
    captions: list[tuple[str, ...]] = []
    labels: list[str | None] = []
    advance = begin(f"reading {name}", len(firsts))
    for of_picture, found in zip(by_picture.values(), store.wholes(firsts, advance), strict=True):
        if isinstance(found, ImageError):
            where, reason = rows[of_picture[0]].name, f"unreadable picture ({found.reason})"
            summary.refused.extend([(where, reason)] * len(of_picture))
            continue
        pixels[len(captions)] = found
        captions.append(tuple(text for number in of_picture for text in rows[number].captions))
        labels.append(next((rows[number].label for number in of_picture if rows[number].label), None))
    return ValidationSet(name=name, pixels=pixels[: len(captions)], captions=tuple(captions), labels=tuple(labels))


def _count(
    summary: DataSummary, rows: Sequence[Row], sources: Sequence[Sequence[int]], sets: Sequence[ValidationSet]
) -> None:
    used = [rows[number] for source in sources for number in source]
    summary.training = len(used)
    summary.validation = sum(len(each.pixels) for each in sets)
    summary.captions = len({text for row in used for text in row.captions})
    summary.labels = len({row.label for row in used if row.label})


def _remark(
    summary: DataSummary,
    rows: Sequence[Row],
    sources: Sequence[Sequence[int]],
    held: Sequence[tuple[str, Sequence[int]]],
) -> None:
    """What would be a pity to find out at the end."""
    used = [rows[number] for source in sources for number in source]
    labels = {row.label for row in used if row.label}
    if labels and all(label.isdigit() for label in labels):
        summary.notes.append(
            f"the labels are numbers, as {min(labels)}: where they stand for names, "
            "name a column that holds those with --text-column"
        )
    both = {row.image for row in used}.intersection(rows[number].image for _, numbers in held for number in numbers)
    if both:
        verb = "is" if len(both) == 1 else "are"
        summary.notes.append(
            f"{len(both):,} of the pictures to check with {verb} also trained on: the figures will flatter the model"
        )


def _diagnose(
    summary: DataSummary,
    store: PictureStore,
    sources: Sequence[Sequence[int]],
    held: Sequence[tuple[str, Sequence[int]]],
    options: TrainOptions,
) -> None:
    used = [number for source in sources for number in source]
    others = [number for _, numbers in held for number in numbers]
    words = Tokenizer.of(Path(options.start), read_spec(Path(options.start))) if options.start is not None else None
    summary.findings = [
        *set_aside(summary.refused),
        *diagnose(
            store.rows,
            used,
            others,
            store.digests | store.contents(others),
            options,
            lengths=words.full_lengths if words is not None else None,
            context=words.context_length if words is not None else 0,
        ),
        *small_validation(summary.validation),
    ]


def _judge(
    summary: DataSummary,
    rows: Sequence[Row],
    sources: Sequence[Sequence[int]],
    sets: Sequence[ValidationSet],
    options: TrainOptions,
) -> None:
    where = ", ".join(Path(name).name for name in options.data)
    if summary.pairs < LEAST_PAIRS:
        found = f"{summary.pairs} usable pair{'' if summary.pairs == 1 else 's'}"
        raise DataError(f"{where}: {found}, and at least {LEAST_PAIRS} are needed to train and to check")
    if options.weights and not all(sources):
        raise DataError(f"{where}: a source with a weight has no usable pairs")
    if summary.pictures == 1:
        raise DataError(f"{where}: all pairs show the same picture, so there is nothing to tell apart")
    if summary.pictures < LEAST_PICTURES:
        raise DataError(
            f"{where}: {summary.pictures} different pictures, "
            f"and at least {LEAST_PICTURES} are needed to train and to check"
        )
    texts = {
        text.casefold()
        for source in sources
        for number in source
        for text in (*rows[number].captions, rows[number].label or "")
    }
    if len(texts - {""}) < 2:
        raise DataError(f"{where}: all pictures have the same text, so there is nothing to tell apart")
    for each in sets:
        if not len(each.pixels):
            raise DataError(f"{each.name}: no usable pairs to check with")
