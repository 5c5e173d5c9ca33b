"""What share each source has in a step, and what of the data says which rows belong into one batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from clipcli.datasets.rows import Row, Stored
from clipcli.errors import DataError
from trainer.defaults import settle
from trainer.doctor import Finding
from trainer.options import TrainOptions
from trainer.row_plan import RowPlan

__all__ = ["check_shares", "group_of", "grouping", "row_plan", "shares"]


def row_plan(rows: Sequence[Row], sources: Sequence[Sequence[int]], options: TrainOptions) -> RowPlan:
    """Which rows each step has, for options that leave nothing open. Raises DataError as `RowPlan`."""
    return RowPlan(
        sources,
        options.weights,
        min(options.batch_size, sum(map(len, sources))),
        options.seed,
        together=[group_of(row) for row in rows] if options.group else (),
        shelves=[row.image.path if isinstance(row.image, Stored) else None for row in rows],
        buffer=options.shuffle_buffer,
    )


def group_of(row: Row) -> Hashable:
    """What `--group` names: the first of the further columns. None for an empty cell."""
    value = row.further[0] if row.further else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of numbers with gaps
    text = "" if value is None else str(value).strip()
    return text or None


def grouping(rows: Sequence[Row], used: Sequence[int], column: str) -> tuple[str, bool]:
    """A line on how many rows have company, and whether that is any use."""
    counts = Counter(key for number in used if (key := group_of(rows[number])) is not None)
    if not counts:
        return f"no row has anything in a column {column!r} (--group)", False
    several = [count for count in counts.values() if count > 1]
    if not several:
        return f"each row has a {column!r} of its own, so that --group brings none together", False
    alone = len(used) - sum(several)
    tail = f"; {alone:,} rows are alone" if alone else ""
    return f"{len(several):,} groups by {column!r}, half of them of {np.median(several):g} rows or more{tail}", True


def shares(
    names: Sequence[str], sources: Sequence[Sequence[int]], options: TrainOptions, *, pairs: int
) -> list[Finding]:
    """What each of several sources has in a step; nothing is wrong with that, and a person wants to see it."""
    if len(sources) < 2 or not all(sources):
        return []
    settled = settle(options, pairs) if options.by_pairs else options
    plan = RowPlan(sources, settled.weights, min(settled.batch_size, pairs), settled.seed)
    found = []
    for name, source, count in zip(names, sources, plan.counts, strict=True):
        times = count * plan.steps_per_epoch / len(source)
        what = f"of {plan.batch_size:,} pairs a step ({100 * count / plan.batch_size:.0f} %) come from {name}"
        then = f"each of its {len(source):,} is seen {times:.2g} times an epoch"
        found.append(Finding(name="source", count=count, what=what, then=then))
    return found


def check_shares(found: Sequence[Finding], names: Sequence[str]) -> None:
    """Raise DataError where one of `shares` is nothing."""
    for finding, name in zip(found, names, strict=False):
        if not finding.count:
            raise DataError(
                f"{name} gets no place among the pairs of a step: give it a larger weight, "
                "as in DATA@2, or a larger --batch-size"
            )
