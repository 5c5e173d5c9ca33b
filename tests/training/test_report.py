"""What a person sees of a run on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from clipcli.render import training
from clipcli.render.training import TrainingReport
from trainer.data import DataSummary
from trainer.pace import Progress


class Bars:
    """Stands in for the bars of a terminal: `shown` is [label, total, done, open] of each."""

    def __init__(self) -> None:
        self.shown: list[list[Any]] = []

    @contextmanager
    def __call__(self, label: str, *, total: int, unit: str = "", rate: bool = True) -> Iterator[Bars]:
        assert all(not bar[3] for bar in self.shown)  # one at a time
        assert unit if rate else not unit
        self.shown.append([label, total, 0, True])
        yield self
        self.shown[-1][3] = False

    def advance(self, count: int = 1) -> None:
        self.shown[-1][2] += count

    def set_total(self, total: int | None) -> None:
        raise AssertionError("totals are known")

    def describe(self, label: str) -> None:
        self.shown[-1][0] = label


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> Bars:
    made = Bars()
    monkeypatch.setattr(training, "progress_bar", made)
    return made


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    summary = DataSummary(training=1200, captions=30, labels=1, validation=1, notes=["something is odd"])
    summary.refused = [("a", "missing file"), ("b", "empty caption"), ("c", "empty caption")]
    with TrainingReport() as report:
        report.summary(summary)
        report.summary(DataSummary(training=1, validation=0))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "1,200 pairs to train on with 30 captions and 1 label, 1 picture to check with",
        "  set aside: 2 × empty caption, as b",
        "  set aside: 1 × missing file, as a",
        "  note: something is odd",
        "1 pair to train on, 0 pictures to check with",
    ]


def after(loss: float) -> Progress:
    return Progress(
        loss=loss, images_per_s=1234.0, logit_scale=14.28, learning_rate=5e-5, gradient_norm=1.23, seconds_left=9.0
    )


def test_bars(bars: Bars) -> None:
    with TrainingReport() as report:
        report.begin("reading pictures", 30)(20)
        report.begin("reading dev", 10)(10)
        report.step(41, 60, after(2.5))  # a run that goes on from step 40
        report.step(42, 60, after(2.25))
        assert bars.shown[-1][3]
    assert bars.shown == [
        ["reading pictures", 30, 20, False],
        ["reading dev", 10, 10, False],
        ["loss 2.250, scale 14.3, lr 5.0e-05, grad 1.2, 1,234/s", 60, 42, False],
    ]


def test_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    recalls = {f"dev/{way}@{k}": k / 20 for way in ("text_to_image", "image_to_text") for k in (1, 5, 10)}
    with TrainingReport() as report:
        report.epoch({"epoch": 0, "step": 0, **recalls})
        report.epoch({"epoch": 3, "loss": 1.5, **recalls, "birds/top1": 0.125, "birds/top5": 1.0})
        report.epoch({"epoch": 4, "loss": 1.25})
    both = "R@1/5/10 text→image 5.0/25.0/50.0 %, image→text 5.0/25.0/50.0 %"
    assert capsys.readouterr().err.splitlines() == [
        "epoch 0, before training",
        f"  dev: {both}",
        "epoch 3, loss 1.500",
        f"  dev: {both}",
        "  birds: top-1 12.5 %",
        "epoch 4, loss 1.250",
    ]
