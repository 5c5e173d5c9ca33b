"""Figure 2 of Radford et al. 2021 in small: how soon does each objective learn what classes are called.

    python -m benchmarks.objectives_compared train --data FOLDER --work FOLDER [--steps 2048] [--only caption]
    python -m benchmarks.objectives_compared measure --data FOLDER --work FOLDER
    python -m benchmarks.objectives_compared draw --work FOLDER [--figure docs/objectives.png]

Contrastive, bag of words and caption learn side by side: the same image tower from the same random weights, and at
every step the same 128 pictures, cut out alike, with the same texts: half of them photographs of Flickr8k with one of
their captions, half of Caltech-101 with a label in one of six sentences. `train` keeps the weights after numbers of
pictures that grow by the root of two, and goes on where it was killed, or with more `--steps`. `measure`, which may run
beside it, asks each of them which of 100 names belongs to each picture of Caltech-101's dev part, ten of a class at
most. `draw` makes the figure, and says how many times as many pictures the others need for what the contrastive
objective has learnt after each number.

The learning rate rises over 100 steps and falls with the root of the steps from then on, so that no point is the end of
a schedule where others are not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.objectives_figure import Curve, draw_objectives, mean_of_seeds, ratios
from clipcli.bundle.spec import TOKENIZER_FILE, Preprocess
from clipcli.bundle.tokenizer import Tokenizer
from trainer.checkpoints import load_weights, read_checkpoint, save_weights, write_atomically
from trainer.config import ArchConfig, ResNetConfig, TextConfig
from trainer.data import prepare_data
from trainer.device import choose_compute
from trainer.loop import Fit
from trainer.options import ObjectiveName, TrainOptions
from trainer.record import Silent
from trainer.row_plan import RowPlan
from trainer.run import CLIP_MEAN, CLIP_STD
from trainer.run_state import restore
from trainer.sampling import BatchMaker
from trainer.towers import Clip
from trainer.tuning import train_mode
from trainer.validation import ValidationSet
from trainer.vocabulary import learn_vocabulary

OBJECTIVES: tuple[ObjectiveName, ...] = ("contrastive", "bag-of-words", "caption")
SOURCES = {"flickr8k-train": 64, "caltech101-train": 64}  # of a batch
MEASURED = "caltech101-dev"
TEMPLATES = (
    "a photo of a {}.", "a picture of a {}.", "a close-up photo of a {}.", "a photo of the {}.", "this is a {}.", "{}",
)  # fmt: skip
BATCH, PEAK, RISING = 128, 1e-3, 100
A_CLASS = 10  # pictures that are measured
VOCABULARY = 2_000
SAVE_EVERY = 32  # steps


def towers() -> ArchConfig:
    """Small enough to learn something within an hour of one processor core: pictures of 32 pixels."""
    return ArchConfig(
        name="RN-pico-32",
        embedding_dim=256,
        image=ResNetConfig(image_size=32, width=48, layers=(2, 3), heads=6),
        text=TextConfig(width=128, layers=2, heads=4, context_length=40),
    )


def points(steps: int) -> list[int]:
    """Steps after which weights are kept: 64 times the powers of the root of two, up to `steps`."""
    found = [round(64 * 2 ** (half / 2)) for half in range(64)]
    return [step for step in found if step <= steps]


def rate(step: int) -> float:
    """Of step `step`, which counts from 0."""
    return PEAK * min((step + 1) / RISING, math.sqrt(RISING / (step + 1)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """The three objectives, and what they learn from."""

    fits: dict[ObjectiveName, Fit]
    maker: BatchMaker


def prepare(data: Path, work: Path, seed: int, threads: int, objectives: Sequence[ObjectiveName]) -> Stage:
    """Pictures decoded, the vocabulary learnt or read, each objective at random weights or where it was saved."""
    options = TrainOptions(
        data=tuple(str(data / f"{name}.parquet") for name in SOURCES),
        weights=tuple(map(float, SOURCES.values())),
        validation=(str(data / f"{MEASURED}.parquet"),),
        templates=TEMPLATES, arch="RN-nano-64", max_vocabulary=VOCABULARY, batch_size=BATCH, crop_min=0.6, flip=True,
        precision="bf16", device="cpu", threads=threads, seed=seed, log_every_steps=0,
    )  # fmt: skip
    config = towers()
    preprocess = Preprocess(image_size=config.image.image_size, mean=CLIP_MEAN, std=CLIP_STD)
    found = prepare_data(options, preprocess, begin=Silent().begin, summarise=Silent().summary, known=True)
    words = work / TOKENIZER_FILE
    if not words.exists():
        learnt = learn_vocabulary(found.texts(TEMPLATES), max_size=VOCABULARY).to_str().encode()
        write_atomically(words, lambda handle: handle.write(learnt))
    tokenizer = Tokenizer.load(words, config.text.context_length)
    entries = len(json.loads(words.read_bytes())["model"]["vocab"]) + 2  # the two markers
    config = replace(config, text=replace(config.text, vocab_size=entries))
    maker = BatchMaker(
        rows=found.rows,
        plan=RowPlan(found.groups, options.weights, BATCH, seed),
        store=found.store,
        tokenise=tokenizer,
        end_id=tokenizer.end_id,
        templates=TEMPLATES,
        same_text="positive",
        crop_min=options.crop_min,
        flip=options.flip,
        seed=seed,
    )
    fits = {}
    for name in objectives:
        folder = work / f"{name}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        compute = choose_compute(options)
        torch.manual_seed(seed)
        fits[name] = Fit(
            model=Clip(config),
            options=replace(options, objective=name, templates=TEMPLATES[:1]),
            maker=maker,
            sets=[few(found.sets[0])],
            preprocess=preprocess,
            compute=compute,
            run=folder,
            reporter=Silent(),
        )
        if (state := read_checkpoint(folder)) is not None:
            restore(fits[name], state)
    return Stage(fits=fits, maker=maker)


def few(each: ValidationSet) -> ValidationSet:
    """The first pictures of each class."""
    taken: dict[str | None, int] = {}
    places = []
    for place, label in enumerate(each.labels):
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= A_CLASS:
            places.append(place)
    return ValidationSet(
        name=each.name,
        pixels=each.pixels[places],
        captions=tuple(each.captions[place] for place in places),
        labels=tuple(each.labels[place] for place in places),
    )


def train(stage: Stage, steps: int) -> None:
    """Step by step, the three in turns on one batch; a fit that was saved later waits for the others."""
    kept = set(points(steps))
    first = min(fit.step_number for fit in stage.fits.values())
    began = time.monotonic()
    losses = dict.fromkeys(stage.fits, 0.0)
    for fit in stage.fits.values():
        train_mode(fit.model, freeze_batch_norm=False)
    with stage.maker.stream(first, steps) as batches:
        for step, batch in enumerate(batches, first):
            for name, fit in stage.fits.items():
                if fit.step_number > step:
                    continue
                losses[name] = fit.update(batch, rate(step)).loss
                fit.step_number += 1
                if fit.step_number in kept:
                    save_weights(weights_file(fit, fit.step_number), weights_of(fit))
                if fit.step_number % SAVE_EVERY == 0 or fit.step_number in kept:
                    fit.save()
            if (step + 1) % 32 == 0:
                pace = (step + 1 - first) / (time.monotonic() - began)
                said = " ".join(f"{name} {loss:.2f}" for name, loss in losses.items())
                print(f"step {step + 1} of {steps}, {said}, {60 * pace:.1f} steps a minute", flush=True)


def weights_of(fit: Fit) -> dict[str, torch.Tensor]:
    parts = {"model": fit.model, "extra": fit.objective.extra}
    return {f"{part}.{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}


def weights_file(fit: Fit, step: int) -> Path:
    return fit.folder / f"after-{step:05d}.safetensors"


def measure(stage: Stage, seed: int) -> None:
    """What has weights and no figure gets one, few pictures first."""
    for step in points(1 << 20):
        for name, fit in stage.fits.items():
            file, figure = weights_file(fit, step), weights_file(fit, step).with_suffix(".json")
            if figure.exists() or not file.exists():
                continue
            weights = load_weights(file)
            for part, module in (("model", fit.model), ("extra", fit.objective.extra)):
                own = {key.removeprefix(f"{part}."): value for key, value in weights.items() if key.startswith(part)}
                module.load_state_dict(own)
            share = next(value for key, value in fit.validate().items() if key.endswith("/top1"))
            line = {"objective": name, "seed": seed, "images": step * BATCH, "top1": share}
            figure.write_text(json.dumps(line))
            print(json.dumps(line), flush=True)


def curves(work: Path) -> list[Curve]:
    """One for each objective and seed, of the figures there are."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for file in sorted(work.glob("*/after-*.json")):
        line = json.loads(file.read_text())
        found.setdefault((line["objective"], line["seed"]), {})[line["images"]] = line["top1"]
    return [Curve(objective=name, seed=seed, top1=dict(sorted(x.items()))) for (name, seed), x in found.items()]


