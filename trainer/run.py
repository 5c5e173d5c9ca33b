"""`clip train` as a function: data, towers and training, in a folder that can be resumed and exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipcli.bundle.spec import TOKENIZER_FILE, Preprocess, preprocess_from_dict
from clipcli.bundle.tokenizer import Tokenizer
from trainer import checkpoints
from trainer.beginning import CLIP_MEAN, CLIP_STD
from trainer.config import ArchConfig
from trainer.data import Data, prepare_data
from trainer.device import choose_compute, wants_cuda
from trainer.finishing import Examples, finish
from trainer.locked_texts import lock_texts
from trainer.loop import Fit
from trainer.mixing import row_plan
from trainer.new_run import RunReporter, begin_run, examine, nothing_left
from trainer.options import PREDICTING, TrainOptions
from trainer.outcome import best_metrics, is_finished
from trainer.processes import Processes, together
from trainer.record import Silent
from trainer.resolution import enlarge_run, enlarged_at, fits, last_epoch
from trainer.run_state import restore
from trainer.sampling import BatchMaker
from trainer.soft_labels import SoftLabels
from trainer.split import Split
from trainer.teacher import Teacher
from trainer.towers import Clip
from trainer.tuning import choose_parameters, trained_numbers
from trainer.validation import by_luck, score, small_sets

__all__ = ["CLIP_MEAN", "CLIP_STD", "RunReporter", "Trained", "examine", "is_finished", "resume", "train"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """Where a finished run left its model, and how good it is."""

    run: Path
    bundle: Path | None  # none where nothing is to be exported
    metrics: dict[str, Any]
    few: frozenset[str] = frozenset()  # held-out sets too small for recall@10 to say anything
    examples: Examples | None = None  # of what the model finds among the held-out pictures, and found before


def train(options: TrainOptions, run: Path, reporter: RunReporter) -> Trained:
    """Begin a new run in the folder `run`, which must be empty or new, and is not there if its first step never came.

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
            options, data = begin_run(options, run, reporter)
        with processes.agreed():  # until the others have read the data
            pass
        return _go(options, run, data, reporter, processes, new=True)


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


def _go(
    options: TrainOptions, run: Path, data: Data, reporter: RunReporter, processes: Processes, *, new: bool = False
) -> Trained:
    with nothing_left(run, when=new and processes.lead):
        fit, preprocess = _made_ready(options, run, data, reporter, processes)
    fit.run()
    if options.final_resolution and not fit.begin:
        with processes.agreed():
            if processes.lead:
                enlarge_run(run, fit.step_number, options.final_resolution)
        return _resume(run, reporter, processes)
    if not processes.lead or options.objective in PREDICTING:
        return Trained(
            run=run, bundle=None, metrics=best_metrics(run) if processes.lead else {}, few=small_sets(data.sets)
        )
    examples = finish(
        run,
        options,
        fit.model.config,
        data,
        preprocess=preprocess,
        compute=fit.compute,
        tokenise=fit.maker.tokenise,
        reporter=reporter,
    )
    metrics = best_metrics(run)
    began_with = next((line for line in checkpoints.read_metrics(run) if line.get("epoch") == 0), None)
    if began_with is not None and score(began_with) > metrics.get("score", 0.0):
        reporter.say(
            "on the pictures held out the model it has come to is not as good as the one it began with; "
            "more pairs, or a smaller --lr, may help"
        )
    return Trained(run=run, bundle=run / "bundle", metrics=metrics, few=small_sets(data.sets), examples=examples)


def _made_ready(
    options: TrainOptions, run: Path, data: Data, reporter: RunReporter, processes: Processes
) -> tuple[Fit, Preprocess]:
    """Everything up to the next step, which may be the first one or not."""
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
    return fit, preprocess


def _teachers(
    options: TrainOptions, run: Path, data: Data, reporter: RunReporter, processes: Processes
) -> tuple[Teacher | None, SoftLabels | None]:
    """Who or what is learnt from beside the pairs."""
    teacher, soft = None, data.soft
    with processes.agreed():
        if soft is not None:
            kind = "probabilities" if soft.probabilities else "vectors"
            reporter.say(f"soft labels: {kind} of {soft.width} numbers")
        if options.distill is not None:
            teacher = Teacher(data.store, [number for group in data.groups for number in group], options)
            teacher.learn(run, reporter.begin, keep=processes.lead)
            reporter.say(f"learning from {teacher.model.name} as well")
    return teacher, soft


def _tuned(model: Clip, options: TrainOptions) -> str:
    """How much of it is trained, where that is not all."""
    if options.objective in PREDICTING:
        return f", of which the image tower learns by {options.objective}"
    if options.tune == "full":
        return ""
    how = f"{options.tune}, rank {options.rank}" if options.tune == "lora" else options.tune
    return f", {trained_numbers(model):,} numbers trained ({how})"
