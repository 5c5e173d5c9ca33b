"""The bar that moves, drawn by rich; imported only where stderr is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from clipcli.render.lines import worded
from clipcli.render.text import printable


class RateAndTimeLeft(ProgressColumn):
    """`148 photos/s, 0:02:10 left`, once there is something to go by."""

    def __init__(self, unit: str, *, rate: bool = True) -> None:
        super().__init__(table_column=Column(no_wrap=True))  # the bar gives way, not the words
        self.unit, self.rate = unit, rate

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        rate = f"{speed:,.0f}" if speed >= 10 else f"{speed:.1f}"
        parts = [f"{rate} {self.unit}/s" if self.unit else f"{rate}/s"] if self.rate else []
        if task.time_remaining is not None and not task.finished:
            parts.append(f"{timedelta(seconds=round(task.time_remaining))} left")
        return Text(", ".join(parts), style="cyan")


class CountOfTotal(MofNCompleteColumn):
    """`12/40`; nothing where nothing is counted."""

    def render(self, task: Task) -> Text:
        return Text("") if task.total is None and not task.completed else super().render(task)


class LiveBar:
    """`clipcli.render.progress.Bar` over one task of a rich display."""

    def __init__(self, display: Progress, task: TaskID) -> None:
        self._display = display
        self._task = task

    def advance(self, count: int = 1) -> None:
        self._display.advance(self._task, count)

    def set_total(self, total: int | None) -> None:
        self._display.update(self._task, total=total)

    def describe(self, label: str) -> None:
        self._display.update(self._task, description=printable(label))

    def write_above(self, line: str) -> None:
        self._display.console.print(Text(worded(line, self._display.console.width)), soft_wrap=True)


@contextmanager
def live_bar(label: str, *, total: int | None, unit: str, rate: bool = True) -> Iterator[LiveBar]:
    """A bar on stderr that disappears at the end."""
    display = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        CountOfTotal(),
        RateAndTimeLeft(unit, rate=rate),
        console=Console(stderr=True, highlight=False),
        transient=True,
        expand=True,
    )
    with display:
        yield LiveBar(display, display.add_task(label, total=total))
