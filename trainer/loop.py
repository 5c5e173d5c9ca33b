"""The training loop: one step, one epoch, a save whenever one is due, an orderly end when asked to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from clipcli.bundle.spec import Preprocess
from clipcli.errors import DataError
from trainer.checkpoints import Checkpoint, append_metrics, save_best, save_checkpoint
from trainer.config import ResNetConfig
from trainer.curves import write_curves
from trainer.device import Compute
from trainer.encoding import Encoder
from trainer.gradients import choose_gradient, has_batch_statistics
from trainer.lora import merged
from trainer.matching import Matching
from trainer.optimiser import LearningRate, make_optimiser
from trainer.options import TrainOptions
from trainer.processes import Processes
from trainer.sampling import Batch, BatchMaker
from trainer.step import NotFinite, Objective, Step
from trainer.stopping import Interrupted, StopSignals
from trainer.towers import Clip
from trainer.tuning import train_mode
from trainer.validation import ValidationSet, score, validate

__all__ = ["Fit", "Interrupted", "Reporter"]


class Reporter(Protocol):
    """How a run tells a person where it stands."""

    def say(self, line: str) -> None: ...

    def step(self, done: int, total: int, loss: float, images_per_s: float) -> None: ...

    def epoch(self, metrics: dict[str, Any]) -> None: ...


class Fit:
    """Towers, optimiser and everything between them. `run()` trains to the end or until asked to stop."""

    def __init__(
        self,
        *,
        model: Clip,
        options: TrainOptions,
        maker: BatchMaker,
        sets: Sequence[ValidationSet],
        preprocess: Preprocess,
        compute: Compute,
        run: Path,
        reporter: Reporter,
        processes: Processes | None = None,
    ) -> None:
        self.model, self.options, self.maker, self.sets = model.to(compute.device), options, maker, sets
        self.compute, self.folder, self.reporter = compute, run, reporter
        if isinstance(model.config.image, ResNetConfig):  # convolutions are fastest with channels innermost
            for parameter in model.image_tower.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        torch.manual_seed(options.seed)
        self.encoder = Encoder(self.model, preprocess, compute, compile=options.compile)
        self.objective: Objective = Matching(self.encoder, labels=len(maker.labels), label_loss=options.label_loss)
        self.steps = max(1, round(options.epochs * maker.plan.steps_per_epoch))
        self.rate = LearningRate(peak=options.lr, steps=self.steps, warmup=options.warmup)
        self.optimiser = make_optimiser([model, self.objective.extra], options)
        self.scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.dtype == torch.float16)
        self.processes = processes or Processes()
        gradient = choose_gradient(
            model,
            self.objective,
            [parameter for group in self.optimiser.param_groups for parameter in group["params"]],
            chunk_size=options.chunk_size,
            processes=self.processes,
        )
        self.update = Step(
            self.objective, self.optimiser, self.scaler, max_grad_norm=options.max_grad_norm, gradient=gradient
        )
        self.step_number = 0
        self.best = -1.0
        self.waited = 0  # epochs since the best one
        self.losses: list[float] = []  # of this epoch

    def state(self) -> Checkpoint:
        """All that the next step depends on; batches depend on the step's number and the seed alone."""
        return {
            "model": self.model.state_dict(),
            "extra": self.objective.extra.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step_number,
            "best": self.best,
            "waited": self.waited,
            "losses": list(self.losses),
            "rows": self.maker.plan.rows,
        }

    def restore(self, state: Checkpoint) -> None:
        """The inverse of `state`.

        Raises:
            DataError: the state is not of this run, or the data has changed too much since.
        """
        try:
            self.model.load_state_dict(state["model"])
            self.objective.extra.load_state_dict(_extra(state))
            self.optimiser.load_state_dict(state["optimiser"])
            self.scaler.load_state_dict(state["scaler"])
            self.step_number, self.best, self.losses = int(state["step"]), float(state["best"]), list(state["losses"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            lines = str(error).splitlines()
            reason = lines[1 if len(lines) > 1 else 0].strip() if lines else type(error).__name__
            raise DataError(
                f"what is saved in {self.folder} does not fit the towers and the labels of the data, "
                f"which must be those the run began with: {reason}"
            ) from error
        self.waited = int(state.get("waited", 0))
        rows = state.get("rows", self.maker.plan.rows)
        if rows != self.maker.plan.rows:
            self.reporter.say(
                f"the data has {self.maker.plan.rows:,} pairs to train on now, and had {rows:,} when this was saved: "
                "the rest of the run will not be what it would have been"
            )

    def run(self) -> None:
        """Train from the present step to the last.

        Raises:
            Interrupted: SIGINT or SIGTERM came; the state is saved.
            DataError: loss or weights are not finite; the last saved state is from before that.
        """
        saved_at = started = time.monotonic()
        begun_at = self.step_number
        train_mode(self.model, freeze_batch_norm=self.options.freeze_batch_norm)
        if self.options.chunk_size and has_batch_statistics(self.model):
            self.reporter.say(
                "batch norm takes its statistics from each chunk by itself, so that the gradient is not quite that of "
                "the whole step; freeze_batch_norm=true makes it exact"
            )
        with StopSignals() as stop, self.maker.stream(self.step_number, self.steps) as batches:
            if self.losses and self._at_epoch_end():  # stopped after the epoch's last step and before its end
                self.end_epoch()
                save_checkpoint(self.folder, self.state())
            for batch in batches:
                if self.has_waited():
                    break
                loss = self.step(batch)
                self.step_number += 1
                self.losses.append(loss)
                done = self.step_number - begun_at
                rate = done * len(batch.pixels) / (time.monotonic() - started)
                self.reporter.step(self.step_number, self.steps, loss, rate)
                epoch_ends = self._at_epoch_end()
                if stop.signum or epoch_ends or time.monotonic() - saved_at > self.options.save_every_s:
                    self._check_weights()
                    if epoch_ends and not stop.signum:
                        self.end_epoch()
                    save_checkpoint(self.folder, self.state())
                    saved_at = time.monotonic()
                if stop.signum:
                    raise Interrupted(stop.signum, self.step_number)
        if self.step_number < self.steps:
            self.reporter.say(
                f"stopped at step {self.step_number:,} of {self.steps:,}: no epoch was better on the pictures held out "
                f"for {self.options.patience}"
            )

    def has_waited(self) -> bool:
        """Whether the run is to end before its last step."""
        return bool(self.options.patience) and self.waited >= self.options.patience

    def _at_epoch_end(self) -> bool:
        return self.step_number % self.maker.plan.steps_per_epoch == 0 or self.step_number == self.steps

    def _check_weights(self) -> None:
        """A gradient can be infinite where the loss is not; such weights must never be saved."""
        floats = [tensor for tensor in self.model.state_dict().values() if tensor.is_floating_point()]
        if not all(bool(torch.isfinite(tensor).all()) for tensor in floats):
            raise self._diverged("weights are", self.step_number)

    def _diverged(self, what: str, step: int) -> DataError:
        return DataError(
            f"the {what} not finite at step {step:,}; the learning rate {self.options.lr:g} is too high for this "
            f"model and data. What was saved before that is in {self.folder}"
        )

    def step(self, batch: Batch) -> float:
        """One update. Returns the loss."""
        try:
            return self.update(batch, self.rate(self.step_number)).loss
        except NotFinite:
            raise self._diverged("loss is", self.step_number + 1) from None

    def end_epoch(self) -> None:
        """Validate, report, and keep the weights if none were better."""
        metrics = self.validate()
        value = score(metrics)
        self.waited = 0 if value >= self.best else self.waited + 1
        line = {
            "epoch": math.ceil(self.step_number / self.maker.plan.steps_per_epoch),
            "step": self.step_number,
            "images": self.step_number * self.maker.plan.batch_size,
            "loss": sum(self.losses) / max(1, len(self.losses)),
            "logit_scale": self.model.clamped_logit_scale().item(),
            "learning_rate": self.rate(self.step_number - 1),
            "score": value,
            **{name: round(share, 6) for name, share in metrics.items()},
        }
        if self.has_waited():
            line["stopped_early"] = True
        self.losses = []
        if value >= self.best:
            self.best = value
            save_best(self.folder, merged(self.model))
        append_metrics(self.folder, line)
        write_curves(self.folder, line)
        self.reporter.epoch(line)
        train_mode(self.model, freeze_batch_norm=self.options.freeze_batch_norm)

    def validate(self) -> dict[str, float]:
        """Shares by name, as `trainer.validation.validate`."""
        return validate(
            self.model,
            self.sets,
            tokenise=self.maker.tokenise,
            templates=self.options.templates,
            to_device=self.encoder.to_device,
            autocast=self.compute.autocast,
        )


def _extra(state: Checkpoint) -> dict[str, Any]:
    """Parameters beside the towers'. Earlier versions had the classifier of labels only, under its own name."""
    if "extra" not in state and "label_head" in state:
        return {f"label_head.{name}": tensor for name, tensor in state["label_head"].items()}
    return dict(state["extra"])
