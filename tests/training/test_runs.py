"""What a run begins with: a model to fine-tune, a folder of its own; and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clipcli.bundle.spec import read_spec
from clipcli.errors import DataError, DeviceError, ModelError, NotFoundError, UsageError
from tests.training.tiny import Told, equal, options, state, stop_at, write_pairs
from trainer import loop
from trainer.checkpoints import load_weights, read_metrics
from trainer.run import resume, train
from trainer.stopping import Interrupted


def seed_model(trained: Path) -> str:
    return str(trained / "models" / "seed-model")


def running_statistics(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if name.endswith(("running_mean", "running_var"))}


@pytest.mark.parametrize("frozen", [True, False])
def test_batch_norm_is_frozen_when_fine_tuning(trained: Path, tmp_path: Path, pairs: Path, frozen: bool) -> None:
    start = seed_model(trained)
    told = Told()
    train(options(pairs, start=start, freeze_batch_norm=frozen, epochs=2.0), tmp_path / "run", told)
    before = load_weights(Path(start) / "weights.safetensors")
    after = state(tmp_path / "run")["model"]
    assert len(running_statistics(before)) > 10
    assert equal(running_statistics(before), running_statistics(after)) == frozen
    assert not torch.equal(before["image_tower.bn1.weight"], after["image_tower.bn1.weight"])  # gains still learn


def test_fine_tuning_keeps_tokenizer_and_preprocessing(trained: Path, tmp_path: Path, pairs: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    start, run, told = Path(seed_model(trained)), tmp_path / "run", Told()
    train(options(pairs, start=str(start), epochs=1.0), run, told)
    assert (run / "tokenizer.json").read_bytes() == (start / "tokenizer.json").read_bytes()
    facts, spec = json.loads((run / "towers.json").read_text("utf-8")), read_spec(start)
    assert facts["preprocess"]["mean"] == list(spec.preprocess.mean)
    assert facts["towers"] == dict(spec.towers)
    assert facts["start"] == "seed-model"
    assert [line["epoch"] for line in read_metrics(run)] == [0, 1]  # measured before anything was changed
    assert told.epochs[0]["step"] == 0
    assert "loss" not in told.epochs[0]
    recall = "validation/text_to_image@1"
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars(recall)] == [0, told.epochs[1]["step"]]


def test_a_run_goes_on_from_the_best_weights_of_another(trained: Path, tmp_path: Path, pairs: Path) -> None:
    before, run = trained / "run", tmp_path / "run"
    best = next(before / name for name in ("final.safetensors", "best.safetensors") if (before / name).exists())
    start = str(before)
    train(options(pairs, start=start, epochs=1.0, image_size=32), run, Told())  # the size it has already: no change
    assert equal(load_weights(run / "start.safetensors"), load_weights(best))
    assert (run / "tokenizer.json").read_bytes() == (before / "tokenizer.json").read_bytes()
    facts, earlier = (json.loads((folder / "towers.json").read_text("utf-8")) for folder in (run, before))
    assert (facts["towers"], facts["preprocess"]) == (earlier["towers"], earlier["preprocess"])
    assert facts["start"] == "seed-model"


def test_a_run_without_weights_yet_says_how_to_go_on(tmp_path: Path, pairs: Path) -> None:
    with pytest.raises(Interrupted):
        train(options(pairs), tmp_path / "begun", stop_at(1))
    with pytest.raises(DataError, match=r"no measured weights yet; go on with it by: clip train --resume"):
        train(options(pairs, start=str(tmp_path / "begun")), tmp_path / "run", Told())
    assert not (tmp_path / "run").exists()


def test_it_is_said_when_nothing_got_better(
    trained: Path, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "on the pictures held out the model it has come to is not as good as the one it began with"
    for worse in (True, False):
        found = iter([{"x/top1": 0.5}, {"x/top1": 0.4 if worse else 0.6}])
        monkeypatch.setattr(loop.Fit, "validate", lambda self, found=found: next(found))
        told = Told()
        train(options(pairs, start=seed_model(trained), epochs=1.0), tmp_path / f"run-{worse}", told)
        assert any(line.startswith(words) for line in told.lines) == worse


def test_a_resumed_run_needs_the_model_it_began_with_no_more(trained: Path, tmp_path: Path, pairs: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(seed_model(trained), start)
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(options(pairs, start=str(start)), run, stop_at(2))
    shutil.rmtree(start)
    resume(run, Told())
    assert read_metrics(run)[-1]["step"] == 6


def test_a_model_without_weights(trained: Path, tmp_path: Path, pairs: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(seed_model(trained), start)
    (start / "weights.safetensors").unlink()
    with pytest.raises(ModelError, match="seed-model comes without weights to train on; choose another with --from"):
        train(options(pairs, start=str(start)), tmp_path / "run", Told())


def test_folders_that_are_taken(tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, run = Told(), tmp_path / "run"
    (run / "sub").mkdir(parents=True)
    with pytest.raises(UsageError, match="is not an empty folder; name another one with --output"):
        train(options(pairs), run, told)
    (run / "options.json").write_text("{}", "utf-8")
    with pytest.raises(UsageError, match=r"holds a run already; go on with it by 'clip train --resume .*run'"):
        train(options(pairs), run, told)
    file = tmp_path / "file"
    file.write_text("x", "utf-8")
    for taken in (file, file / "below"):
        with pytest.raises(UsageError, match=r"(is not an empty folder|cannot be made)"):
            train(options(pairs), taken, told)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UsageError, match=r"cannot be made: .* may not be written"):
        train(options(pairs), tmp_path / "new" / "run", told)
    assert told.bars == {}  # before a single picture is read


@pytest.mark.parametrize(
    ("chosen", "error"), [({"arch": "ViT-Z"}, NotFoundError), ({"device": "gpu"}, DeviceError)], ids=str
)
def test_what_cannot_be_is_refused_before_pictures_are_read(
    tmp_path: Path, pairs: Path, chosen: dict[str, Any], error: type[Exception]
) -> None:
    told = Told()
    with pytest.raises(error):
        train(options(pairs, **chosen), tmp_path / "run", told)
    assert told.bars == {}
    assert not (tmp_path / "run").exists()


def test_unfit_data_leaves_no_folder(tmp_path: Path) -> None:
    told = Told()
    with pytest.raises(DataError):
        train(options(write_pairs(tmp_path, 1)), tmp_path / "runs" / "run", told)
    assert told.summaries
    assert not (tmp_path / "runs").exists()
