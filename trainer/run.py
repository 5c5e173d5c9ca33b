"""`clip train` as a function: data, towers and training, in a folder that can be resumed and exported."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from clipcli.bundle.spec import TOKENIZER_FILE, WEIGHTS_FILE, Preprocess, preprocess_from_dict, read_spec
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import DataError, ModelError, UsageError
from trainer import checkpoints
from trainer.config import ArchConfig, architecture
from trainer.data import Data, DataSummary, prepare_data
from trainer.device import choose_compute
from trainer.loop import Fit, Reporter
from trainer.options import TrainOptions
from trainer.sampling import BatchMaker, RowPlan
from trainer.towers import Clip
from trainer.vocabulary import learn_vocabulary

__all__ = ["RunReporter", "Trained", "resume", "train"]

# Of the pictures CLIP was trained on (the original release); for pretraining any fixed values do.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class RunReporter(Reporter, Protocol):
    """A reporter that also shows what comes before the first step."""

    def begin(self, label: str, total: int) -> Callable[[int], None]: ...

    def summary(self, summary: DataSummary) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """Where a finished run left its model, and how good it is."""

    run: Path
    bundle: Path
    metrics: dict[str, Any]


def train(options: TrainOptions, run: Path, reporter: RunReporter) -> Trained:
    """Begin a new run in the folder `run`, which must be empty or new.

    Raises:
        UsageError: the folder holds another run.
        NotFoundError, DataError, DeviceError, ModelError: as the parts raise them.
        Interrupted: a signal came; the run can be resumed.
    """
    if run.exists() and any(run.iterdir()):
        raise UsageError(
            f"{run} is not empty; go on with its run by 'clip train --resume {run}', "
            "or name another folder with --output"
        )
    started = _start(options)
    data = prepare_data(options, started.preprocess, begin=reporter.begin, summarise=reporter.summary)
    run.mkdir(parents=True, exist_ok=True)
    config = started.config
    if started.bundle is None:
        vocabulary = learn_vocabulary(data.texts(options.templates), max_size=options.max_vocabulary)
        checkpoints.write_atomically(run / TOKENIZER_FILE, lambda partial: vocabulary.save(str(partial)))
        text = dataclasses.replace(config.text, vocab_size=vocabulary.get_vocab_size(with_added_tokens=True))
        config = dataclasses.replace(config, text=text)
        reporter.say(f"vocabulary: {text.vocab_size:,} entries learnt from the texts")
    else:
        shutil.copyfile(started.bundle / TOKENIZER_FILE, run / TOKENIZER_FILE)
    facts = {"towers": config.to_dict(), "preprocess": dataclasses.asdict(started.preprocess), **started.facts}
    _write(run / "towers.json", json.dumps(facts, indent=2))
    _write(run / "options.json", options.to_json())  # last: a folder with it can be resumed
    return _go(options, run, data, reporter)


def resume(run: Path, reporter: RunReporter) -> Trained:
    """Go on with a run from its last saved step.

    Raises:
        DataError: the folder is no run, or its data has become unfit.
        Interrupted: as `train`.
    """
    options = TrainOptions.load(run)
    facts = _facts(run)
    preprocess = preprocess_from_dict(facts["preprocess"])
    data = prepare_data(options, preprocess, begin=reporter.begin, summarise=reporter.summary)
    return _go(options, run, data, reporter)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Start:
    """What a run begins with: an architecture, and the bundle whose weights it takes, if any."""

    config: ArchConfig
    preprocess: Preprocess
    bundle: Path | None
    facts: dict[str, Any]


def _start(options: TrainOptions) -> _Start:
    if options.start is None:
        config = architecture(options.arch or "")
        preprocess = Preprocess(image_size=config.image.image_size, mean=CLIP_MEAN, std=CLIP_STD)
        return _Start(config=config, preprocess=preprocess, bundle=None, facts={"provenance": {}, "start": None})
    bundle = Path(options.start)
    spec = read_spec(bundle)
    if not spec.towers or not (bundle / WEIGHTS_FILE).is_file():
        raise ModelError(f"model {spec.name} comes without weights to train on; choose another with --from")
    facts = {"provenance": dict(spec.provenance), "start": spec.name}
    return _Start(config=ArchConfig.from_dict(spec.towers), preprocess=spec.preprocess, bundle=bundle, facts=facts)


def _go(options: TrainOptions, run: Path, data: Data, reporter: RunReporter) -> Trained:
    facts = _facts(run)
    config = ArchConfig.from_dict(facts["towers"])
    compute = choose_compute(options)
    import torch

    torch.manual_seed(options.seed)
    model = Clip(config)
    if options.start is not None:
        weights = Path(options.start) / WEIGHTS_FILE
        checkpoints.fill(model, checkpoints.load_weights(weights), weights)
    tokenizer = Tokenizer.load(run / TOKENIZER_FILE, config.text.context_length)
    batch_size = min(options.batch_size, sum(len(group) for group in data.groups))
    maker = BatchMaker(
        rows=data.rows,
        plan=RowPlan(data.groups, options.weights, batch_size, options.seed),
        store=data.store,
        tokenise=tokenizer,
        end_id=tokenizer.end_id,
        templates=options.templates,
        same_text=options.same_text,
        crop_min=options.crop_min,
        flip=options.flip,
        seed=options.seed,
    )
    preprocess = preprocess_from_dict(facts["preprocess"])
    fit = Fit(
        model=model,
        options=options,
        maker=maker,
        sets=data.sets,
        preprocess=preprocess,
        compute=compute,
        run=run,
        reporter=reporter,
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    reporter.say(f"{config.name}, {parameters / 1e6:.1f} million parameters, on {compute.label}")
    state = checkpoints.read_checkpoint(run)
    if state is not None:
        fit.restore(state)
        reporter.say(f"going on from step {fit.step_number:,} of {fit.steps:,}, saved in {run}")
    elif options.start is not None:
        before = fit.validate()
        checkpoints.append_metrics(run, {"epoch": 0, "step": 0, **before})
        reporter.epoch({"epoch": 0, "step": 0, **before})
    fit.run()
    return Trained(run=run, bundle=run / "bundle", metrics=best_metrics(run))


def best_metrics(run: Path) -> dict[str, Any]:
    """The line of the epoch whose weights were kept; the later of equals, as the loop keeps them."""
    lines = [line for line in checkpoints.read_metrics(run) if "score" in line]
    return max(reversed(lines), key=lambda line: float(line["score"])) if lines else {}


def _facts(run: Path) -> dict[str, Any]:
    try:
        facts = json.loads((run / "towers.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{run} is no training run that can be resumed: {error}") from error
    if not isinstance(facts, dict) or not {"towers", "preprocess"} <= facts.keys():
        raise DataError(f"{run}/towers.json says nothing of the towers; this is no training run")
    return facts


def _write(path: Path, text: str) -> None:
    def write(partial: Path) -> None:
        partial.write_text(text, "utf-8")

    checkpoints.write_atomically(path, write)
