"""Training beside OpenCLIP's own loop: the same losses, and how many pictures a second.

    python -m benchmarks.openclip_training curves [--steps 200] [--lr 5e-4] [--float64]
    python -m benchmarks.openclip_training speed [--arch ViT-S/32] [--batch 32] [--turn 4] [--precision fp32|bf16]

For the environment that `benchmarks.environments` makes; there `benchmarks.torchvision_stub` stands before the module's
name. Both get the same weights, pixels, tokens, AdamW settings and learning rates; theirs is `train_one_epoch` as it
is, ours `trainer.loop.Fit` as `clip train` runs it. `speed` measures them in turns and takes medians of each turn's
rate: made batches on both sides, so no decoding. Texts are as long as Flickr8k's, about 13 words, which OpenCLIP pads
to the context length.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip_train.scheduler import cosine_lr
from open_clip_train.train import train_one_epoch

from clipcli.bundle.spec import Preprocess
from trainer.architectures import architecture
from trainer.config import ArchConfig, TextConfig, ViTConfig
from trainer.device import choose_compute
from trainer.loop import Fit
from trainer.options import TrainOptions
from trainer.sampling import Batch
from trainer.towers import Clip
from trainer.writing.names import to_openclip

TINY = ArchConfig(
    name="tiny", embedding_dim=64, image=ViTConfig(image_size=64, patch_size=16, width=96, layers=3, heads=3),
    text=TextConfig(width=96, layers=3, heads=3, context_length=32, vocab_size=2000), activation="gelu",
)  # fmt: skip
PREPROCESS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
WARMUP, DECAY, BETA2 = 0.1, 0.1, 0.98


def made_batch(config: ArchConfig, count: int, step: int) -> Batch:
    """Pictures with something in them that their texts name; the texts of Flickr8k's lengths."""
    random = np.random.default_rng((7, step))
    size, end = config.image.image_size, config.text.vocab_size - 1
    kinds = random.integers(0, 200, size=count)
    coarse = np.stack([np.random.default_rng((8, kind)).integers(0, 256, size=(4, 4, 3)) for kind in kinds])
    pixels: NDArray[Any] = coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    noisy = np.clip(pixels + random.normal(0, 25, size=pixels.shape), 0, 255).astype(np.uint8)
    lengths = np.clip(random.normal(15, 4, size=count), 6, min(30, config.text.context_length)).astype(np.int64)
    tokens = np.zeros((count, config.text.context_length), dtype=np.int64)
    for place, (kind, length) in enumerate(zip(kinds, lengths, strict=True)):
        tokens[place, 0] = end - 1
        tokens[place, 1 : length - 1] = random.integers(300, end - 1, size=length - 2)
        tokens[place, 1] = 1 + kind
        tokens[place, length - 1] = end
    return Batch(
        pixels=noisy, tokens=tokens, lengths=lengths, positives=np.eye(count, dtype=np.bool_), ignored=None,
        labels=np.full(count, -1),
    )  # fmt: skip


class Maker:
    """What `Fit` asks of a maker of batches."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches, self.tokenise = batches, None
        self.labels: list[str] = []
        self.without = batches[0].without  # rows that broke: none
        self.plan = SimpleNamespace(steps_per_epoch=len(batches), batch_size=len(batches[0].labels), rows=1)

    def stream(self, start: int, stop: int) -> Any:
        import contextlib

        return contextlib.nullcontext(iter(self.batches[start:stop]))


class Losses:
    """A reporter that keeps the losses."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def say(self, line: str) -> None: ...

    def step(self, *told: Any) -> None:
        self.losses.append(told[-1].loss)

    def epoch(self, metrics: object) -> None: ...


class Ours:
    """`Fit` over made batches, without an end of an epoch."""

    def __init__(self, model: Clip, batches: list[Batch], lr: float, precision: Any, folder: Path) -> None:
        options = TrainOptions(
            data=("made",), arch=model.config.name, epochs=1.0, batch_size=len(batches[0].labels), lr=lr,
            weight_decay=DECAY, beta2=BETA2, warmup=WARMUP, max_grad_norm=1.0, same_text="negative",
            precision=precision, device=DEVICE, log_every_steps=0, save_every_s=1e9,
        )  # fmt: skip
        self.told = Losses()
        size = model.config.image.image_size
        maker: Any = Maker(batches)
        self.fit = Fit(
            model=model, options=options, maker=maker, sets=[], compute=choose_compute(options), run=folder,
            preprocess=Preprocess(image_size=size, mean=PREPROCESS[0], std=PREPROCESS[1]), reporter=self.told,
        )  # fmt: skip
        self.fit.steps += 1  # so that the end, which measures and saves, is never reached
        maker.plan.steps_per_epoch += 1

    def run(self) -> None:
        self.fit.step_number = 0
        never: Any = SimpleNamespace(signum=0)
        self.fit._steps(never)


