"""Towers small enough to export in a test, with weights that make pictures and texts differ, and a run around them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from clipcli.bundle.spec import Preprocess
from clipcli.bundle.tokenizer import Tokenizer
from export.samples import Samples, made_samples
from trainer.checkpoints import save_best
from trainer.config import ArchConfig, ResNetConfig, TextConfig, ViTConfig
from trainer.options import TrainOptions
from trainer.towers import Clip
from trainer.vocabulary import learn_vocabulary

CONTEXT = 12
PREPROCESS = Preprocess(image_size=32, mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28))
CAPTIONS = (
    "a red car",
    "two dogs in the snow",
    "a red dog",
    "the old house by the sea",
    "cars in the snow",
    "sea and sky",
)


def save_vocabulary(path: Path) -> Tokenizer:
    learn_vocabulary(CAPTIONS * 3).save(str(path))
    return Tokenizer.load(path, CONTEXT)


def make_towers(kind: str, vocab_size: int, seed: int = 0) -> Clip:
    """A "vit" or "resnet" with its text tower.

    Gains, biases and running statistics are those of no fresh model: the branches of a fresh ResNet are silent, and an
    export that forgot them would go unnoticed.
    """
    torch.manual_seed(seed)
    image: ViTConfig | ResNetConfig
    if kind == "vit":
        image = ViTConfig(image_size=32, patch_size=8, width=48, layers=2, heads=2)
    else:
        image = ResNetConfig(image_size=32, width=16, layers=(1, 1), heads=4, stem_pool=False)
    text = TextConfig(width=32, layers=1, heads=2, context_length=CONTEXT, vocab_size=vocab_size)
    model = Clip(ArchConfig(name=f"tiny-{kind}", embedding_dim=24, image=image, text=text))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    model.train()
    pixels = torch.from_numpy(made_samples(PREPROCESS, count=64, seed=9).pixels(PREPROCESS))
    with torch.no_grad():
        for _ in range(20):  # running statistics settle
            model.encode_image(pixels)
    return model.eval()


def samples(count: int = 24) -> Samples:
    made = made_samples(PREPROCESS, count=count, seed=3)
    return Samples(images=made.images, texts=CAPTIONS)


def make_run(folder: Path, kind: str = "vit", photos: Path | None = None) -> Path:
    """A training run as `clip train` leaves it, without the training."""
    folder.mkdir(parents=True)
    tokenizer = save_vocabulary(folder / "tokenizer.json")
    model = make_towers(kind, tokenizer.vocab_size)
    save_best(folder, model.state_dict())
    facts = {"towers": model.config.to_dict(), "preprocess": asdict(PREPROCESS), "provenance": {}, "start": None}
    (folder / "towers.json").write_text(json.dumps(facts), "utf-8")
    options = TrainOptions(data=(str(photos or folder / "gone.csv"),), arch="RN-nano-64", name="my-birds")
    (folder / "options.json").write_text(options.to_json(), "utf-8")
    (folder / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "score": 0.5}) + "\n", "utf-8")
    return folder


def write_pairs(folder: Path, count: int = 8) -> Path:
    """Pictures and a CSV with what is said of them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["image,caption"]
    for number, levels in enumerate(made_samples(PREPROCESS, count=count, seed=4).images):
        Image.fromarray(np.kron(levels, np.ones((2, 3, 1), dtype=np.uint8))).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{CAPTIONS[number % len(CAPTIONS)]} {number}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder / "pairs.csv"
