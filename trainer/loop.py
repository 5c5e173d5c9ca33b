"""The training loop: one step, one epoch, a save whenever one is due, an orderly end when asked to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from clipcli.bundle.spec import Preprocess
from clipcli.errors import DataError
from trainer.averaging import Average
from trainer.broken import Broken
from trainer.checkpoints import (
    CHECKPOINT,
    read_checkpoint,
    save_best,
    save_checkpoint,
)
from trainer.config import ResNetConfig
from trainer.device import Compute
from trainer.encoding import Encoder
from trainer.gradients import choose_gradient, has_batch_statistics
from trainer.half_precision import prepare_memory
from trainer.lora import merged
from trainer.objective_choice import choose_objective
from trainer.optimiser import LearningRate, forget, make_optimiser
from trainer.options import TrainOptions
from trainer.predicting import Predicting, head_weights
from trainer.processes import Processes
from trainer.record import Record, Reporter
from trainer.run_state import restore, state_of
from trainer.sampling import Batch, BatchMaker
from trainer.soft_labels import SoftLabels
from trainer.step import NotFinite, Objective, Step
from trainer.stopping import Interrupted, StopSignals
from trainer.teacher import Teacher
from trainer.towers import Clip
from trainer.tuning import train_mode
from trainer.validation import ValidationSet, score, validate

__all__ = ["Fit", "Interrupted", "Reporter"]

ECHO_S = 10.0  # within which torchrun passes a signal on
SMALLER = 0.1  # of the learning rate, once the loss was not finite


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
        begin: int = 0,
        teacher: Teacher | None = None,
        soft: SoftLabels | None = None,
    ) -> None:
        self.model, self.options, self.maker, self.sets = model.to(compute.device), options, maker, sets
        self.compute, self.folder = compute, run
        if isinstance(model.config.image, ResNetConfig):  # convolutions are fastest with channels innermost
            for parameter in model.image_tower.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        prepare_memory(model, options, compute)
        torch.manual_seed(options.seed)
        self.encoder = Encoder(self.model, preprocess, compute, compile=options.compile)
        self.processes = processes or Processes()
        self.objective: Objective = choose_objective(
            self.encoder,
            options,
            labels=len(maker.labels),
            teacher=teacher,
            soft=soft,
            processes=self.processes,
        )
        maker.teacher, maker.soft = teacher, soft.values if soft is not None else None
        steps = max(1, round(options.epochs * maker.plan.steps_per_epoch))
        self.begin, self.steps = begin, begin + steps  # steps before `begin` were another part of the run
        self.rate = LearningRate(peak=options.lr, steps=steps, warmup=options.warmup)
        maker.own = self.processes.own
        self.optimiser = make_optimiser([model, self.objective.extra], options, self.processes)
        self.scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.dtype == torch.float16)
        gradient = choose_gradient(
            model,
            self.objective,
            [parameter for group in self.optimiser.param_groups for parameter in group["params"]],
            chunk_size=options.chunk_size,
            processes=self.processes,
        )
        self.update = Step(
            self.objective,
            self.optimiser,
            self.scaler,
            max_grad_norm=options.max_grad_norm,
            gradient=gradient,
            logit_scale=model.logit_scale,
        )
        self.step_number = begin
        self.best = -1.0
        self.waited = 0  # epochs since the best one
        self.rate_factor = 1.0  # smaller once the run has had to go back
        self.average = Average(model, options.ema_decay) if options.ema_decay else None
        self.beginning: dict[str, Any] = {}  # weights to go back to until something is saved
        self.record = Record(run, reporter, every=options.log_every_steps, lead=self.processes.lead)
        self.broken = Broken(maker, self.processes, share=options.max_broken, run=run, say=self.record.say)

    def run(self) -> None:
        """Train from the present step to the last.

        Raises:
            Interrupted: SIGINT or SIGTERM came; the state is saved.
            DataError: the loss is not finite, and was not with a larger learning rate either; too many pictures broke.
        """
        train_mode(self.model, freeze_batch_norm=self.options.freeze_batch_norm)
        several = self.processes.world > 1
        if (self.options.chunk_size or several) and has_batch_statistics(self.model):
            self.record.say(
                "batch norm takes its statistics from each part of a step by itself, so that the gradient is not quite "
                "that of the whole step; freeze_batch_norm=true makes it exact"
            )
        if not (self.folder / CHECKPOINT).exists() or self.step_number == self.begin:
            modules: dict[str, torch.nn.Module] = {"model": self.model, "extra": self.objective.extra}
            for name, module in modules.items():
                self.beginning[name] = {key: part.to("cpu", copy=True) for key, part in module.state_dict().items()}
        with StopSignals(echo_s=ECHO_S if several else 0.0) as stop:
            if self.record.losses and self._at_epoch_end():  # stopped after the epoch's last step and before its end
                self.end_epoch()
                self.save()
            while self.step_number < self.steps and not self.has_waited():
                try:
                    self._steps(stop)
                except NotFinite as error:
                    self._go_back(str(error))
        self.broken.remark()
        if self.step_number < self.steps:
            self.record.say(
                f"stopped at step {self.step_number:,} of {self.steps:,}: no epoch was better on the pictures held out "
                f"for {self.options.patience}"
            )

    def _steps(self, stop: StopSignals) -> None:
        """Steps until the last one, until the run has waited long enough, or until a signal. Raises NotFinite."""
        saved_at = time.monotonic()
        self.record.pace.go_on()
        with self.maker.stream(self.step_number, self.steps) as batches:
            for batch in batches:
                self._step(batch)
                late = time.monotonic() - saved_at > self.options.save_every_s
                signum, due = self.processes.highest(stop.signum, int(late))
                every = self.options.save_every_steps
                epoch_ends = self._at_epoch_end()
                if signum or epoch_ends or due or (every and self.step_number % every == 0):
                    if not self._weights_are_finite():
                        raise NotFinite("model")
                    if epoch_ends and not signum:
                        self.end_epoch()
                    self.save()
                    saved_at = time.monotonic()
                    self.record.pace.go_on()
                if signum:
                    raise Interrupted(signum, self.step_number)
                if self.has_waited():
                    return

    def _step(self, batch: Batch) -> None:
        """One update, and what is told of it. Raises NotFinite, and DataError where too many pictures have broken."""
        batch = self.broken.settled(batch, self.step_number)
        update = self.update(batch, self.learning_rate(self.step_number))
        if self.average is not None:
            self.average.update()
        self.step_number += 1
        self.record.step(
            update,
            step=self.step_number,
            steps=self.steps,
            images=len(batch.positives),
        )

    def learning_rate(self, step: int) -> float:
        """Of step `step`, counted from 0."""
        return self.rate_factor * self.rate(step - self.begin)

    def save(self) -> None:
        """What the run goes on from."""
        state = state_of(self)
        if self.processes.lead:
            save_checkpoint(self.folder, state)
            self.record.saved()
        self.beginning = {}

    def _go_back(self, what: str) -> None:
        """To the last good state, once, with a smaller rate.

        Raises:
            DataError: this is the second time.
        """
        failed, rate = self.step_number + 1, self.learning_rate(self.step_number)
        if self.rate_factor < 1:
            raise DataError(
                f"the {what} is not finite at step {failed:,}, with {SMALLER:g} of the learning rate ({rate:g}) as "
                f"before with all of it; look at the data, or give a smaller --lr. "
                f"{self.folder} has what was saved before that"
            )
        if self.beginning:
            self.model.load_state_dict(self.beginning["model"])
            self.objective.extra.load_state_dict(self.beginning["extra"])
            forget(self.optimiser)
            self.step_number = self.begin
            self.record.restore({"losses": []})
            self.average = Average(self.model, self.options.ema_decay) if self.average is not None else None
        else:
            state = read_checkpoint(self.folder)
            assert state is not None  # without one there is a beginning
            restore(self, state)
        self.rate_factor = SMALLER
        self.record.back_to(self.step_number)
        self.save()  # a kill from here on must not try the larger rate again
        self.record.say(
            f"the {what} is not finite at step {failed:,}: back to step {self.step_number:,}, and on with "
            f"{SMALLER:g} of the learning rate"
        )
        train_mode(self.model, freeze_batch_norm=self.options.freeze_batch_norm)

    def has_waited(self) -> bool:
        """Whether the run is to end before its last step."""
        return bool(self.options.patience) and self.waited >= self.options.patience

    def _at_epoch_end(self) -> bool:
        return self.step_number % self.maker.plan.steps_per_epoch == 0 or self.step_number == self.steps

    def _weights_are_finite(self) -> bool:
        """The step that was taken may have made them infinite; such weights must never be saved."""
        floats = [tensor for tensor in self.model.state_dict().values() if tensor.is_floating_point()]
        return all(bool(torch.isfinite(tensor).all()) for tensor in floats)

    def end_epoch(self) -> None:
        """Validate, report, and keep the weights if none were better; the averaged ones where there is an average."""
        if self.average is None:
            self._end_epoch()
        else:
            with self.average.in_place():
                self._end_epoch()
        train_mode(self.model, freeze_batch_norm=self.options.freeze_batch_norm)

    def _end_epoch(self) -> None:
        metrics = self.processes.told_by_lead(self.validate() if self.processes.lead else {})
        value = score(metrics)
        self.waited = 0 if value >= self.best else self.waited + 1
        line = {
            "epoch": math.ceil(self.step_number / self.maker.plan.steps_per_epoch),
            "step": self.step_number,
            "images": self.step_number * self.maker.plan.batch_size,
            "loss": sum(self.record.losses) / max(1, len(self.record.losses)),
            "logit_scale": self.model.clamped_logit_scale().item(),
            "learning_rate": self.learning_rate(self.step_number - 1),
            "score": value,
            **{name: round(share, 6) for name, share in metrics.items()},
        }
        if self.has_waited():
            line["stopped_early"] = True
        if value >= self.best:
            self.best = value
            if self.processes.lead:
                save_best(self.folder, self._to_keep())
        self.record.epoch(line)

    def _to_keep(self) -> dict[str, torch.Tensor]:
        if isinstance(self.objective, Predicting):
            return head_weights(self.objective)
        return merged(self.model)

    def validate(self) -> dict[str, float]:
        """Shares by name, as `trainer.validation.validate`."""
        if isinstance(self.objective, Predicting):
            return self.objective.validate(
                self.sets, tokenise=self.maker.tokenise, end_id=self.maker.end_id, templates=self.options.templates
            )
        return validate(
            self.model,
            self.sets,
            tokenise=self.maker.tokenise,
            templates=self.options.templates,
            to_device=self.encoder.to_device,
            autocast=self.compute.autocast,
        )
