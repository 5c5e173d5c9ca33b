"""What a run begins with: the weights and words of a bundle, or an architecture and nothing else."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipcli.bundle.spec import WEIGHTS_FILE, Preprocess, read_spec
from clipcli.errors import ModelError
from trainer.architectures import architecture
from trainer.config import ArchConfig
from trainer.options import TrainOptions
from trainer.resolution import enlarged

__all__ = ["CLIP_MEAN", "CLIP_STD", "Start", "start_of"]

# Of the pictures CLIP was trained on (the original release); for pretraining any fixed values do.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What a run begins with: an architecture, and the bundle whose weights it takes, if any."""

    config: ArchConfig
    preprocess: Preprocess
    bundle: Path | None
    facts: dict[str, Any]


def start_of(options: TrainOptions) -> Start:
    if options.start is None:
        config = architecture(options.arch or "")
        if options.final_resolution:
            enlarged(config, options.final_resolution)  # a size that does not suit is better heard of now
        preprocess = Preprocess(image_size=config.image.image_size, mean=CLIP_MEAN, std=CLIP_STD)
        return Start(config=config, preprocess=preprocess, bundle=None, facts={"provenance": {}, "start": None})
    bundle = Path(options.start)
    spec = read_spec(bundle)
    if not spec.towers or not (bundle / WEIGHTS_FILE).is_file():
        raise ModelError(f"model {spec.name} comes without weights to train on; choose another with --from")
    # What may be done with a model goes on to whatever is made of it.
    facts = {"text_cleaning": spec.text_cleaning, "pad_id": spec.pad_id} | {
        "provenance": dict(spec.provenance),
        "start": spec.name,
        "licence": spec.licence,
    }
    config, preprocess = ArchConfig.from_dict(spec.towers), spec.preprocess
    if options.image_size:
        config = enlarged(config, options.image_size)
        preprocess = dataclasses.replace(preprocess, image_size=options.image_size)
    return Start(config=config, preprocess=preprocess, bundle=bundle, facts=facts)
