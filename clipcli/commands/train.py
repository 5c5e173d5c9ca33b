"""`clip train`: fine-tune or pretrain on local pairs of pictures and texts."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clipcli.errors import ClipError, MissingExtraError, UsageError, pip_line

if TYPE_CHECKING:
    from trainer.options import TrainOptions


class SameText(StrEnum):
    """What rows of one batch with the same text are to each other."""

    positive = "positive"
    ignore = "ignore"
    negative = "negative"


class TrainPrecision(StrEnum):
    """Number format of the matrix products; weights are kept in float32."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


def _option(*names: str, metavar: str, help: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, show_default=False)


def train(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="DATA", help="CSV, TSV or Parquet files of pairs, or folders of class folders.", show_default=False
        ),
    ] = None,
    start: Annotated[
        str | None,
        _option("--from", "-m", metavar="NAME", help="The model to fine-tune. Default: the one search uses."),
    ] = None,
    scratch: Annotated[bool, typer.Option("--scratch", help="Pretrain new towers and learn a new vocabulary.")] = False,
    arch: Annotated[
        str | None,
        _option("--arch", metavar="NAME", help="The towers to pretrain. Default: RN-nano-64. With --scratch."),
    ] = None,
    name: Annotated[
        str | None, _option("--name", metavar="NAME", help="What to call the model. Default: after the first DATA.")
    ] = None,
    output: Annotated[
        Path | None, _option("--output", "-o", metavar="RUN", help="The run's folder. Default: runs/NAME.")
    ] = None,
    resume: Annotated[
        Path | None, _option("--resume", metavar="RUN", help="Go on with an interrupted run; needs nothing else.")
    ] = None,
    recipe: Annotated[
        Path | None, _option("--recipe", metavar="FILE", help="A TOML file of settings; options given here go first.")
    ] = None,
    validation: Annotated[
        list[str] | None,
        _option("--validation", metavar="DATA", help="Pairs to measure on. Default: a part of DATA, held out."),
    ] = None,
    image_column: Annotated[
        str | None, _option("--image-column", metavar="NAME", help="The column of pictures. Default: found out.")
    ] = None,
    text_column: Annotated[
        str | None, _option("--text-column", metavar="NAME", help="The column of texts. Default: found out.")
    ] = None,
    template: Annotated[
        list[str] | None,
        _option(
            "--template", "-t", metavar="TEXT", help="Makes a sentence of a label: 'a photo of a {}.'. Give several."
        ),
    ] = None,
    same_text: Annotated[
        SameText | None,
        _option(
            "--same-text",
            metavar="positive|ignore|negative",
            help="What pairs of a batch with the same text are to each other. Default: positive; the paper: negative.",
        ),
    ] = None,
    epochs: Annotated[
        float | None, _option("--epochs", metavar="N", help="Passes over the data. Default: 10, from scratch 32.")
    ] = None,
    batch_size: Annotated[
        int | None, _option("--batch-size", "-b", metavar="N", help="Pairs a step. Default: 128, from scratch 256.")
    ] = None,
    lr: Annotated[
        float | None, _option("--lr", metavar="RATE", help="Peak learning rate. Default: 5e-5, from scratch 1e-3.")
    ] = None,
    weight_decay: Annotated[
        float | None, _option("--weight-decay", metavar="X", help="Of AdamW. Default: 0.1.")
    ] = None,
    precision: Annotated[
        TrainPrecision | None,
        _option(
            "--precision",
            metavar="auto|fp32|bf16|fp16",
            help="Number format. Default: auto, the fastest the device has.",
        ),
    ] = None,
    device: Annotated[
        str | None, _option("--device", metavar="auto|cpu|cuda|cuda:N", help="Where to train. Default: auto.")
    ] = None,
    threads: Annotated[int | None, _option("--threads", metavar="N", help="Processor threads. Default: all.")] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the image tower first: slower to start, then faster.")
    ] = False,
    seed: Annotated[
        int | None, _option("--seed", metavar="N", help="Repeats a run exactly, on the same machine. Default: 0.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an installed model of that name.")] = False,
) -> None:
    """Train a model on pictures with texts, and install it.

    Without options the model that search uses is fine-tuned. A part of the pictures is held out, and each epoch is
    measured on it; the best weights are exported, compared with the towers they came from, and installed. Ctrl-C saves:
    --resume goes on. Needs the extra 'train'.

    \b
      clip train pairs.csv                     columns like filepath,caption
      clip train birds/                        birds/robin/1.jpg, birds/wren/2.jpg
      clip train pairs.csv --scratch --arch ViT-S/16 --name mine
      clip train --resume runs/mine
    """
    _require_train()
    chosen = {
        "validation": tuple(str(Path(path).resolve()) for path in validation or ()) or None,
        "image_column": image_column,
        "text_column": text_column,
        "templates": tuple(template) if template else None,
        "same_text": same_text.value if same_text else None,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "arch": arch,
        "precision": precision.value if precision else None,
        "device": device,
        "threads": threads,
        "compile": compile or None,
        "seed": seed,
    }
    if resume is not None:
        alone = [data, start, scratch, recipe, name, output, *chosen.values()]
        if any(value is not None and value is not False for value in alone):
            raise UsageError("--resume goes on with the run as it was begun; leave the other options out")
        _run(None, resume, replace)
        return
    if not data:
        raise UsageError("no pairs to train on: name a CSV, TSV or Parquet file or a folder (see 'clip train --help')")
    called = _name(name, data[0])
    chosen |= {"data": tuple(str(Path(path).resolve()) for path in data), "name": called}
    options = _options(chosen, start, scratch, recipe)
    _free(called, replace, "give another --name, or --replace")
    _run(options, output or _unused(Path("runs") / called), replace)


