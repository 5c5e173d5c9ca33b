"""What is told of the data before a step is taken, and whether anything can be learnt from it at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clipcli.datasets.sources import Row
from clipcli.errors import DataError
from trainer.broken import too_many
from trainer.doctor import Finding
from trainer.options import TrainOptions
from trainer.validation import ValidationSet

__all__ = ["LEAST_PAIRS", "DataSummary", "count", "judge", "remark"]

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


def count(
    summary: DataSummary, rows: Sequence[Row], sources: Sequence[Sequence[int]], sets: Sequence[ValidationSet]
) -> None:
    used = [rows[number] for source in sources for number in source]
    summary.training = len(used)
    summary.validation = sum(len(each.pixels) for each in sets)
    summary.captions = len({text for row in used for text in row.captions})
    summary.labels = len({row.label for row in used if row.label})


def remark(
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


def judge(
    summary: DataSummary,
    rows: Sequence[Row],
    sources: Sequence[Sequence[int]],
    sets: Sequence[ValidationSet],
    options: TrainOptions,
    *,
    unreadable: int,
    of: int,
) -> None:
    """Raise DataError where nothing sensible can be learnt; `unreadable` of the `of` pairs have a broken picture."""
    where = ", ".join(Path(name).name for name in options.data)
    if summary.pairs < LEAST_PAIRS:
        found = f"{summary.pairs} usable pair{'' if summary.pairs == 1 else 's'}"
        raise DataError(f"{where}: {found}, and at least {LEAST_PAIRS} are needed to train and to check")
    if complaint := too_many(unreadable, of, options.max_broken):
        raise DataError(f"{where}: {complaint}; mend them or leave them out, or give a larger --max-broken")
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
