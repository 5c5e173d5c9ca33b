"""Weights of training as a model that can be measured, before anything is exported: runs, their files, and others'.

It fits `clipcli.datasets.measured.Measured`, and sees pictures and texts by the same code as a bundle does.
Shapes: B batch, D embedding, S image size, L tokens.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clipcli.bundle.identity import use_facts
from clipcli.bundle.spec import TOKENIZER_FILE, Preprocess, preprocess_from_dict
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import DataError, DeviceError, ModelError, UsageError
from trainer import checkpoints
from trainer.config import ArchConfig
from trainer.options import PREDICTING, TrainOptions
from trainer.reading.found import Choices
from trainer.reading.importing import build, read_model
from trainer.towers import Clip
from trainer.validation import encode_texts

__all__ = ["Facts", "TrainedModel", "open_checkpoint"]

_AT_ONCE = 64
_THEIR_TEMPLATES = ("a photo of a {}.",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """How the weights are used."""

    embedding_dim: int
    preprocess: Preprocess
    templates: tuple[str, ...]
    logit_scale: float
    logit_bias: float | None


class TrainedModel:
    """Towers in float32, in evaluation mode; `precision` is called `torch` to tell its vectors from a graph's."""

    precision = "torch"

    def __init__(
        self,
        model: Clip,
        tokenizer: Tokenizer,
        *,
        name: str,
        identity: str,
        preprocess: Preprocess,
        templates: tuple[str, ...],
        size: int,
        device: str,
    ) -> None:
        self.model = model.eval().requires_grad_(False).to(device)
        self.tokenizer = tokenizer
        self.name = name
        self.identity = identity
        self.bytes_in_all = self.bytes_to_run = size
        self.spec = Facts(
            embedding_dim=model.config.embedding_dim,
            preprocess=preprocess,
            templates=templates,
            logit_scale=float(model.clamped_logit_scale()),
            logit_bias=None if model.logit_bias is None else float(model.logit_bias),
        )

    def encode_images(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, 3, S, S) as `preprocess.to_pixels` gives them -> (B, D), L2-normalised."""
        place = self.model.logit_scale.device
        with torch.inference_mode():
            parts = [
                self.model.encode_image(torch.from_numpy(pixels[start : start + _AT_ONCE]).to(place)).cpu().numpy()
                for start in range(0, len(pixels), _AT_ONCE)
            ]
        return np.concatenate(parts)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """B texts -> (B, D), L2-normalised."""
        with torch.inference_mode():
            return encode_texts(self.model, texts, self.tokenizer)


def open_checkpoint(path: Path, *, device: str, say: Callable[[str], None]) -> TrainedModel:
    """The model in a run's folder (what it would export), in a file of a run, or in weights of another project.

    Raises:
        NotFoundError, DataError, ModelError: there is none, or it cannot be read.
        UsageError: the run left no text tower, or the weights leave something open that nobody can tell here.
        DeviceError: there is no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("torch finds no CUDA device it can use; --device cpu measures on the processor")
    place = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    run = path if path.is_dir() else path.parent
    if (run / checkpoints.FACTS).is_file():
        return _of_run(run, path, place)
    return _of_others(path, place, say)


def _of_run(run: Path, path: Path, device: str) -> TrainedModel:
    options = TrainOptions.load(run)
    if options.objective in PREDICTING:
        raise UsageError(f"{run} has learnt by --objective {options.objective}, which leaves no text tower to ask")
    if path.is_dir():
        model, facts = checkpoints.load_run(run)
        files = [run / name for name in (checkpoints.FINAL, checkpoints.BEST, checkpoints.CHECKPOINT)]
        weights = next(file for file in files if file.exists())
        name = run.resolve().name
    else:
        facts = checkpoints.read_facts(run)
        model = Clip(ArchConfig.from_dict(facts["towers"]))
        checkpoints.fill(model, _weights(run, path), path)
        weights, name = path, f"{run.resolve().name}/{path.name}"
    preprocess = preprocess_from_dict(facts["preprocess"])
    cleaning, pad_id = facts.get("text_cleaning", "none"), int(facts.get("pad_id", 0))
    words = run / TOKENIZER_FILE
    tokenizer = Tokenizer.load(words, model.config.text.context_length, cleaning=cleaning, pad_id=pad_id)
    return TrainedModel(
        model,
        tokenizer,
        name=name,
        identity=_identity(model.state_dict(), preprocess, words.read_bytes(), tokenizer),
        preprocess=preprocess,
        templates=tuple(options.templates),
        size=weights.stat().st_size + words.stat().st_size,
        device=device,
    )


def _weights(run: Path, path: Path) -> dict[str, Tensor]:
    """Those of one file. Of a checkpoint the average, where there is one: it is what training measures and keeps."""
    if path.suffix == ".safetensors":
        return checkpoints.load_weights(path)
    if path.name != checkpoints.CHECKPOINT:
        raise DataError(f"{path} is none of the files a run leaves; measure {run}, or its {checkpoints.CHECKPOINT}")
    state = checkpoints.read_checkpoint(run)
    if state is None:
        raise DataError(f"{run} holds no weights yet; go on with: clip train --resume {run}")
    average = state.get("average")
    values = average["values"] if isinstance(average, Mapping) and "values" in average else state["model"]
    return dict(values)


def _of_others(path: Path, device: str, say: Callable[[str], None]) -> TrainedModel:
    try:
        found = read_model(path, Choices())
    except UsageError as error:
        raise UsageError(f"{error} ('clip models import' takes them, and measures as well)") from None
    for note in found.notes:
        say(f"{path.name}: {note}")
    model = build(found)
    with tempfile.TemporaryDirectory(prefix="clip-eval-") as passing:
        words = Path(passing) / TOKENIZER_FILE
        words.write_bytes(found.tokenizer)
        tokenizer = Tokenizer.load(
            words, found.config.text.context_length, cleaning=found.text_cleaning, pad_id=found.pad_id
        )
    return TrainedModel(
        model,
        tokenizer,
        name=path.name,
        identity=_identity(model.state_dict(), found.preprocess, found.tokenizer, tokenizer),
        preprocess=found.preprocess,
        templates=_THEIR_TEMPLATES,
        size=found.weights.stat().st_size + len(found.tokenizer),
        device=device,
    )


def _identity(weights: Mapping[str, Tensor], preprocess: Preprocess, words: bytes, tokenizer: Tokenizer) -> str:
    """Of the weights as they are: a cache must not take those of one epoch for those of another."""
    digest = hashlib.sha256(b"clip checkpoint 1\n")
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ModelError(f"the weights hold numbers that are not finite ({name})")
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    facts = use_facts(preprocess, tokenizer.context_length, cleaning=tokenizer.cleaning, pad_id=tokenizer.pad_id)
    digest.update(facts)
    digest.update(words)
    return digest.hexdigest()
