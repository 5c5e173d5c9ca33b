"""The installed command in processes of their own: Ctrl-C, kill -9, and going on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clipcli.bundle.encoder import Model
from tests.training.tiny import Told, equal, state
from trainer.checkpoints import read_metrics
from trainer.options import TrainOptions
from trainer.run import train

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")


def run_until(word: str, signum: int, folder: Path, *arguments: str | Path) -> tuple[int, list[str]]:
    """The exit status and the lines of stderr of `clip train`, which gets the signal once a line begins with `word`."""
    command = [sys.executable, "-m", "clipcli", "train", *map(str, arguments)]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line.rstrip("\n"))
            if line.startswith(word):
                process.send_signal(signum)
                break
        lines += process.stderr.read().splitlines()
        return process.wait(timeout=60), lines


def step_in(line: str) -> int:
    """`saved at step 12; …`, `going on from step 12 of …`"""
    return int(line.split(" step ")[1].split(";")[0].split()[0].replace(",", ""))


def test_ctrl_c_then_kill_9_then_to_the_end(pairs: Path, models: Path, in_folder: Path) -> None:
    code, lines = run_until(
        "epoch 3,", signal.SIGINT, in_folder,
        pairs, "--from", "seed-model", "--name", "tuned", "--epochs", "40", "--batch-size", "8", "--lr", "0.001",
        "--precision", "fp32", "--device", "cpu", "--threads", "1",
    )  # fmt: skip
    assert code == 130, lines
    assert lines[-1] == "clip: interrupted"
    assert lines[-2].endswith("; go on with: clip train --resume runs/tuned")
    stopped_at = step_in(lines[-2])
    run = in_folder / "runs" / "tuned"
    assert state(run)["step"] == stopped_at >= 9  # three steps an epoch

    code, lines = run_until("epoch 20,", signal.SIGKILL, in_folder, "--resume", run)
    assert code == -signal.SIGKILL, lines
    (went_on,) = [line for line in lines if line.startswith("going on from")]
    assert step_in(went_on) == stopped_at
    killed_at = state(run)["step"]
    assert killed_at >= 57

    code, lines = run_until("never", signal.SIGKILL, in_folder, "--resume", run)
    assert code == 0, lines
    (went_on,) = [line for line in lines if line.startswith("going on from")]
    assert step_in(went_on) == killed_at
    assert lines[-1] == "installed as tuned: clip embed -m tuned FOLDER"
    assert Model.load(models / "tuned", device="cpu").encode_texts(["a red field"]).shape == (1, 16)

    straight = in_folder / "straight"
    train(TrainOptions.load(run), straight, Told())
    assert equal(state(run), state(straight))
    assert read_metrics(run) == read_metrics(straight)
    assert not [path.name for path in run.iterdir() if path.name.endswith(".part")]
