"""Runs that learn to predict words: measured zero-shot, kept with what predicts, installed nowhere, able to write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipcli.errors import UsageError
from export.source import open_source
from tests.training import tiny
from trainer.loop import Interrupted
from trainer.predicting import CaptionWriter
from trainer.run import resume, train

HELD = 80  # pictures, 20 of each of four colours
# By luck a quarter is right, with a standard deviation of sqrt(0.1875 / HELD): four of them above that is no luck.
MORE_THAN_LUCK = 0.25 + 4 * (0.1875 / HELD) ** 0.5


@pytest.mark.parametrize("objective", ["bag-of-words", "caption"])
def test_a_run_learns_classes_and_leaves_no_bundle(tmp_path: Path, objective: str) -> None:
    data, held = tiny.write_classes(tmp_path / "data", per_class=44), tmp_path / "held"
    for folder in sorted(data.iterdir()):
        (held / folder.name).mkdir(parents=True)
        for number in range(24, 44):
            (folder / f"{number}.png").rename(held / folder.name / f"{number}.png")
    run, told = tmp_path / "run", tiny.Told()
    chosen = tiny.options(data, objective=objective, epochs=20.0, lr=5e-3, validation=(str(held),))
    assert train(chosen, run, told).bundle is None
    assert told.epochs[-1]["held/top1"] > MORE_THAN_LUCK
    with pytest.raises(UsageError, match="no text tower"):
        open_source(run)


def test_captions_are_written_from_the_run_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(tiny.options(tiny.write_pairs(tmp_path), objective="caption", epochs=2.0), run, tiny.Told())
    writer = CaptionWriter(run)
    written = writer(np.zeros((2, 3, tiny.SIDE, tiny.SIDE), dtype=np.float32))
    assert len(written) == 2
    assert written[0] == written[1]


@pytest.mark.parametrize("objective", ["bag-of-words", "caption"])
def test_a_stopped_run_goes_on_to_the_same_end(tmp_path: Path, objective: str) -> None:
    data = tiny.write_pairs(tmp_path)
    through, stopped = tmp_path / "through", tmp_path / "stopped"
    chosen = tiny.options(data, objective=objective)
    train(chosen, through, tiny.Told())
    with pytest.raises(Interrupted):
        train(chosen, stopped, tiny.stop_at(2))
    resume(stopped, tiny.Told())
    one, other = tiny.state(through), tiny.state(stopped)
    assert tiny.equal(one["extra"], other["extra"])
    assert one["best"] == other["best"] > 0


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="caption"):
        tiny.options(tmp_path, objective="caption", label_loss=1.0)
    with pytest.raises(UsageError, match="objective"):
        tiny.options(tmp_path, objective="guess")
