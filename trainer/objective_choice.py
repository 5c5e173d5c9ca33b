"""Which objective a run has, and the towers for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from clipcli.errors import UsageError
from trainer.config import ArchConfig
from trainer.distilling import Distilling
from trainer.encoding import Encoder
from trainer.matching import Matching
from trainer.options import TrainOptions
from trainer.predicting import Predicting, make_head
from trainer.processes import Processes
from trainer.soft_labels import SoftLabels
from trainer.step import Objective
from trainer.teacher import Teacher

__all__ = ["choose_objective", "suited"]


def suited(config: ArchConfig, options: TrainOptions) -> ArchConfig:
    """The towers for what is to be learnt.

    Raises:
        UsageError: a model that was trained in the one way is to be fine-tuned in the other; no map to attend to.
    """
    if options.objective == "bag-of-words" or options.objective == "caption":
        make_head(config, options.objective)  # better heard of before the pictures are read
        return dataclasses.replace(config, sigmoid=False)
    wanted = {"contrastive": False, "sigmoid": True}.get(options.objective, config.sigmoid)
    if wanted != config.sigmoid and options.start is not None:
        was = "sigmoid" if config.sigmoid else "contrastive"
        raise UsageError(f"{Path(options.start).name} was trained with --objective {was}, and is fine-tuned with that")
    return dataclasses.replace(config, sigmoid=wanted)


def choose_objective(
    encoder: Encoder,
    options: TrainOptions,
    *,
    labels: int,
    teacher: Teacher | None = None,
    soft: SoftLabels | None = None,
    processes: Processes | None = None,
) -> Objective:
    """What the options say, for towers made for it. A text tower that nothing is learnt by stays as it is."""
    if options.objective == "bag-of-words" or options.objective == "caption":
        encoder.model.text_tower.requires_grad_(False)
        encoder.model.logit_scale.requires_grad_(False)
        return Predicting(encoder, options.objective)
    matching = Matching(encoder, labels=labels, label_loss=options.label_loss)
    if teacher is None and soft is None:
        return matching
    return Distilling(matching, options, teacher=teacher, soft=soft, processes=processes or Processes())