class Theirs:
    """OpenCLIP's model, loss, optimiser, schedule and loop, set up as `open_clip_train.main` sets them up."""

    def __init__(self, model: Clip, batches: list[Batch], lr: float, precision: str) -> None:
        config = model.config
        image, text = config.image, config.text
        assert isinstance(image, ViTConfig)
        self.model = open_clip.CLIP(
            embed_dim=config.embedding_dim,
            vision_cfg={
                "image_size": image.image_size, "patch_size": image.patch_size, "width": image.width,
                "layers": image.layers, "head_width": image.width // image.heads,
            },
            text_cfg={
                "context_length": text.context_length, "vocab_size": text.vocab_size, "width": text.width,
                "heads": text.heads, "layers": text.layers,
            },
            quick_gelu=config.activation == "quick_gelu",
            output_dict=True,
        ).to(DEVICE, model.logit_scale.dtype)  # fmt: skip
        self.model.load_state_dict(to_openclip(model.state_dict(), config), strict=False)
        named = list(self.model.named_parameters())
        # Their rule, but for the class embedding: it is neither a gain nor a bias, and decays in the paper and here.
        plain = [p for name, p in named if (p.ndim < 2 and "class_emb" not in name) or "ln" in name or "bias" in name]
        chosen = {id(p) for p in plain} | {id(p) for name, p in named if "logit_scale" in name}
        self.optimiser = torch.optim.AdamW(
            [
                {"params": [p for _, p in named if id(p) in chosen], "weight_decay": 0.0},
                {"params": [p for _, p in named if id(p) not in chosen], "weight_decay": DECAY},
            ],
            lr=lr, betas=(0.9, BETA2), eps=1e-6,
        )  # fmt: skip
        mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in PREPROCESS)
        self.batches = [
            (
                ((torch.from_numpy(batch.pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std).to(
                    model.logit_scale.dtype
                ),
                torch.from_numpy(batch.tokens),
            )
            for batch in batches
        ]
        self.schedule = cosine_lr(self.optimiser, lr, round(WARMUP * len(batches)), len(batches))
        self.args = SimpleNamespace(
            device=DEVICE, precision="amp_bf16" if precision == "bf16" else "fp32", distill=False, accum_freq=1,
            skip_scheduler=False, grad_clip_norm=1.0, horovod=False, world_size=1, rank=0, local_rank=0,
            log_every_n_steps=100, batch_size=len(batches[0].labels), wandb=False, distributed=False, log_local=False,
        )  # fmt: skip
        self.losses: list[float] = []
        self.loss = open_clip.ClipLoss()

    def run(self, *, keep: bool = False) -> None:
        loader = Loader(self.batches)
        loss = self._kept if keep else self.loss
        data = {"train": SimpleNamespace(set_epoch=id, dataloader=loader)}
        train_one_epoch(self.model, data, loss, 0, self.optimiser, None, self.schedule, None, self.args)

    def _kept(self, **given: Any) -> Any:
        found = self.loss(**given)
        self.losses.append(found["contrastive_loss"].item())
        return found


class Loader:
    """What `train_one_epoch` asks of a loader."""

    def __init__(self, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.batches, self.num_batches = batches, len(batches)
        self.num_samples = sum(len(images) for images, _ in batches)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return iter(self.batches)


def curves(steps: int, lr: float, dtype: torch.dtype) -> dict[str, Any]:
    """Losses of both over the same steps. In float64 what is left of rounding cannot grow large in so few steps."""
    torch.manual_seed(0)
    model = Clip(TINY).to(dtype)
    batches = [made_batch(TINY, 64, step) for step in range(steps)]
    theirs = Theirs(model, batches, lr, "fp32")
    theirs.run(keep=True)
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(model, batches, lr, "fp32", Path(folder))
        ours.run()
    gaps: NDArray[np.float64] = np.abs(np.asarray(ours.told.losses) - np.asarray(theirs.losses))
    return {
        "steps": steps, "lr": lr, "numbers": str(dtype),
        "largest_difference": float(gaps.max()), "at_step": int(gaps.argmax()) + 1,
        "first_differences": {step: float(gaps[:step].max()) for step in (1, 10, 50, 100) if step <= steps},
        "first_loss": ours.told.losses[0], "last_loss": ours.told.losses[-1],
    }  # fmt: skip


def speed(name: str, count: int, turn: int, rounds: int, precision: str) -> dict[str, Any]:
    """Pictures a second of both, in turns."""
    config = dataclasses.replace(architecture(name), activation="gelu")
    model = Clip(config)
    batches = [made_batch(config, count, step) for step in range(turn)]
    theirs = Theirs(model, batches, 1e-4, precision)
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(model, batches, 1e-4, precision, Path(folder))
        for number in range(rounds + 1):
            for who, run in (("ours", ours.run), ("theirs", theirs.run)):
                begun = time.perf_counter()
                run()
                if DEVICE != "cpu":
                    torch.cuda.synchronize()
                if number:  # the first warms up
                    rates[who].append(count * len(batches) / (time.perf_counter() - begun))
    medians = {who: statistics.median(found) for who, found in rates.items()}
    ratios = [one / other for one, other in zip(rates["ours"], rates["theirs"], strict=True)]
    return {
        "arch": name, "batch": count, "precision": precision, "device": DEVICE, "threads": torch.get_num_threads(),
        "rounds": rounds, **{f"{who}_images_per_s": round(rate, 1) for who, rate in medians.items()},
        "ratio": round(statistics.median(ratios), 3), "least": round(min(ratios), 3), "most": round(max(ratios), 3),
    }  # fmt: skip


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("curves", "speed"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--float64", action="store_true")
    parser.add_argument("--arch", default="ViT-S/32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--turn", type=int, default=4, help="steps a turn")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    given = parser.parse_args()
    logging.disable(logging.INFO)
    found = (
        curves(given.steps, given.lr, torch.float64 if given.float64 else torch.float32)
        if given.what == "curves"
        else speed(given.arch, given.batch, given.turn, given.rounds, given.precision)
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