def _require_train() -> None:
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in ("torch", "onnxscript", "safetensors", "pyarrow", "tensorboard")):
        raise MissingExtraError("train", "clip train")


def _name(given: str | None, source: str) -> str:
    """What to call the model: as given, or after its data."""
    from clipcli.bundle.installed import check_name

    made = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source).resolve().stem)[:64].strip("-._") or "model"
    return check_name(given or made)


def _free(name: str, replace: bool, otherwise: str) -> None:
    """Raise UsageError where the finished model could not be installed: better to hear of a clash before training."""
    from clipcli.bundle.installed import models_folder

    if not replace and (models_folder() / name).exists():
        raise UsageError(f"a model called {name!r} is already installed; {otherwise}")


def _unused(run: Path) -> Path:
    """`run`, or with a number behind it where a finished run lies there; one that is not finished is to be resumed."""
    from trainer.run import is_finished

    numbered = (run.with_name(f"{run.name}-{number}") for number in count(2))
    return next(folder for folder in chain((run,), numbered) if not is_finished(folder))


def _options(chosen: dict[str, Any], start: str | None, scratch: bool, recipe: Path | None) -> TrainOptions:
    from clipcli.bundle.installed import find_model
    from trainer.defaults import compose, read_recipe

    settings = read_recipe(recipe) if recipe is not None else {}
    scratch = scratch or (start is None and "arch" in settings)
    if scratch and start is not None:
        raise UsageError("--scratch starts from nothing, --from NAME from a model: give one of them")
    if chosen["arch"] is not None and not scratch:
        raise UsageError("--arch goes with --scratch; fine-tuning keeps the towers of the model it starts from")
    return compose(start=None if scratch else find_model(start).resolve(), recipe=settings, chosen=chosen)


def _run(options: TrainOptions | None, run: Path, replace: bool) -> None:
    """Train or go on, export, install."""
    from clipcli.render.notes import say
    from clipcli.render.training import TrainingReport
    from trainer.options import TrainOptions
    from trainer.run import is_finished, resume, train

    name = options.name if options is not None else TrainOptions.load(run).name
    if options is None:
        otherwise = f"give --replace, or install the run by: clip export {shlex.quote(str(run))} --name OTHER"
        _free(name, replace, f"this run is finished; {otherwise}" if is_finished(run) else otherwise)
    with _resumable(run):
        with TrainingReport() as report:
            trained = train(options, run, report) if options is not None else resume(run, report)
        _leave_curves(run, name)
        from clipcli.commands.export import show_exported
        from clipcli.render.progress import progress_bar
        from export.exporting import export_source

        with progress_bar("exporting, and measuring each precision"):
            exported = export_source(trained.run, name=name, replace=replace, say=say)
    show_exported(exported, None)
    say(f"installed as {exported.spec.name}: clip embed -m {exported.spec.name} FOLDER")


def _leave_curves(run: Path, name: str) -> None:
    """A picture of the run in its folder; that it could not be drawn is no reason to lose the model."""
    from importlib.util import find_spec

    from clipcli.render.notes import say
    from trainer.checkpoints import read_metrics

    if find_spec("matplotlib") is None:
        say(f"no picture of the curves: that needs the extra 'plot' ({pip_line('plot')})")
        return
    from clipcli.render.curves import write_curves

    try:
        drawn = write_curves(run, read_metrics(run), title=f"Training of {name}")
    except ClipError as error:
        say(f"no picture of the curves: {error}")
        return
    if drawn:
        say(f"curves: {drawn[0]}")


@contextmanager
def _resumable(run: Path) -> Iterator[None]:
    """Where a signal ends the block, say how to go on, and let it end the program as it would have anything else."""
    from clipcli.render.notes import say
    from trainer.stopping import Interrupted

    go_on = f"go on with: clip train --resume {shlex.quote(str(run))}"
    try:
        yield
    except Interrupted as stop:
        say(f"saved at step {stop.step:,}; {go_on}")
        if stop.signum == signal.SIGINT:
            raise KeyboardInterrupt from None
        signal.raise_signal(stop.signum)
        raise
    except KeyboardInterrupt:
        if (run / "options.json").is_file():
            say(go_on)
        raise
