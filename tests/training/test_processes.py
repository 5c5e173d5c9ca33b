"""A run of two processes: the run of one, stopped by a signal to any of them, resumed by another number of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.tiny import Told, options, state, write_pairs
from trainer import data as reading
from trainer.checkpoints import read_step_metrics
from trainer.pictures import PictureStore
from trainer.run import resume, train

MEMBER = """
import os, signal, sys
from pathlib import Path
import torch
from clipcli.errors import ClipError, DataError
from tests.training.tiny import VIT, Told, options
from trainer import architectures, data, loop, run as runs
from trainer.stopping import Interrupted

torch.set_num_threads(1)
architectures.ARCHITECTURES[VIT.name] = VIT
what, pairs, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
if os.environ["RANK"] == "1":
    sys.stdout = open(os.devnull, "w")
    before, read = loop.Fit._step, runs.prepare_data
    victim = pairs.parent / "pictures" / "007.png"

    def step(self, batch):
        before(self, batch)
        if what == "stop" and self.step_number == 4:
            signal.raise_signal(signal.SIGTERM)

    def broken(*given, **named):
        if what == "broken":
            raise DataError("this disk has gone")
        found = read(*given, **named)
        if what == "vanish":
            victim.unlink()
        return found

    loop.Fit._step, runs.prepare_data = step, broken
if what == "vanish":
    data.available_memory = lambda: 0  # nothing is kept
told = Told()
chosen = options(pairs, arch="tiny-vit", log_every_steps=1, shard_optimiser=True, ema_decay=0.5, group="scene")
try:
    runs.train(chosen, folder, told)
except Interrupted as stop:
    print("stopped at", stop.step, "by", stop.signum)
except ClipError as error:
    print(type(error).__name__, error)
print("said", len(told.lines), "steps", len(told.losses))
"""


def together(what: str, pairs: Path, run: Path) -> list[str]:
    """What the first printed."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python",
         sys.executable, "-c", MEMBER, what, str(pairs), str(run)],
        capture_output=True, text=True, timeout=240, check=False, cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def test_only_the_first_of_the_processes_speaks(tmp_path: Path) -> None:
    """The command ends each of them with the same code."""
    for rank, said in (("0", 1), ("1", 0)):
        done = subprocess.run(
            [sys.executable, "-m", "clipcli", "train", str(tmp_path / "none.csv"), "--scratch"],
            capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
            env={**os.environ, "RANK": rank, "CLIP_MODELS": str(tmp_path / "models")},
        )  # fmt: skip
        assert (done.returncode, len(done.stderr.splitlines())) == (4, said)


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_step_metrics(run)]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """24 pairs, in scenes of three that go into the same batch."""
    made = write_pairs(tmp_path)
    head, *lines = made.read_text("utf-8").splitlines()
    scenes = [f"{line},{number // 3}" for number, line in enumerate(lines)]
    made.write_text("\n".join([f"{head},scene", *scenes]) + "\n", "utf-8")
    return made


@pytest.fixture
def alone(tmp_path: Path, pairs: Path) -> Path:
    """The same run by one process."""
    chosen = options(pairs, arch="tiny-vit", log_every_steps=1, ema_decay=0.5, group="scene")
    train(chosen, tmp_path / "alone", Told())
    return tmp_path / "alone"


def test_a_signal_to_one_stops_all_and_one_alone_goes_on(tmp_path: Path, pairs: Path, alone: Path) -> None:
    """Weights, and moments that were dealt out to two, end as they would have. Measured: 3e-6 apart."""
    run = tmp_path / "run"
    printed = together("stop", pairs, run)
    assert "stopped at 4 by 15" in printed
    assert state(run)["step"] == 4
    told = Told()
    resume(run, told)
    assert sorted(told.losses) == [5, 6]
    assert losses(run) == pytest.approx(losses(alone), rel=1e-5)
    one, other = state(alone), state(run)
    for name, tensor in one["model"].items():  # Adam makes something of gradients that are zero but for rounding
        torch.testing.assert_close(other["model"][name], tensor, rtol=1e-4, atol=2e-5)
    for number, moments in one["optimiser"]["state"].items():
        torch.testing.assert_close(
            other["optimiser"]["state"][number]["exp_avg"], moments["exp_avg"], rtol=1e-3, atol=1e-6
        )


def test_what_fails_in_another_process_is_said_by_the_first(tmp_path: Path, pairs: Path) -> None:
    printed = together("broken", pairs, tmp_path / "run")
    assert printed == ["DataError process 1: this disk has gone", "said 1 steps 0"]


def test_a_picture_that_only_one_process_finds_broken_is_replaced_in_all(
    tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each decodes its own share; the batch, texts and all, is that of one process that found it. Measured: 2e-7."""
    victim = pairs.parent / "pictures" / "007.png"
    content = victim.read_bytes()
    together("vanish", pairs, tmp_path / "two")
    assert not victim.exists()
    victim.write_bytes(content)
    monkeypatch.setattr(reading, "available_memory", lambda: 0)
    before = PictureStore.load

    def load(self: PictureStore, *given: Any) -> Any:
        found = before(self, *given)
        victim.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(PictureStore, "load", load)
    chosen = options(pairs, arch="tiny-vit", log_every_steps=1, ema_decay=0.5, group="scene")
    train(chosen, tmp_path / "one", Told())
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    found = [(tmp_path / run / "skipped.jsonl").read_text("utf-8") for run in ("one", "two")]
    assert found[0] == found[1]
    assert str(victim) in found[0]
