"""The tiny architectures by name, and one thread: tests run side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from clipcli.app import app
from tests.training.tiny import RESNET, VIT, write_pairs
from trainer import config


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def tiny_architectures() -> Iterator[None]:
    """`--arch tiny-resnet` and `--arch tiny-vit`."""
    with pytest.MonkeyPatch.context() as patch:
        for arch in (RESNET, VIT):
            patch.setitem(config.ARCHITECTURES, arch.name, arch)
        yield


def clip(*arguments: str | Path) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pairs.csv`, a finished run `run` and a models folder `models` with its model `seed-model`."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIP_MODELS", str(folder / "models"))
        pairs = write_pairs(folder, 32)
        done = clip(
            "train", pairs, "--scratch", "--arch", "tiny-resnet", "--name", "seed-model", "--output", folder / "run",
            "--epochs", 2, "--batch-size", 10, "--precision", "fp32", "--device", "cpu", "--seed", 3,
        )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    (folder / "stderr.txt").write_text(done.stderr, "utf-8")
    (folder / "stdout.txt").write_text(done.stdout, "utf-8")
    return folder


@pytest.fixture
def models(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A models folder of this test's own, with `seed-model` in it."""
    folder = tmp_path / "models"
    folder.mkdir()
    os.symlink(trained / "models" / "seed-model", folder / "seed-model")
    monkeypatch.setenv("CLIP_MODELS", str(folder))
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data", 26)  # 24 to train on: three steps of 8 an epoch
