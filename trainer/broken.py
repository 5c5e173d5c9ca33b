"""Pictures that were readable when a run began and are so no more: another row stands in for each, and all are named.

Which rows are broken is part of a run's state, agreed on by all processes before a step is taken, and what stands in
for them follows from the seed and the step: a resumed run goes on as it would have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipcli.errors import DataError
from trainer.checkpoints import write_atomically
from trainer.processes import Processes
from trainer.sampling import Batch, BatchMaker

__all__ = ["SKIPPED", "Broken", "too_many", "write_skipped"]

SKIPPED = "skipped.jsonl"
TOLD = 5  # by name, on the screen; the file has all

Found = tuple[int, str, int]  # row, reason, step at which it was found, counted from 1


class Broken:
    """What broke in mid-run, for one `BatchMaker`."""

    def __init__(
        self, maker: BatchMaker, processes: Processes, *, share: float, run: Path, say: Callable[[str], None]
    ) -> None:
        self.maker, self.processes, self.share, self.folder, self.say = maker, processes, share, run, say
        self.found: list[Found] = []

    def settled(self, batch: Batch, step: int) -> Batch:
        """`batch` of the step `step`, made again without what is broken where need be; the same rows in every process.

        Raises:
            DataError: more is broken than the run allows.
        """
        while True:
            known = self.maker.without
            stale = batch.without is not known and not np.array_equal(batch.numbers, self.maker.plan(step, known))
            (again,) = self.processes.highest(int(stale or bool(batch.broken)))
            if not again:
                return batch
            self._add(self.processes.all_of(batch.broken), step + 1)
            batch = self.maker.make(step)

    def _add(self, broken: Iterable[tuple[int, str]], step: int) -> None:
        before = len(self.found)
        for number, reason in sorted(broken):
            if number not in self.maker.without:
                self.maker.without |= {number}
                self.found.append((number, reason, step))
                name = self.maker.rows[number].name
                if len(self.found) <= TOLD:
                    self.say(f"{name} cannot be read any more ({reason}): another stands in for it from step {step:,}")
                elif len(self.found) == TOLD + 1:
                    self.say(f"more pictures cannot be read any more; {self.folder / SKIPPED} names them")
        if len(self.found) > before:
            self._write()
            self._judge(step)

    def _judge(self, step: int) -> None:
        store = self.maker.store
        bad = len(store.unreadable | self.maker.without)
        if complaint := too_many(bad, store.asked, self.share):
            number, reason, _ = self.found[-1]
            raise DataError(
                f"step {step:,}: {complaint}; the last one is {self.maker.rows[number].name} ({reason}). "
                f"Mend them, or allow more by --max-broken, and go on with: clip train --resume {self.folder}"
            )

    def _write(self) -> None:
        if self.processes.lead:
            late = [(self.maker.rows[number].name, reason, step) for number, reason, step in self.found]
            write_skipped(self.folder, None, late)

    def state(self) -> list[Found]:
        return list(self.found)

    def restore(self, found: Sequence[Any]) -> None:
        """The inverse of `state`; rows that are there no more are left out."""
        self.found = [(int(row), str(reason), int(step)) for row, reason, step in found if row < len(self.maker.rows)]
        self.maker.without = frozenset(row for row, _, _ in self.found)
        if self.found:
            self._write()

    def remark(self) -> None:
        """At the end of a run."""
        if self.found:
            many = f"{len(self.found):,} pictures" if len(self.found) > 1 else "1 picture"
            self.say(f"{many} broke in mid-run, and others stood in; {self.folder / SKIPPED} has the names")


def too_many(bad: int, of: int, share: float) -> str:
    """What is wrong where more than `share` of the pairs have a broken picture; else nothing."""
    if not bad or bad <= share * of:
        return ""
    return f"{bad:,} of {of:,} pairs have a picture that cannot be read, more than --max-broken {share:g} allows"


def write_skipped(run: Path, refused: Sequence[tuple[str, str]] | None, late: Sequence[tuple[str, str, int]]) -> None:
    """`skipped.jsonl`: a line for each row that was set aside when the run began, or broke at a step.

    Where `refused` is None, those from the beginning stay as they stand in the file.
    """
    path = run / SKIPPED
    lines: list[dict[str, str | int]] = [{"name": name, "reason": reason} for name, reason in refused or ()]
    if refused is None and path.exists():
        lines = [line for text in path.read_text("utf-8").splitlines() if "step" not in (line := json.loads(text))]
    lines += [{"name": name, "reason": reason, "step": step} for name, reason, step in late]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    write_atomically(path, lambda handle: handle.write(content))
