"""Everything that decides a training run, validated once, saved beside its checkpoints as `options.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from clipcli.errors import DataError, NotFoundError, UsageError

__all__ = ["PREDICTING", "ObjectiveName", "Precision", "SameText", "TrainOptions", "Tune"]

SameText = Literal["positive", "ignore", "negative"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Tune = Literal["full", "lora", "head", "image", "text"]
ObjectiveName = Literal["auto", "contrastive", "sigmoid", "bag-of-words", "caption"]
PREDICTING = ("bag-of-words", "caption")  # learn an image tower alone: for comparison, nothing to search with


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """One run. Paths are absolute once a run has begun, so that it can be resumed from anywhere."""

    data: tuple[str, ...]
    name: str = "model"  # what the finished model is called
    weights: tuple[float, ...] = ()  # share of each source in a batch; by number of rows where empty
    validation: tuple[str, ...] = ()  # files of their own; a part of the data is held out where empty
    image_column: str | None = None  # found out where None
    text_column: str | None = None
    group: str | None = None  # column: rows with the same value go into the same batch
    shuffle_buffer: int = 0  # pairs drawn from at a time, shard after shard; 0 draws from all
    templates: tuple[str, ...] = ("a photo of a {}.",)  # turn labels into sentences

    start: str | None = None  # bundle to fine-tune; None with `arch` pretrains
    arch: str | None = None
    max_vocabulary: int = 49_152

    epochs: float = 10.0  # passes over the rows of all sources
    batch_size: int = 128
    lr: float = 5e-5  # at the peak
    weight_decay: float = 0.1
    beta2: float = 0.98  # table 18 of the paper, Vision Transformers
    warmup: float = 0.1  # share of all steps
    max_grad_norm: float = 1.0
    same_text: SameText = "positive"
    objective: ObjectiveName = "auto"  # what is learnt; auto: what the towers were made for
    label_loss: float = 0.0  # weight of a linear classifier on the image embeddings, dropped at the end
    crop_min: float = 1.0  # least side of the random square crop, as a share of the shorter side
    flip: bool = False  # mirror half of the pictures
    colour: float = 0.0  # how far brightness, contrast and saturation of a picture vary, from 0 to 1
    erase: float = 0.0  # share of the pictures with a random square hidden
    distill: str | None = None  # bundle to learn from as well: `trainer/distilling.py`
    distill_weight: float = 1.0  # of the teacher's similarities
    distill_features: float = 1.0  # of the directions of its vectors
    distill_temperature: float = 1.0
    soft_labels: str | None = None  # column of probabilities or vectors
    soft_weight: float = 1.0
    freeze_batch_norm: bool = False  # keep running statistics and normalise by them
    tune: Tune = "full"  # which parameters change: `trainer/tuning.py`
    rank: int = 16  # of the changes, with `lora`
    layer_decay: float = 1.0  # factor to the learning rate for each layer further from the end
    anchor: float = 0.0  # how far fine-tuned weights go back towards the start: `trainer/anchor.py`
    keep: tuple[str, ...] = ()  # files that show what is left of what the start model knew
    by_pairs: tuple[str, ...] = ()  # options that the number of pairs will decide; none once a run has begun
    patience: int = 0  # epochs without a better one after which a run stops; 0 never stops early

    image_size: int = 0  # pixels to fine-tune at, no fewer than the start model has; 0 keeps its own
    final_resolution: int = 0  # pixels of one more epoch at the end, with larger pictures; from scratch
    chunk_size: int = 0  # pairs that go through the towers at once; 0 is all of a step's
    recompute: bool = False  # gradient checkpointing of the transformers: less memory, a third more work
    half_moments: bool = False  # Adam's in 16 bits, as the paper
    half_text: bool = False  # matrices of the text tower in 16 bits, as the paper
    shard_optimiser: bool = False  # Adam's moments dealt out to the processes that torchrun starts
    ema_decay: float = 0.0  # of an average of the weights, which is measured and kept; 0 keeps the weights themselves

    precision: Precision = "auto"
    compile: bool = False
    device: str = "auto"
    max_broken: float = 0.1  # share of the pairs whose picture may be unreadable
    threads: int = 0  # of torch; 0 leaves its own choice
    seed: int = 0
    cache_mb: int = 0  # decoded pictures kept in memory; 0 is a third of what is free
    save_every_s: float = 300.0  # between checkpoints within an epoch
    save_every_steps: int = 0  # as well; 0 goes by the time alone
    log_every_steps: int = 50  # a line of figures between those of epochs; 0 writes none
    validation_share: float = 0.05
    validation_least: int = 2  # pictures held out where there are as many, up to a fifth of all
    validation_limit: int = 1_000  # pictures held out at most

    def __post_init__(self) -> None:
        for name in (
            "max_vocabulary",
            "batch_size",
            "threads",
            "seed",
            "cache_mb",
            "validation_limit",
            "validation_least",
            "chunk_size",
            "image_size",
            "final_resolution",
            "save_every_steps",
            "log_every_steps",
            "rank",
            "patience",
            "shuffle_buffer",
        ):
            if not isinstance(value := getattr(self, name), int) or isinstance(value, bool):
                raise UsageError(f"{name} is a whole number, not {value!r}")
        for name in (
            "recompute",
            "half_moments",
            "half_text",
            "shard_optimiser",
            "compile",
            "flip",
            "freeze_batch_norm",
        ):
            if not isinstance(value := getattr(self, name), bool):
                raise UsageError(f"{name} is true or false, not {value!r}")
        for name in ("image_column", "text_column", "group", "soft_labels", "distill", "arch"):
            if not isinstance(value := getattr(self, name), str | None):
                raise UsageError(f"{name} is a text, not {value!r}")
        problems = {
            "give at least one file or folder of pairs": not self.data,
            "give as many weights as sources, each above 0": bool(self.weights)
            and (len(self.weights) != len(self.data) or min(self.weights) <= 0),
            "a template needs {} where the label goes": not self.templates
            or any("{}" not in template for template in self.templates),
            "epochs must be above 0": not 0 < self.epochs < math.inf,
            "the batch size must be at least 2": self.batch_size < 2,
            "the learning rate must lie between 0 and 1": not 0 < self.lr < 1,
            "weight decay must not be negative": not 0 <= self.weight_decay < math.inf,
            "beta2 must lie between 0 and 1": not 0 < self.beta2 < 1,
            "the final resolution, the chunk size, the buffer and numbers of steps must not be negative": min(
                self.final_resolution, self.chunk_size, self.shuffle_buffer, self.save_every_steps, self.log_every_steps
            )
            < 0,
            "image_size is for fine-tuning; --arch has a size of its own": self.image_size < 0
            or (bool(self.image_size) and self.start is None),
            "final_resolution is for pretraining, with --scratch": bool(self.final_resolution)
            and self.start is not None,
            "the decay of the average lies from 0 to below 1": not 0 <= self.ema_decay < 1,
            "warm-up is a share of the steps, from 0 to below 1": not 0 <= self.warmup < 1,
            "the gradient norm's limit must be above 0": not self.max_grad_norm > 0,
            f"--same-text is one of {', '.join(get_args(SameText))}": self.same_text not in get_args(SameText),
            f"--precision is one of {', '.join(get_args(Precision))}": self.precision not in get_args(Precision),
            f"--objective is one of {', '.join(get_args(ObjectiveName))}": self.objective
            not in get_args(ObjectiveName),
            f"--objective {self.objective} learns an image tower alone, from nothing: it goes with --scratch, and not "
            "with label_loss, ema_decay, half_text, final_resolution or chunk_size": self.objective in PREDICTING
            and (
                self.start is not None
                or any((self.label_loss, self.ema_decay, self.half_text, self.final_resolution, self.chunk_size))
            ),
            "--distill and --soft-labels go with the objectives contrastive and sigmoid": self.objective in PREDICTING
            and bool(self.distill or self.soft_labels),
            "weights of what is distilled must not be negative": not all(
                0 <= value < math.inf for value in (self.distill_weight, self.distill_features, self.soft_weight)
            ),
            "with --distill, distill_weight or distill_features must be above 0": self.distill is not None
            and not self.distill_weight + self.distill_features > 0,
            "the temperature of distillation must be above 0": not 0 < self.distill_temperature < math.inf,
            f"--tune is one of {', '.join(get_args(Tune))}": self.tune not in get_args(Tune),
            "--tune chooses what fine-tuning changes; from scratch everything is trained": self.tune != "full"
            and self.start is None,
            "the rank of low-rank changes is at least 1": self.rank < 1,
            "--anchor lies between 0, the fine-tuned weights, and 1, those of the start": not 0 <= self.anchor <= 1,
            "--anchor and --keep go with fine-tuning; what is trained from scratch has no start": self.start is None
            and bool(self.anchor or self.keep),
            "the learning rate's decay by layers must lie between 0 and 1": not 0 < self.layer_decay <= 1,
            "patience is a number of epochs, 0 for all of them": self.patience < 0,
            "the weight of the label loss must not be negative": not 0 <= self.label_loss < math.inf,
            "the least crop is a share of the shorter side, above 0 and at most 1": not 0 < self.crop_min <= 1,
            "colour and erase lie between 0 and 1": not (0 <= self.colour <= 1 and 0 <= self.erase <= 1),
            "the vocabulary holds between 300 and 49,152 entries": not 300 <= self.max_vocabulary <= 49_152,
            "the validation share must lie between 0 and 0.5": not 0 < self.validation_share <= 0.5,
            "at least two validation pictures are needed": min(self.validation_limit, self.validation_least) < 2,
            "threads, cache and the time between checkpoints must not be negative": not all(
                value >= 0 for value in (self.threads, self.cache_mb, self.save_every_s)
            ),
            "--max-broken is a share of the pairs, from 0 to 1": not 0 <= self.max_broken <= 1,
            "the seed lies between 0 and 2^63": not 0 <= self.seed < 2**63,
            "give either a model to start from or an architecture": (self.start is None) == (self.arch is None),
        }
        for complaint, broken in problems.items():
            if broken:
                raise UsageError(complaint)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TrainOptions:
        """From JSON or a recipe; lists become tuples.

        Raises:
            UsageError: an unknown name, or a value that makes no sense.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UsageError(f"unknown training option {unknown[0]!r}; there are: {', '.join(sorted(known))}")
        plain: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in values.items()}
        try:
            return cls(**plain)
        except TypeError as error:
            raise UsageError(f"the training options make no sense: {error}") from error

    @classmethod
    def load(cls, run: Path) -> TrainOptions:
        """The options of a run folder.

        Raises:
            NotFoundError: there is no such folder.
            DataError: it holds no readable `options.json`.
        """
        if not run.exists():
            raise NotFoundError(f"no such training run: {run}")
        try:
            values = json.loads((run / "options.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{run} is no training run that can be resumed: {error}") from error
        if not isinstance(values, dict):
            raise DataError(f"{run / 'options.json'} holds no options; this is no training run that can be resumed")
        return cls.from_mapping(values)
