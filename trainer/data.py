"""From the sources to rows that can be trained on: read, split, decoded once, and a summary of what was set aside."""

from __future__ import annotations

import bisect
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipcli.bundle.spec import Preprocess
from clipcli.datasets.rows import Row, Stored
from clipcli.datasets.sources import read_source
from clipcli.errors import DataError, ImageError
from trainer.architectures import architecture
from trainer.beginning import tokenizer_of
from trainer.doctor import Finding, diagnose, set_aside, small_validation
from trainer.judging import LEAST_PAIRS, DataSummary, count, judge, remark
from trainer.mixing import check_shares, grouping, shares
from trainer.options import TrainOptions
from trainer.pictures import PictureStore, available_memory
from trainer.soft_labels import SoftLabels, read_soft_labels
from trainer.split import Split
from trainer.teacher import teacher_side
from trainer.validation import ValidationSet
from trainer.vocabulary import lengths_when_learnt

__all__ = ["Data", "DataSummary", "prepare_data", "read_sets"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Rows, which of them train (by source), and pictures to validate on."""

    rows: list[Row]
    groups: list[list[int]]
    store: PictureStore
    sets: list[ValidationSet]
    split: Split
    summary: DataSummary
    soft: SoftLabels | None = None

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
    split: Split | None = None,
) -> Data:
    """Read, split and decode. `begin(label, total)` starts a progress bar and gives what moves it along.

    `known` data has been examined before, when the run began: the doctor is not asked again, and rows are for what
    `split` says, where it was made for the same rows: a picture that has become unreadable since changes no other's.

    Raises:
        NotFoundError: a source does not exist.
        DataError: it cannot be read, or soft labels cannot, or too little is left to train on; `summarise` was called
            before, unless it cannot be read at all.
    """
    rows: list[Row] = []
    summary = DataSummary()
    columns = [column for column in (options.group, options.soft_labels) if column is not None]
    read = _read(options.data, options, rows, summary, columns)
    names, sources = [name for name, _ in read], [numbers for _, numbers in read]
    if not known:
        _read(options.keep, options, [], DataSummary())  # what is only needed at the end is better missed now
    train_rows = len(rows)
    held = _read(options.validation, options, rows, summary)

    side = teacher_side(options)
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes that torchrun started on this machine
    budget = options.cache_mb * 2**20 if options.cache_mb else available_memory() // (3 * beside)
    store = PictureStore(rows, preprocess, crop_min=options.crop_min, budget=budget, side=side)
    bad = store.load(range(train_rows), begin("reading pictures", train_rows))
    summary.refused.extend((rows[number].name, f"unreadable picture ({reason})") for number, reason in bad)
    usable = [[number for number in source if number not in store.unreadable] for source in sources]
    summary.pairs = sum(map(len, usable))
    summary.pictures = len({store.digests[number] for source in usable for number in source})

    if split is not None and split.fits(rows[:train_rows]):
        out = split.held()
        sources = [[number for number in source if split.trains(number)] for source in sources]
    else:
        out = [] if options.validation else _hold_out(store, usable, options)
        apart = set(out)
        sources = [[number for number in source if number not in apart] for source in usable]
        split = Split.made(rows[:train_rows], (number for source in sources for number in source), out)
    if not options.validation:
        held = [("validation", out)]
    sets = [_validation_set(name, numbers, store, summary, begin) for name, numbers in held]
    count(summary, rows, sources, sets)
    remark(summary, rows, sources, held)
    if not known:
        _diagnose(summary, store, sources, held, options)
    mixed = [] if known else shares(names, sources, options, pairs=summary.training)
    summary.findings += mixed
    soft, complaint = _soft_labels(rows, sources, options)
    if complaint is not None and not known:
        what = f"fault in the column {options.soft_labels!r}, and perhaps more"
        found = Finding(name="soft labels", count=1, what=what, then="no run begins", examples=(str(complaint),))
        summary.findings.append(found)
    useful = True
    if options.group is not None:
        line, useful = grouping(rows, [number for source in sources for number in source], options.group)
        if useful:
            summary.notes.append(line)
    summarise(summary)
    judge(summary, rows, sources, sets, options, unreadable=len(bad), of=train_rows)
    check_shares(mixed, names)
    if not useful:
        raise DataError(line)
    if complaint is not None:
        raise complaint
    groups = [source for source in sources if source]
    return Data(rows=rows, groups=groups, store=store, sets=sets, split=split, summary=summary, soft=soft)


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
    names: Sequence[str],
    options: TrainOptions,
    rows: list[Row],
    summary: DataSummary,
    further: Sequence[str] = (),
) -> list[tuple[str, list[int]]]:
    """Add the rows of each source to `rows`; (what the source is called, the numbers of its rows)."""
    read: list[tuple[str, list[int]]] = []
    for name in names:
        source = read_source(
            Path(name), image_column=options.image_column, text_column=options.text_column, further=further
        )
        called = Path(name).stem
        if called in dict(read):  # figures of two sets must not share a name
            called = f"{called}-{len(read) + 1}"
        read.append((called, list(range(len(rows), len(rows) + len(source.rows)))))
        rows.extend(source.rows)
        summary.refused.extend(source.refused)
    return read


def _soft_labels(
    rows: Sequence[Row], sources: Sequence[Sequence[int]], options: TrainOptions
) -> tuple[SoftLabels | None, DataError | None]:
    """Those of the rows that are trained on, or what is wrong with them; neither where none are asked for."""
    if options.soft_labels is None:
        return None, None
    used = [number for source in sources for number in source]
    try:
        return read_soft_labels(rows, used, int(options.group is not None), options.soft_labels), None
    except DataError as error:
        return None, error


def _hold_out(store: PictureStore, sources: Sequence[Sequence[int]], options: TrainOptions) -> list[int]:
    """Rows of a few pictures, all rows of equal files together, chosen by the picture and the seed alone.

    A picture is held out or not whatever it is called and whatever else there is, so that a model trained on more
    pairs was never shown what an earlier one was measured on. Where that leaves fewer than the least or more than
    the limit, the next ones, or the first, in the same order are taken: at most half of all.
    """
    if sum(map(len, sources)) < LEAST_PAIRS:
        return []  # too few to go on with; `judge` says so
    by_picture: dict[str, list[int]] = {}
    for source in sources:
        for number in source:
            key = hashlib.sha256(f"{options.seed}".encode() + store.digests[number])
            by_picture.setdefault(key.hexdigest(), []).append(number)
    order = sorted(by_picture)
    drawn = bisect.bisect(order, f"{int(options.validation_share * 16**16):016x}")
    least = max(2, min(options.validation_least, len(order) // 5))
    wanted = min(options.validation_limit, max(least, drawn), len(order) // 2)
    # In the order that a resumed run reads them in, so that means over them have the same bits.
    return sorted(number for key in order[:wanted] for number in by_picture[key])


def _validation_set(
    name: str,
    numbers: Sequence[int],
    store: PictureStore,
    summary: DataSummary,
    begin: Callable[[str, int], Callable[[int], None]],
) -> ValidationSet:
    """Rows of one picture become one picture with all its captions."""
    rows = store.rows
    by_picture: dict[Path | bytes | Stored, list[int]] = {}
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


def _diagnose(
    summary: DataSummary,
    store: PictureStore,
    sources: Sequence[Sequence[int]],
    held: Sequence[tuple[str, Sequence[int]]],
    options: TrainOptions,
) -> None:
    used = [number for source in sources for number in source]
    others = [number for _, numbers in held for number in numbers]
    lengths: Callable[[Sequence[str]], list[int]] | None
    if options.start is not None:
        words = tokenizer_of(Path(options.start))
        lengths, context = words.full_lengths, words.context_length
    else:
        texts = [text for number in used for text in store.rows[number].captions]
        lengths = lengths_when_learnt(texts, max_size=options.max_vocabulary)
        context = architecture(options.arch or "").text.context_length
    summary.findings = [
        *set_aside(summary.refused),
        *diagnose(
            store.rows,
            used,
            others,
            store.digests | store.contents(others),
            options,
            lengths=lengths,
            context=context,
        ),
        *small_validation(summary.validation),
    ]
