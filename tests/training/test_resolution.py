"""One more epoch with larger pictures: positions interpolated, the model of the new size, resumed anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipcli.bundle.spec import read_spec
from clipcli.errors import UsageError
from tests.training.tiny import RESNET, VIT, Told, equal, options, state, stop_at
from trainer.architectures import architecture
from trainer.checkpoints import load_run, load_weights, read_metrics
from trainer.config import ArchConfig
from trainer.outcome import best_metrics, is_finished
from trainer.resolution import enlarged, with_positions
from trainer.run import resume, train
from trainer.stopping import Interrupted
from trainer.towers import Clip


@pytest.mark.parametrize("arch", [VIT, RESNET], ids=lambda arch: arch.name)
def test_positions_keep_their_places(arch: object) -> None:
    """Even ones stay as they are, and so does the first, which stands for the whole picture."""
    config = VIT if arch is VIT else RESNET
    larger = enlarged(config, 128)
    torch.manual_seed(0)
    weights = Clip(config).state_dict()
    name = next(name for name in weights if "image_tower" in name and "positional_embedding" in name)
    side = int((len(weights[name]) - 1) ** 0.5)
    made = with_positions(weights, larger)
    Clip(larger).load_state_dict(made)
    assert torch.equal(made[name][0], weights[name][0])
    assert torch.equal(with_positions(weights, config)[name], weights[name])
    weights[name][1:] = torch.full((side * side, 1), 3.5)
    assert with_positions(weights, larger)[name][1:] == pytest.approx(3.5)


def test_a_plane_stays_a_plane() -> None:
    config = architecture("ViT-nano-64/8")
    weights = {"image_tower.positional_embedding": torch.zeros(65, 2)}
    down, across = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    weights["image_tower.positional_embedding"][1:] = torch.stack([down.flatten(), across.flatten()], dim=1)
    made = with_positions(weights, enlarged(config, 128))["image_tower.positional_embedding"][1:].view(16, 16, 2)
    expected = (torch.arange(16.0) + 0.5) / 2 - 0.5
    inside = slice(4, 12)
    # The usual bicubic kernel (-0.75) bends a line by up to 0.05 of the distance between two positions.
    torch.testing.assert_close(made[inside, 8, 0], expected[inside], atol=0.06, rtol=0)
    torch.testing.assert_close(made[8, inside, 1], expected[inside], atol=0.06, rtol=0)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("ViT-nano-64/8", 64, "64 pixels are not more than the 64 that ViT-nano-64/8 has already"),
        ("ViT-nano-64/8", 100, "not a multiple of the patch size"),
        ("MobileCLIP2-S0", 512, "no positions to interpolate"),
    ],
)
def test_sizes_that_do_not_suit(name: str, size: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        enlarged(architecture(name), size)


def test_one_more_epoch(tmp_path: Path, pairs: Path) -> None:
    run, told = tmp_path / "run", Told()
    chosen = options(pairs, arch="tiny-vit", final_resolution=64, log_every_steps=1)
    done = train(chosen, run, told)
    assert sorted(told.losses) == list(range(1, 10))  # two epochs of three steps, and one
    assert told.progress[9].learning_rate < told.progress[7].learning_rate == pytest.approx(1e-4)
    model, facts = load_run(run)
    assert facts["preprocess"]["image_size"] == facts["towers"]["image"]["image_size"] == 64
    assert model.config.name == "tiny-vit@64px"
    assert [line["epoch"] for line in read_metrics(run)] == [1, 2, 3]
    assert done.metrics["epoch"] == best_metrics(run)["epoch"] == 3
    assert is_finished(run)
    assert any("from step 6 on with pictures of 64 pixels" in line for line in told.lines)
    again = Told()
    resume(run, again)
    assert again.losses == {}


@pytest.mark.parametrize("step", [5, 6, 7, 9])
def test_it_is_resumed_bit_for_bit(tmp_path: Path, pairs: Path, step: int) -> None:
    """6 is the last step of the smaller pictures, 9 the last of all."""
    chosen = options(pairs, arch="tiny-vit", final_resolution=64)
    straight, halting = tmp_path / "straight", tmp_path / "halting"
    train(chosen, straight, Told())
    with pytest.raises(Interrupted):
        train(chosen, halting, stop_at(step))
    assert not is_finished(halting)
    resume(halting, Told())
    assert equal(state(straight), state(halting))
    assert (straight / "best.safetensors").read_bytes() == (halting / "best.safetensors").read_bytes()


def test_it_goes_with_pretraining(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="final_resolution is for pretraining"):
        options(tmp_path, start="x", final_resolution=64)


def test_fine_tuning_at_a_larger_size(tmp_path: Path, pairs: Path, trained: Path) -> None:
    start, run = trained / "models" / "seed-model", tmp_path / "run"
    before, config = load_weights(start / "weights.safetensors"), ArchConfig.from_dict(read_spec(start).towers)
    chosen = options(pairs, start=str(start), image_size=64, freeze_batch_norm=True, anchor=0.5)
    with pytest.raises(Interrupted):
        train(chosen, run, stop_at(2))
    assert equal(load_weights(run / "start.safetensors"), with_positions(before, enlarged(config, 64)))
    told = Told()
    made = resume(run, told)
    assert made.bundle is not None
    model, facts = load_run(run)
    assert (model.config.image.image_size, facts["preprocess"]["image_size"]) == (64, 64)
    with pytest.raises(UsageError, match="image_size is for fine-tuning"):
        options(pairs, arch="tiny-vit", image_size=64)
