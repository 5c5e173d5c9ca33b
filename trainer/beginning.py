"""What a run begins with: the weights and words of a bundle or of another run, or an architecture and nothing else."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipcli.bundle.spec import TOKENIZER_FILE, WEIGHTS_FILE, Preprocess, preprocess_from_dict, read_spec
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import DataError, ModelError, UsageError
from trainer import checkpoints
from trainer.architectures import architecture
from trainer.config import ArchConfig
from trainer.options import PREDICTING, TrainOptions
from trainer.resolution import enlarged

__all__ = ["CLIP_MEAN", "CLIP_STD", "Start", "start_of", "templates_of", "tokenizer_of"]

# Of the pictures CLIP was trained on (the original release); for pretraining any fixed values do.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What a run begins with: an architecture, and the files with the weights and words it takes, if any."""

    config: ArchConfig
    preprocess: Preprocess
    weights: Path | None = None
    words: Path | None = None
    larger: bool = False  # than the pictures the weights were trained on
    facts: dict[str, Any]


def start_of(options: TrainOptions) -> Start:
    """Raises NotFoundError, ModelError, DataError, UsageError where there is nothing to begin with."""
    if options.start is None:
        config = architecture(options.arch or "")
        if options.final_resolution:
            enlarged(config, options.final_resolution)  # a size that does not suit is better heard of now
        preprocess = Preprocess(image_size=config.image.image_size, mean=CLIP_MEAN, std=CLIP_STD)
        return Start(config=config, preprocess=preprocess, facts={"provenance": {}, "start": None})
    folder = Path(options.start)
    started = _of_run(folder) if _is_run(folder) else _of_bundle(folder)
    if options.image_size in (0, started.config.image.image_size):
        return started
    return dataclasses.replace(
        started,
        config=enlarged(started.config, options.image_size),
        preprocess=dataclasses.replace(started.preprocess, image_size=options.image_size),
        larger=True,
    )


def tokenizer_of(start: Path) -> Tokenizer:
    """The words of the bundle or run that is fine-tuned."""
    if not _is_run(start):
        return Tokenizer.of(start, read_spec(start))
    facts = checkpoints.read_facts(start)
    return Tokenizer.load(
        start / TOKENIZER_FILE,
        ArchConfig.from_dict(facts["towers"]).text.context_length,
        cleaning=facts.get("text_cleaning", "none"),
        pad_id=facts.get("pad_id", 0),
    )


def templates_of(start: Path) -> tuple[str, ...]:
    """How the bundle or run that is fine-tuned makes sentences of labels, and so will what becomes of it."""
    return TrainOptions.load(start).templates if _is_run(start) else read_spec(start).templates


def _is_run(folder: Path) -> bool:
    return (folder / checkpoints.FACTS).is_file()


def _of_run(run: Path) -> Start:
    """The weights that an export of `run` would take."""
    options = TrainOptions.load(run)
    if options.objective in PREDICTING:
        raise UsageError(
            f"{run} has learnt by --objective {options.objective}, which leaves no text tower to go on with"
        )
    weights = next((run / name for name in (checkpoints.FINAL, checkpoints.BEST) if (run / name).exists()), None)
    if weights is None:
        raise DataError(f"{run} holds no measured weights yet; go on with it by: clip train --resume {run}")
    facts = checkpoints.read_facts(run)
    handed_on = ("text_cleaning", "pad_id", "provenance", "licence")
    return Start(
        config=ArchConfig.from_dict(facts["towers"]),
        preprocess=preprocess_from_dict(facts["preprocess"]),
        weights=weights,
        words=run / TOKENIZER_FILE,
        facts={name: facts[name] for name in handed_on if name in facts} | {"start": options.name},
    )


def _of_bundle(bundle: Path) -> Start:
    spec = read_spec(bundle)
    if not spec.towers or not (bundle / WEIGHTS_FILE).is_file():
        raise ModelError(f"model {spec.name} comes without weights to train on; choose another with --from")
    # What may be done with a model goes on to whatever is made of it.
    facts = {"text_cleaning": spec.text_cleaning, "pad_id": spec.pad_id} | {
        "provenance": dict(spec.provenance),
        "start": spec.name,
        "licence": spec.licence,
    }
    return Start(
        config=ArchConfig.from_dict(spec.towers),
        preprocess=spec.preprocess,
        weights=bundle / WEIGHTS_FILE,
        words=bundle / TOKENIZER_FILE,
        facts=facts,
    )