def draw(work: Path, figure: Path | None) -> None:
    found = curves(work)
    means = {name: mean_of_seeds(found, name) for name in OBJECTIVES}
    print(f"| pictures seen | {' | '.join(OBJECTIVES)} |\n| ---: | {' | '.join(['---:'] * len(OBJECTIVES))} |")
    for images in sorted(set[int]().union(*means.values())):
        row = [f"{100 * means[name][images]:.1f} %" if images in means[name] else "" for name in OBJECTIVES]
        print(f"| {images:,} | {' | '.join(row)} |")
    print("\nTimes as many pictures as contrastive for the same accuracy:")
    for other in OBJECTIVES[1:]:
        for line in ratios(means["contrastive"], means[other]):
            print(f"{other}: {line}")
    if figure is not None:
        draw_objectives(found, OBJECTIVES, figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("what", choices=("train", "measure", "draw"))
    parser.add_argument("--data", type=Path, help="folder of the training and dev files")
    parser.add_argument("--work", type=Path, required=True, help="folder for weights and figures; can be gone on with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=OBJECTIVES, nargs="+", default=OBJECTIVES, help="others in other processes")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    if given.what == "draw":
        draw(given.work, given.figure)
        return
    if given.data is None:
        parser.error(f"{given.what} needs --data")
    os.environ.setdefault("OMP_NUM_THREADS", str(given.threads))
    given.work.mkdir(parents=True, exist_ok=True)
    stage = prepare(given.data, given.work, given.seed, given.threads, given.only)
    if given.what == "train":
        train(stage, given.steps)
    else:
        measure(stage, given.seed)


if __name__ == "__main__":
    main()
