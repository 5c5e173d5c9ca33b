"""What a person sees of a training run: a summary of the data, a bar, a line per epoch. All of it on stderr."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol

from clipcli.render.notes import counted, say
from clipcli.render.progress import Bar, progress_bar
from clipcli.render.text import percent

LONGEST_NAME = 16  # of a column of the walk
WAYS = (("text_to_image", "text→image"), ("image_to_text", "image→text"))


class Fault(Protocol):
    """A fault of the data: `trainer.doctor.Finding`."""

    @property
    def name(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def what(self) -> str: ...
    @property
    def then(self) -> str: ...
    @property
    def examples(self) -> tuple[str, ...]: ...


class Summary(Protocol):
    """What is told of the data: `trainer.data.DataSummary`, which this package does not import."""

    pairs: int
    pictures: int
    captions: int
    labels: int
    training: int
    validation: int
    notes: list[str]

    @property
    def findings(self) -> Sequence[Fault]: ...

    def reasons(self) -> list[tuple[str, int, str]]: ...


class Progress(Protocol):
    """What is told of a step: `trainer.pace.Progress`."""

    @property
    def loss(self) -> float: ...
    @property
    def images_per_s(self) -> float: ...
    @property
    def logit_scale(self) -> float: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def gradient_norm(self) -> float: ...


class TrainingReport:
    """One bar at a time; each `begin` puts away the one before."""

    def __init__(self) -> None:
        self._bars = ExitStack()
        self._bar: Bar | None = None
        self._done = 0
        self._training = False
        self.summarised: Summary | None = None  # what was told of the data

    def __enter__(self) -> TrainingReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.close()

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        """Show a bar for something that is counted up to `total`."""
        self._bars.close()
        bar = self._bars.enter_context(progress_bar(label, total=total, unit="pictures"))
        self._bar = bar
        return bar.advance

    def say(self, line: str) -> None:
        say(line)

    def summary(self, summary: Summary) -> None:
        """What there is to train on, and what was set aside, with an example of each reason."""
        self._bars.close()
        self.summarised = summary
        texts = [
            counted(number, one) for number, one in ((summary.captions, "caption"), (summary.labels, "label")) if number
        ]
        said = f" with {' and '.join(texts)}" if texts else ""
        say(
            f"{counted(summary.training, 'pair')} to train on{said}, "
            f"{counted(summary.validation, 'picture')} to check with"
        )
        for reason, count, example in summary.reasons():
            say(f"  set aside: {count:,} × {reason}, as {example}")
        for note in summary.notes:
            say(f"  note: {note}")
        told = {reason.split(" (")[0] for reason, _, _ in summary.reasons()} | {"small validation"}  # said elsewhere
        for fault in summary.findings:
            if fault.name not in told:
                example = f", as {fault.examples[0]}" if fault.examples else ""
                if fault.name == "source":  # nothing is wrong with that
                    say(f"  {fault.count:,} {fault.what}; {fault.then}")
                    continue
                say(f"  warning: {fault.name}: {fault.count:,} {fault.what}{example}; {fault.then}")

    def step(self, done: int, total: int, now: Progress) -> None:
        """Move the bar to step `done`."""
        if not self._training:
            self._bars.close()
            self._bar = self._bars.enter_context(progress_bar("training", total=total, rate=False))
            self._training = True
        if self._bar is not None:
            self._bar.describe(
                f"loss {now.loss:.3f}, scale {now.logit_scale:.1f}, lr {now.learning_rate:.1e}, "
                f"grad {now.gradient_norm:.2g}, {now.images_per_s:,.0f}/s"
            )
            self._bar.advance(done - self._done)
        self._done = done

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """A line for the epoch, and one for each set of validation pictures; both fit 80 columns."""
        head = f"epoch {metrics['epoch']}" + (
            f", loss {metrics['loss']:.3f}" if "loss" in metrics else ", before training"
        )
        say(head)
        names = list(dict.fromkeys(name.split("/")[0] for name in metrics if "/" in name))
        for name in names:
            found = {key.split("/", 1)[1]: float(value) for key, value in metrics.items() if key.startswith(f"{name}/")}
            recalls = [_recalls(found, way, shown) for way, shown in WAYS if f"{way}@10" in found]
            told = [f"R@1/5/10 {', '.join(recalls)}"] if recalls else []
            if "top1" in found:
                told.append(f"top-1 {percent(found['top1'])}")
            say(f"  {name}: {'; '.join(told)}")

    def walked(self, rows: Sequence[Mapping[str, Any]], chosen: float) -> None:
        """The way from the fine-tuned weights back to the start, a line each; the one that is kept is marked."""
        self._bars.close()
        kept = list(dict.fromkeys(name for row in rows for name in row["kept"]))
        words = any(row["as_before"] is not None for row in rows)
        heads = ["anchor", "held out", *(_short(name) for name in kept), *(["as before"] if words else [])]
        say("anchor 0 is the model as trained, 1 the one it began with, between them a mix")
        say("  held out: how good each is on the pictures held out")
        if kept:
            say("  other columns: how good it is on what --keep names")
        if words:
            say("  as before: how much of its answers about other things is the same as before")
        table = [heads]
        for row in rows:
            cells = [f"{row['anchor']:g}", _share(row["score"]), *(_share(row["kept"].get(name)) for name in kept)]
            table.append(cells + ([_share(row["as_before"])] if words else []))
        widths = [max(map(len, column)) + 2 for column in zip(*table, strict=True)]
        marks = ["", *("  <- kept" if row["anchor"] == chosen else "" for row in rows)]
        for cells, mark in zip(table, marks, strict=True):
            say("".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)) + mark)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1].rstrip()}…"


def _share(value: float | None) -> str:
    return "" if value is None else percent(value)


def _recalls(found: Mapping[str, float], way: str, shown: str) -> str:
    values = "/".join(f"{100 * found[f'{way}@{k}']:.1f}" for k in (1, 5, 10))
    return f"{shown} {values} %"
