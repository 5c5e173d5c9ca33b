"""Towers and pairs small enough to train in a test, and a reporter that remembers what it was told."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clipcli.bundle.spec import Preprocess
from trainer.checkpoints import read_checkpoint
from trainer.config import ArchConfig, ResNetConfig, TextConfig, ViTConfig
from trainer.data import DataSummary
from trainer.options import TrainOptions
from trainer.pace import Progress

SIDE = 32
PREPROCESS = Preprocess(image_size=SIDE, mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28))
TEXT = TextConfig(width=16, layers=1, heads=2, context_length=12)
RESNET = ArchConfig(
    name="tiny-resnet",
    embedding_dim=16,
    image=ResNetConfig(image_size=SIDE, width=8, layers=(1, 1), heads=4),
    text=TEXT,
)
VIT = ArchConfig(
    name="tiny-vit",
    embedding_dim=16,
    image=ViTConfig(image_size=SIDE, patch_size=16, width=16, layers=1, heads=2),
    text=TEXT,
)
COLOURS = {"red": (220, 30, 30), "green": (30, 180, 40), "blue": (40, 60, 220), "yellow": (230, 220, 40)}


def save_picture(path: Path, number: int, size: tuple[int, int] = (44, 36)) -> str:
    """A picture that no other number has, and what can be said of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name, colour = list(COLOURS.items())[number % len(COLOURS)]
    picture = Image.new("RGB", size, colour)
    dot = 4 + 3 * (number // len(COLOURS) % 8)
    picture.paste((255, 255, 255), (dot, dot, dot + 6, dot + 6))
    picture.putpixel((0, 0), (number % 256, number // 256, 7))
    picture.save(path)
    return f"a {name} field with a white dot at place {number // len(COLOURS)}"


def write_pairs(folder: Path, count: int = 24, *, name: str = "pairs.csv") -> Path:
    """A CSV of `count` pictures, each with a caption of its own."""
    captions = [save_picture(folder / "pictures" / f"{number:03d}.png", number) for number in range(count)]
    lines = [f"pictures/{number:03d}.png,{caption}" for number, caption in enumerate(captions)]
    (folder / name).write_text("\n".join(["image,caption", *lines]) + "\n", "utf-8")
    return folder / name


def write_classes(folder: Path, per_class: int = 4) -> Path:
    """A folder of class folders."""
    for place, name in enumerate(COLOURS):
        for number in range(per_class):
            save_picture(folder / f"{name}_field" / f"{number}.png", place + len(COLOURS) * number)
    return folder


def options(data: Path | Sequence[Path], **chosen: Any) -> TrainOptions:
    """Small batches in float32 from scratch, unless told otherwise."""
    paths = [data] if isinstance(data, Path) else data
    settings: dict[str, Any] = {
        "data": tuple(map(str, paths)),
        "arch": None if "start" in chosen else "tiny-resnet",
        "epochs": 2.0,
        "batch_size": 8,
        "lr": 1e-3,
        "precision": "fp32",
        "device": "cpu",
    }
    return TrainOptions(**{**settings, **chosen})


def noise(count: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(N, S, S, 3) levels."""
    return np.random.default_rng(seed).integers(0, 256, size=(count, SIDE, SIDE, 3), dtype=np.uint8)


class Told:
    """A reporter for `trainer.run` that keeps everything; `at_step` is called with each step done."""

    def __init__(self, at_step: Callable[[int], None] | None = None) -> None:
        self.lines: list[str] = []
        self.losses: dict[int, float] = {}
        self.progress: dict[int, Progress] = {}
        self.epochs: list[dict[str, Any]] = []
        self.summaries: list[DataSummary] = []
        self.walk: list[dict[str, Any]] = []
        self.bars: dict[str, list[int]] = {}  # label: [total, done]
        self.at_step = at_step

    def begin(self, label: str, total: int) -> Callable[[int], None]:
        bar = self.bars[label] = [total, 0]

        def advance(count: int) -> None:
            bar[1] += count

        return advance

    def summary(self, summary: DataSummary) -> None:
        self.summaries.append(summary)

    def walked(self, rows: Sequence[dict[str, Any]], chosen: float) -> None:
        self.walk = list(rows)
        assert chosen in [row["anchor"] for row in rows]

    def say(self, line: str) -> None:
        self.lines.append(line)

    def step(self, done: int, total: int, now: Progress) -> None:
        assert 1 <= done <= total
        assert now.images_per_s > 0
        assert (now.seconds_left > 0) == (done < total)
        self.losses[done] = now.loss
        self.progress[done] = now
        if self.at_step:
            self.at_step(done)

    def epoch(self, metrics: dict[str, Any]) -> None:
        self.epochs.append(metrics)


def stop_at(*steps: int, signum: int = signal.SIGINT) -> Told:
    return Told(lambda step: signal.raise_signal(signum) if step in steps else None)


def equal(one: Any, other: Any) -> bool:
    """Nested containers with bit-for-bit equal tensors."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def state(run: Path) -> dict[str, Any]:
    found = read_checkpoint(run)
    assert found is not None
    return found
