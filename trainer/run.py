"""`clip train` as a function: data, towers and training, in a folder that can be resumed and exported."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from clipcli.bundle.spec import TOKENIZER_FILE, WEIGHTS_FILE, preprocess_from_dict
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import UsageError
from trainer import checkpoints
from trainer.beginning import CLIP_MEAN, CLIP_STD, start_of
from trainer.broken import write_skipped
from trainer.config import ArchConfig
from trainer.data import Data, DataSummary, prepare_data
from trainer.defaults import settle
from trainer.device import choose_compute, wants_cuda
from trainer.finishing import Examples, Teller, finish
from trainer.locked_texts import lock_texts
from trainer.loop import Fit, Reporter
from trainer.mixing import row_plan
from trainer.objective_choice import suited
from trainer.options import PREDICTING, TrainOptions
from trainer.outcome import best_metrics, is_finished
from trainer.processes import Processes, together
from trainer.record import Silent
from trainer.resolution import enlarge_run, enlarged_at, fits, last_epoch, with_positions
from trainer.run_state import restore
from trainer.sampling import BatchMaker
from trainer.soft_labels import SoftLabels, read_soft_labels
from trainer.split import Split
from trainer.teacher import Teacher
from trainer.towers import Clip
from trainer.tuning import choose_parameters, trained_numbers
from trainer.validation import by_luck, score
from trainer.vocabulary import learn_vocabulary

__all__ = ["CLIP_MEAN", "CLIP_STD", "RunReporter", "Trained", "examine", "is_finished", "resume", "train"]


class RunReporter(Reporter, Teller, Protocol):
    """A reporter that also shows what comes before the first step."""

    def summary(self, summary: DataSummary) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """Where a finished run left its model, and how good it is."""

    run: Path
    bundle: Path | None  # none where nothing is to be exported
    metrics: dict[str, Any]
    examples: Examples | None = None  # of what the model finds among the held-out pictures, and found before


def train(options: TrainOptions, run: Path, reporter: RunReporter) -> Trained:
    """Begin a new run in the folder `run`, which must be empty or new.

    Raises:
        UsageError: the folder holds another run.
        NotFoundError, DataError, DeviceError, ModelError: as the parts raise them.
        Interrupted: a signal came; the run can be resumed.
    """
    with together(cuda=wants_cuda(options)) as processes:
        if not processes.lead:
            with processes.agreed():  # until the first one has written the folder
                pass
            return _resume(run, Silent(), processes)
        with processes.agreed():
            options, data = _begin(options, run, reporter)
        with processes.agreed():  # until the others have read the data
            pass
        return _go(options, run, data, reporter, processes)


def examine(options: TrainOptions, reporter: RunReporter) -> Data:
    """Read and judge the data as a run would, and take no step. Raises as `train` does before the first one."""
    return prepare_data(options, start_of(options).preprocess, begin=reporter.begin, summarise=reporter.summary)


def _begin(options: TrainOptions, run: Path, reporter: RunReporter) -> tuple[TrainOptions, Data]:
    """The options with nothing left open, the data, and a folder that can be resumed."""
    _check_free(run)
    choose_compute(options)  # a device that cannot be used is better heard of now than after the pictures
    started = start_of(options)
    data = prepare_data(options, started.preprocess, begin=reporter.begin, summarise=reporter.summary)
    config = suited(started.config, options)
    if options.by_pairs:
        options, named = settle(options, data.summary.training), options.by_pairs
        values = ", ".join(f"{name} {_shown(getattr(options, name))}" for name in named)
        reporter.say(f"for {data.summary.training:,} pairs: {values}")
    if started.bundle is None:
        vocabulary = learn_vocabulary(data.texts(options.templates), max_size=options.max_vocabulary)
        words = vocabulary.to_str().encode()
        text = dataclasses.replace(config.text, vocab_size=vocabulary.get_vocab_size(with_added_tokens=True))
        config = dataclasses.replace(config, text=text)
        reporter.say(f"vocabulary: {text.vocab_size:,} entries learnt from the texts")
    else:
        words = (started.bundle / TOKENIZER_FILE).read_bytes()
    facts = {"towers": config.to_dict(), "preprocess": dataclasses.asdict(started.preprocess), **started.facts}
    run.mkdir(parents=True, exist_ok=True)
    if started.bundle is not None:
        if options.image_size:
            weights = checkpoints.load_weights(started.bundle / WEIGHTS_FILE)
            checkpoints.save_weights(run / checkpoints.START, with_positions(weights, config))
        else:
            checkpoints.copy_file(started.bundle / WEIGHTS_FILE, run / checkpoints.START)
    _write(run / TOKENIZER_FILE, words)
    write_skipped(run, data.summary.refused, ())
    data.split.save(run)
    _write(run / "towers.json", json.dumps(facts, indent=2).encode())
    _write(run / "options.json", options.to_json().encode())  # last: a folder with it can be resumed
    return options, data


def _check_free(run: Path) -> None:
    """A run gets a folder of its own, which can be written."""
    if (run / "options.json").exists():
        raise UsageError(
            f"{run} holds a run already; go on with it by 'clip train --resume {run}', "
            "or name another folder with --output"
        )
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise UsageError(f"{run} is not an empty folder; name another one with --output")
    existing = next(folder for folder in (run, *run.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"{run} cannot be made: {existing} may not be written; name another folder with --output")


def resume(run: Path, reporter: RunReporter) -> Trained:
    """Go on with a run from its last saved step.

    Raises:
        DataError: the folder is no run, or its data has become unfit.
        Interrupted: as `train`.
    """
    with together(cuda=wants_cuda(TrainOptions.load(run))) as processes:
        return _resume(run, reporter if processes.lead else Silent(), processes)


def _resume(run: Path, reporter: RunReporter, processes: Processes) -> Trained:
    with processes.agreed():
        options = TrainOptions.load(run)
        choose_compute(options)
        facts = checkpoints.read_facts(run)
        preprocess = preprocess_from_dict(facts["preprocess"])
        data = prepare_data(
            options, preprocess, begin=reporter.begin, summarise=reporter.summary, known=True, split=Split.load(run)
        )
    return _go(options, run, data, reporter, processes)


def _go(options: TrainOptions, run: Path, data: Data, reporter: RunReporter, processes: Processes) -> Trained:
    facts = checkpoints.read_facts(run)
    config = ArchConfig.from_dict(facts["towers"])
    compute = choose_compute(options)
    import torch

    torch.manual_seed(options.seed)
    model = Clip(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    state = checkpoints.read_checkpoint(run)
    if options.start is not None and state is None:
        weights = run / checkpoints.START
        checkpoints.fill(model, checkpoints.load_weights(weights), weights)
    choose_parameters(model, options)
    tokenizer = Tokenizer.load(
        run / TOKENIZER_FILE,
        config.text.context_length,
        cleaning=facts.get("text_cleaning", "none"),
        pad_id=facts.get("pad_id", 0),
    )
    batch_size = min(options.batch_size, sum(len(group) for group in data.groups))
    maker = BatchMaker(
        rows=data.rows,
        plan=row_plan(data.rows, data.groups, options),
        store=data.store,
        tokenise=tokenizer,
        end_id=tokenizer.end_id,
        templates=options.templates,
        same_text=options.same_text,
        crop_min=options.crop_min,
        flip=options.flip,
        colour=options.colour,
        erase=options.erase,
        seed=options.seed,
    )
    preprocess = preprocess_from_dict(facts["preprocess"])
    begin = enlarged_at(facts)
    teacher, soft = _teachers(options, run, data, reporter, processes)
    fit = Fit(
        model=model,
        options=last_epoch(options) if begin else options,
        maker=maker,
        sets=data.sets,
        preprocess=preprocess,
        compute=compute,
        run=run,
        reporter=reporter,
        processes=processes,
        begin=begin,
        teacher=teacher,
        soft=soft,
    )
    if batch_size < options.batch_size:
        reporter.say(f"every batch holds all {batch_size:,} pairs: fewer than the {options.batch_size:,} a step takes")
    reporter.say(
        f"{config.name}, {parameters / 1e6:.1f} million parameters{_tuned(model, options)}, on {compute.label}"
        + (f", {processes.world} processes" if processes.world > 1 else "")
    )
    for remark in by_luck(data.sets):
        reporter.say(remark)
    if begin and not fits(state, model):
        checkpoints.fill(model, checkpoints.load_weights(run / checkpoints.BEST), run / checkpoints.BEST)
        fit.save()
        reporter.say(f"from step {begin:,} on with pictures of {preprocess.image_size} pixels")
    elif state is not None:
        restore(fit, state)
    if processes.lead:
        checkpoints.trim_metrics(run, fit.step_number if state is not None or begin else -1)
    if state is not None:
        reporter.say(f"going on from step {fit.step_number:,} of {fit.steps:,}, saved in {run}")
    elif options.start is not None and not begin and processes.lead:
        fit.record.epoch({"epoch": 0, "step": 0, **fit.validate()})
    lock_texts(maker, fit.encoder, options, pictures=fit.steps * batch_size, begin=reporter.begin)
    fit.run()
    if options.final_resolution and not begin:
        with processes.agreed():
            if processes.lead:
                enlarge_run(run, fit.step_number, options.final_resolution)
        return _resume(run, reporter, processes)
    if not processes.lead or options.objective in PREDICTING:
        return Trained(run=run, bundle=None, metrics=best_metrics(run) if processes.lead else {})
    examples = finish(
        run,
        options,
        config,
        data,
        preprocess=preprocess,
        compute=compute,
        tokenise=tokenizer,
        reporter=reporter,
    )
    metrics = best_metrics(run)
    began_with = next((line for line in checkpoints.read_metrics(run) if line.get("epoch") == 0), None)
    if began_with is not None and score(began_with) > metrics.get("score", 0.0):
        reporter.say(
            "no epoch was as good on the pictures held out as the model it began with; "
            "more pairs, or a smaller --lr, may help"
        )
    return Trained(run=run, bundle=run / "bundle", metrics=metrics, examples=examples)


def _teachers(
    options: TrainOptions, run: Path, data: Data, reporter: RunReporter, processes: Processes
) -> tuple[Teacher | None, SoftLabels | None]:
    """Who or what is learnt from beside the pairs."""
    used = [number for group in data.groups for number in group]
    soft = teacher = None
    with processes.agreed():
        if options.soft_labels is not None:
            soft = read_soft_labels(data.rows, used, int(options.group is not None), options.soft_labels)
            kind = "probabilities" if soft.probabilities else "vectors"
            reporter.say(f"soft labels: {kind} of {soft.width} numbers")
        if options.distill is not None:
            teacher = Teacher(data.store, used, options)
            teacher.learn(run, reporter.begin, keep=processes.lead)
            reporter.say(f"learning from {teacher.model.name} as well")
    return teacher, soft


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _tuned(model: Clip, options: TrainOptions) -> str:
    """How much of it is trained, where that is not all."""
    if options.objective in PREDICTING:
        return f", of which the image tower learns by {options.objective}"
    if options.tune == "full":
        return ""
    how = f"{options.tune}, rank {options.rank}" if options.tune == "lora" else options.tune
    return f", {trained_numbers(model):,} numbers trained ({how})"


def _write(path: Path, content: bytes) -> None:
    checkpoints.write_atomically(path, lambda handle: handle.write(content))
