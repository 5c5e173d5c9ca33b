"""What a run leaves on disk, written so that a kill at any moment leaves the old state or the new one.

RUN/options.json       every option, enough to repeat the run
RUN/towers.json        the architecture, the preprocessing, and what else the bundle will say
RUN/tokenizer.json     the vocabulary
RUN/checkpoint.pt      weights, optimiser and step of the last save: what `--resume` goes on from
RUN/best.safetensors   the weights that validated best
RUN/start.safetensors  the weights of the model that is fine-tuned
RUN/final.safetensors  what is exported, where that lies between the start and the best
RUN/anchor.json        figures on the way from one to the other
RUN/split.npz          which rows are trained on, and which are held out
RUN/skipped.jsonl      rows that were set aside, or broke in mid-run
RUN/metrics.jsonl      a line per epoch, and one for every so many steps
RUN/tensorboard/       the same as TensorBoard events
RUN/bundle/            the exported model, once the run is through
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from clipcli.errors import DataError, ModelError, NoSpaceError
from trainer.config import ArchConfig
from trainer.towers import Clip

__all__ = [
    "CHECKPOINT",
    "Checkpoint",
    "append_metrics",
    "copy_file",
    "fill",
    "load_run",
    "load_weights",
    "read_checkpoint",
    "read_facts",
    "read_metrics",
    "read_step_metrics",
    "read_walk",
    "save_best",
    "save_checkpoint",
    "save_weights",
    "trim_metrics",
    "write_atomically",
]

FACTS = "towers.json"
CHECKPOINT = "checkpoint.pt"
BEST = "best.safetensors"
START = "start.safetensors"
FINAL = "final.safetensors"
WALK = "anchor.json"
METRICS = "metrics.jsonl"
Checkpoint = dict[str, Any]  # `trainer.loop.Fit.state` says what is in it


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call `write` with a new file beside `path`, sync what it wrote, rename.

    The temporary name is always the same, so that what a kill leaves behind is overwritten by the next attempt.

    Raises:
        NoSpaceError: the disk is full; the old file stands untouched.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("wb") as handle:
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            kept = "; the one before it is kept" if path.exists() else ""
            raise NoSpaceError(f"no space left for {path.name} in {path.parent}{kept}") from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """A copy that is whole or is not there. Raises NoSpaceError."""
    with source.open("rb") as reading:
        write_atomically(target, lambda handle: shutil.copyfileobj(reading, handle))


class _Sink:
    """A file for `torch.save`, which reports a full disk as a RuntimeError about positions: this keeps the reason."""

    def __init__(self, handle: IO[bytes]) -> None:
        self.handle = handle
        self.failure: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.handle.write(data)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        self.handle.flush()


def save_checkpoint(run: Path, state: Checkpoint) -> None:
    """Replace the last saved state. Raises NoSpaceError."""

    def write(handle: IO[bytes]) -> None:
        sink = _Sink(handle)
        try:
            torch.save(state, cast(IO[bytes], sink))
        except RuntimeError:
            if sink.failure is None:
                raise
            raise sink.failure from None

    write_atomically(run / CHECKPOINT, write)


def read_checkpoint(run: Path) -> Checkpoint | None:
    """The last saved state, or None where nothing was saved yet. Only tensors and plain values are read, never code.

    Raises:
        DataError: the file is damaged.
    """
    path = run / CHECKPOINT
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not {"model", "optimiser", "step"} <= state.keys():
            raise DataError(f"{path} is no checkpoint of this program")
    except DataError:
        raise
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} is damaged ({reason}); start the run again in another folder") from error
    return state


def save_best(run: Path, weights: Mapping[str, Tensor]) -> None:
    """Replace the best weights. Raises NoSpaceError."""
    save_weights(run / BEST, weights)


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Raises NoSpaceError."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_atomically(path, lambda handle: handle.write(safetensors.torch.save(plain)))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, in float32; whole numbers stay as they are.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"the weights in {path} cannot be read: {str(error).splitlines()[0]}") from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def fill(model: Clip, weights: Mapping[str, Tensor], where: Path, *, assign: bool = False) -> None:
    """Load weights that must fit exactly. `assign` takes the tensors themselves instead of their values.

    Raises:
        ModelError: names or shapes differ from the towers'.
    """
    try:
        model.load_state_dict(dict(weights), strict=True, assign=assign)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(f"the weights in {where} do not fit the towers: {first}") from error


def append_metrics(run: Path, metrics: Mapping[str, Any]) -> None:
    with (run / METRICS).open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(metrics) + "\n")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Lines of whole epochs written so far; a last line cut short by a kill is left out."""
    return [line for line in _read_lines(run) if "of_steps" not in line]


def read_step_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines between: means over `of_steps` steps up to and with `step`."""
    return [line for line in _read_lines(run) if "of_steps" in line]


def _read_lines(run: Path) -> list[dict[str, Any]]:
    try:
        lines = (run / METRICS).read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in found if isinstance(line, dict)]


def read_walk(run: Path) -> dict[str, Any]:
    """The figures between start and end of a fine-tuned run; empty before its end. Raises DataError."""
    try:
        walk = json.loads((run / WALK).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{run / WALK} is damaged: {error}") from error
    if not isinstance(walk, dict) or not {"chosen", "rows"} <= walk.keys():
        raise DataError(f"{run / WALK} has no figures in it")
    return walk


def trim_metrics(run: Path, step: int) -> None:
    """Leave out what came after `step`: a run that goes on from there writes it again, and not behind half a line."""
    if (run / METRICS).exists():
        kept = [json.dumps(line) + "\n" for line in _read_lines(run) if line.get("step", 0) <= step]
        write_atomically(run / METRICS, lambda handle: handle.write("".join(kept).encode()))


def read_facts(run: Path) -> dict[str, Any]:
    """What `towers.json` says.

    Raises:
        DataError: the folder is no run.
    """
    try:
        facts = json.loads((run / FACTS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{run} is no training run: {error}") from error
    if not isinstance(facts, dict) or not {"towers", "preprocess"} <= facts.keys():
        raise DataError(f"{run / FACTS} says nothing of the towers; this is no training run")
    return facts


def load_run(run: Path) -> tuple[Clip, dict[str, Any]]:
    """The best model of a run, in evaluation mode, and what `towers.json` says.

    Raises:
        DataError: the folder is no run, or nothing was saved in it yet.
        ModelError: the saved weights do not fit.
    """
    facts = read_facts(run)
    model = Clip(ArchConfig.from_dict(facts["towers"]))
    path = next((run / name for name in (FINAL, BEST) if (run / name).exists()), None)
    if path is not None:
        fill(model, load_weights(path), path)
    else:
        state = read_checkpoint(run)
        if state is None:
            raise DataError(f"{run} holds no weights yet; go on with: clip train --resume {run}")
        fill(model, state["model"], run / CHECKPOINT)
    return model.eval(), facts
