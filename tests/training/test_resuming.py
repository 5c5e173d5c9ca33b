"""A run that was stopped, killed or finished, and goes on."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from clipcli.errors import DataError
from tests.training.tiny import Told, equal, options, save_picture, state, stop_at, write_classes
from trainer.checkpoints import read_checkpoint, read_metrics, read_step_metrics
from trainer.run import resume, train
from trainer.stopping import Interrupted


@pytest.mark.parametrize("arch", ["tiny-resnet", "tiny-vit"])
@pytest.mark.parametrize("stops", [[2, 5], [4, 12], [1, 8, 10]], ids=str)
def test_an_interrupted_run_ends_bit_for_bit_like_a_straight_one(
    tmp_path: Path, pairs: Path, arch: str, stops: Sequence[int]
) -> None:
    """4, 8 and 12 are ends of epochs, 12 the last step of all: what an epoch's end does is made up for."""
    classes = write_classes(tmp_path / "classes", 3)
    chosen = options(
        [pairs, classes], arch=arch, weights=(2.0, 1.0), epochs=3.0, batch_size=12, label_loss=0.5, flip=True,
        crop_min=0.7, validation=(str(pairs),), ema_decay=0.9, log_every_steps=3,
    )  # fmt: skip
    straight, halting = tmp_path / "straight", tmp_path / "halting"
    told = Told()
    train(chosen, straight, told)
    assert max(told.losses) == 12  # 26 + 12 rows, 12 a step
    losses: dict[int, float] = {}
    for place, step in enumerate(stops):
        again = stop_at(step)
        with pytest.raises(Interrupted) as caught:
            resume(halting, again) if place else train(chosen, halting, again)
        assert (caught.value.step, caught.value.signum) == (step, signal.SIGINT)
        losses |= again.losses
    last = Told()
    resume(halting, last)
    assert f"going on from step {stops[-1]} of 12, saved in {halting}" in last.lines
    assert sorted(last.losses) == list(range(stops[-1] + 1, 13))
    losses |= last.losses
    assert losses == told.losses
    assert equal(state(straight), state(halting))
    assert (straight / "best.safetensors").read_bytes() == (halting / "best.safetensors").read_bytes()
    assert read_metrics(straight) == read_metrics(halting)
    timeless = [[{**line, "images_per_s": 0} for line in read_step_metrics(run)] for run in (straight, halting)]
    assert timeless[0] == timeless[1]
    assert [line["of_steps"] for line in timeless[0]] == [3, 3, 3, 3]


def test_a_run_stopped_at_its_very_end_still_gets_its_figures(tmp_path: Path, pairs: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(options(pairs, epochs=1.0), run, stop_at(3))
    assert not (run / "best.safetensors").exists()
    done = resume(run, Told())
    assert (run / "best.safetensors").exists()
    assert done.metrics["epoch"] == 1
    assert [line["step"] for line in read_metrics(run)] == [3]


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(tmp_path: Path, pairs: Path) -> None:
    run = tmp_path / "run"
    first = train(options(pairs), run, Told())
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    told = Told()
    assert resume(run, told).metrics == first.metrics
    assert "going on from step 6 of 6" in told.lines[-1]
    assert told.losses == {}
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_run_killed_before_its_first_save_begins_again(tmp_path: Path, pairs: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    train(options(pairs), straight, Told())
    with pytest.raises(RuntimeError):
        train(options(pairs), killed, Told(lambda step: (_ for _ in ()).throw(RuntimeError("killed"))))
    assert not (killed / "checkpoint.pt").exists()
    (killed / "metrics.jsonl").write_text('{"epoch": 1, "step": 3, "score": 99}\n{"ep', "utf-8")
    told = Told()
    resume(killed, told)
    assert min(told.losses) == 1
    assert equal(state(straight), state(killed))
    assert read_metrics(straight) == read_metrics(killed)


def test_figures_of_an_epoch_that_was_not_saved_are_written_once(tmp_path: Path, pairs: Path) -> None:
    """Killed between the line in metrics.jsonl and the checkpoint, with half of another line behind it."""
    run, straight = tmp_path / "run", tmp_path / "straight"
    train(options(pairs), straight, Told())
    with pytest.raises(Interrupted):
        train(options(pairs), run, stop_at(2))
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 1, "step": 3, "score": 5.0}) + '\n{"epoch": 2, "st')
    resume(run, Told())
    assert read_metrics(run) == read_metrics(straight)


def test_saves_between_the_ends_of_epochs(tmp_path: Path, pairs: Path) -> None:
    saved: list[int] = []
    run = tmp_path / "run"

    def look(step: int) -> None:
        found = read_checkpoint(run)
        saved.append(0 if found is None else found["step"])

    train(options(pairs, save_every_s=0.0, epochs=1.0), run, Told(look))
    assert saved == [0, 1, 2]


def test_saves_on_steps(tmp_path: Path, pairs: Path) -> None:
    saved: list[int] = []
    run = tmp_path / "run"

    def look(step: int) -> None:
        found = read_checkpoint(run)
        saved.append(0 if found is None else found["step"])

    train(options(pairs, save_every_steps=2), run, Told(look))  # epochs end at 3 and 6
    assert saved == [0, 0, 2, 3, 4, 4]


def test_data_that_changed_since(tmp_path: Path, pairs: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(options(pairs, validation=(str(pairs),)), run, stop_at(2))
    (pairs.parent / "pictures" / "000.png").unlink()
    told = Told()
    resume(run, told)
    assert any(line.startswith("the data has 25 pairs to train on now, and had 26 when") for line in told.lines)


def test_labels_that_changed_since(tmp_path: Path) -> None:
    classes, run = write_classes(tmp_path / "classes", 4), tmp_path / "run"
    with pytest.raises(Interrupted):
        train(options(classes), run, stop_at(1))
    for number in range(4):
        save_picture(classes / "violet" / f"{number}.png", 50 + number)
    before = (run / "metrics.jsonl").exists()
    with pytest.raises(
        DataError, match=r"does not fit the towers and the labels of the data, .*size mismatch for label_head.weight"
    ):
        resume(run, Told())
    assert (run / "metrics.jsonl").exists() == before


@pytest.mark.parametrize("missing", ["extra", "scaler", "best", "losses"])
def test_a_checkpoint_that_lacks_something(tmp_path: Path, pairs: Path, missing: str) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(options(pairs), run, stop_at(1))
    found = state(run)
    del found[missing]
    torch.save(found, run / "checkpoint.pt")
    with pytest.raises(DataError, match=f"does not fit .*{missing}"):
        resume(run, Told())


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path, pairs: Path) -> None:
    """Checkpoints did not always say how many rows there were, and knew one module beside the towers."""
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(options(pairs), run, stop_at(1))
    found = state(run)
    del found["rows"]
    found["label_head"] = {name.removeprefix("label_head."): value for name, value in found.pop("extra").items()}
    torch.save(found, run / "checkpoint.pt")
    told = Told()
    resume(run, told)
    assert not any("the data has" in line for line in told.lines)
