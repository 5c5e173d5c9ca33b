"""The tiny architectures by name, one thread, and one model trained and exported for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from clipcli.app import app
from tests.training.tiny import RESNET, VIT, save_picture, write_pairs
from trainer import architectures


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tests run side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def tiny_architectures() -> Iterator[None]:
    """`--arch tiny-resnet` and `--arch tiny-vit`."""
    with pytest.MonkeyPatch.context() as patch:
        for arch in (RESNET, VIT):
            patch.setitem(architectures.ARCHITECTURES, arch.name, arch)
        yield


def clip(*arguments: str | Path | float) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, list(map(str, arguments)))


def write_untidy(folder: Path) -> Path:
    """29 good pairs under headings that nobody knows, in files not called like pictures; eight that are none."""
    lines = ["scan;legend"]
    for number in range(32):
        caption = save_picture(folder / "scans" / f"{number:03d}.png", number)
        (folder / "scans" / f"{number:03d}.png").rename(folder / "scans" / f"{number:03d}")
        lines.append(f"scans/{number:03d};{caption}")
    (folder / "scans" / "000").unlink()
    (folder / "scans" / "001").write_bytes(b"no picture at all")
    content = (folder / "scans" / "002").read_bytes()
    (folder / "scans" / "002").write_bytes(content[: len(content) // 2])
    lines += ["scans/gone;a ghost", "scans/003;", "scans/004; ", "scans/005", ";nothing"]
    (folder / "untidy.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "untidy.csv"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`run`, a finished run on `untidy.csv`; `models`, a folder with its model `seed-model`; and what was printed."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIP_MODELS", str(folder / "models"))
        done = clip(
            "train", write_untidy(folder), "--image-column", "scan", "--text-column", "legend", "--name", "seed-model",
            "--scratch", "--arch", "Tiny-ResNet", "--output", folder / "run", "--epochs", 2, "--batch-size", 10,
            "--precision", "fp32", "--device", "cpu", "--seed", 3, "--template", "a {} here",
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
    """24 to train on, three steps of 8 an epoch, and 2 held out."""
    return write_pairs(tmp_path / "data", 26)
