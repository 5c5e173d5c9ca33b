"""The beginning of a run: its options with nothing left open, its data, and a folder that can be resumed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from clipcli.bundle.spec import TOKENIZER_FILE
from clipcli.errors import ClipError, UsageError
from trainer import checkpoints
from trainer.beginning import start_of
from trainer.broken import write_skipped
from trainer.data import Data, DataSummary, prepare_data
from trainer.defaults import settle
from trainer.device import choose_compute
from trainer.finishing import Teller
from trainer.objective_choice import suited
from trainer.options import TrainOptions
from trainer.record import Reporter
from trainer.resolution import with_positions
from trainer.vocabulary import learn_vocabulary

__all__ = ["RunReporter", "begin_run", "examine", "nothing_left"]


class RunReporter(Reporter, Teller, Protocol):
    """A reporter that also shows what comes before the first step."""

    def summary(self, summary: DataSummary) -> None: ...


def examine(options: TrainOptions, reporter: RunReporter) -> Data:
    """Read and judge the data as a run would, and take no step. Raises as `train` does before the first one."""
    started = start_of(options)
    suited(started.config, options)
    return prepare_data(options, started.preprocess, begin=reporter.begin, summarise=reporter.summary)


def begin_run(options: TrainOptions, run: Path, reporter: RunReporter) -> tuple[TrainOptions, Data]:
    """The options with nothing left open, the data, and the folder `run`. Raises as `trainer.run.train`."""
    _check_free(run)
    choose_compute(options)  # a device that cannot be used is better heard of now than after the pictures
    started = start_of(options)
    config = suited(started.config, options)
    data = prepare_data(options, started.preprocess, begin=reporter.begin, summarise=reporter.summary)
    if options.by_pairs:
        options, named = settle(options, data.summary.training), options.by_pairs
        values = ", ".join(f"{name} {_shown(getattr(options, name))}" for name in named)
        reporter.say(f"for {data.summary.training:,} pairs: {values}")
    if started.words is None:
        vocabulary = learn_vocabulary(data.texts(options.templates), max_size=options.max_vocabulary)
        words = vocabulary.to_str().encode()
        text = dataclasses.replace(config.text, vocab_size=vocabulary.get_vocab_size(with_added_tokens=True))
        config = dataclasses.replace(config, text=text)
        reporter.say(f"vocabulary: {text.vocab_size:,} entries learnt from the texts")
    else:
        words = started.words.read_bytes()
    facts = {"towers": config.to_dict(), "preprocess": dataclasses.asdict(started.preprocess), **started.facts}
    run.mkdir(parents=True, exist_ok=True)
    with nothing_left(run, when=True):
        if started.weights is not None and started.larger:
            weights = checkpoints.load_weights(started.weights)
            checkpoints.save_weights(run / checkpoints.START, with_positions(weights, config))
        elif started.weights is not None:
            checkpoints.copy_file(started.weights, run / checkpoints.START)
        _write(run / TOKENIZER_FILE, words)
        write_skipped(run, data.summary.refused, ())
        data.split.save(run)
        _write(run / "towers.json", json.dumps(facts, indent=2).encode())
        _write(run / "options.json", options.to_json().encode())  # last: a folder with it can be resumed
    return options, data


@contextmanager
def nothing_left(run: Path, *, when: bool) -> Iterator[None]:
    """Where a new run is refused within, its folder goes, so that the same command can be given again once mended.

    A signal is no refusal: what it ends can be resumed.
    """
    try:
        yield
    except ClipError:
        if when:
            shutil.rmtree(run, ignore_errors=True)
        raise


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


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _write(path: Path, content: bytes) -> None:
    checkpoints.write_atomically(path, lambda handle: handle.write(content))
