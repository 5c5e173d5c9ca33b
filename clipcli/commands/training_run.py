"""What `clip train` does once its options stand: train or go on, draw the curves, export, install."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from clipcli.errors import ClipError, UsageError, pip_line

if TYPE_CHECKING:
    from trainer.options import TrainOptions
    from trainer.run import Trained

__all__ = ["check_free", "fall_silent", "run_training"]


def follows() -> bool:
    """Whether `torchrun` started this process beside the one that speaks and writes."""
    return int(os.environ.get("RANK", "0")) > 0


def fall_silent() -> None:
    """What all processes would say, one says; with CLIP_DEBUG all do."""
    if follows() and os.environ.get("CLIP_DEBUG", "0") in ("", "0"):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def check_free(name: str, replace: bool, otherwise: str) -> None:
    """Raise UsageError where the finished model could not be installed: better to hear of a clash before training."""
    from clipcli.bundle.installed import models_folder
    from clipcli.bundle.placing import check_writable

    check_writable(models_folder())
    if not replace and (models_folder() / name).exists():
        raise UsageError(f"a model called {name!r} is already installed; {otherwise}")


def run_training(
    options: TrainOptions | None, run: Path, replace: bool, *, changed: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Train or go on, export, install. A run that goes on may have another `anchor` or `max_broken` from now on."""
    from clipcli.render.notes import say
    from clipcli.render.training import TrainingReport
    from trainer.allocation import keep_freed_memory
    from trainer.options import TrainOptions
    from trainer.run import is_finished, resume, train

    keep_freed_memory()
    name = options.name if options is not None else TrainOptions.load(run).name
    if options is None:
        otherwise = f"give --replace, or install the run by: clip export {shlex.quote(str(run))} --name OTHER"
        check_free(name, replace, f"this run is finished; {otherwise}" if is_finished(run) else otherwise)
    if options is None and changed:
        from trainer.finishing import change_options

        change_options(run, changed)
    with _resumable(run):
        with TrainingReport() as report:
            trained = train(options, run, report) if options is not None else resume(run, report)
        if follows():
            return
        _leave_pictures(run, name, trained)
        if trained.bundle is None:
            say(_nothing_to_install(run, trained))
            return
        from clipcli.commands.export import show_exported
        from clipcli.render.progress import progress_bar
        from export.exporting import export_source

        with progress_bar("exporting, and measuring each precision"):
            exported = export_source(trained.run, name=name, replace=replace, renew=True, say=say)
    show_exported(exported, None)
    say(f"installed as {exported.spec.name}: clip embed -m {exported.spec.name} FOLDER")


def _nothing_to_install(run: Path, trained: Trained) -> str:
    """Of a run that has learnt to predict words, for comparison with one that matches pictures and texts."""
    from clipcli.render.text import percent
    from trainer.options import TrainOptions

    objective = TrainOptions.load(run).objective
    shown = ", ".join(f"{key} {percent(value)}" for key, value in trained.metrics.items() if key.endswith("/top1"))
    writes = f"; it writes captions: clip caption {shlex.quote(str(run))} IMAGE" if objective == "caption" else ""
    return f"nothing is installed: --objective {objective} leaves no text tower to search by{writes}" + (
        f" ({shown})" if shown else ""
    )


def _leave_pictures(run: Path, name: str, trained: Trained) -> None:
    """Pictures of the run in its folder; that they could not be drawn is no reason to lose the model."""
    from importlib.util import find_spec

    from clipcli.render.notes import say
    from trainer.checkpoints import read_metrics

    if find_spec("matplotlib") is None:
        say(f"no picture of the curves: that needs the extra 'plot' ({pip_line('plot')})")
        return
    from clipcli.render.curves import write_curves
    from clipcli.render.retrieval_figure import write_retrievals

    def draw(what: str, drawing: Callable[[], list[Path]]) -> None:
        try:
            drawn = drawing()
        except ClipError as error:
            say(f"no picture of {what}: {error}")
            return
        if drawn:
            say(f"{what.removeprefix('the ')}: {drawn[0]}")

    draw("the curves", lambda: write_curves(run, read_metrics(run), title=f"Training of {name}", few=trained.few))
    if (examples := trained.examples) is not None:
        title = f"{name}: what is found among the held-out pictures"
        draw("examples", lambda: write_retrievals(run, examples.examples, examples.pixels, title=title))


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
