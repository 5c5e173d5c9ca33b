"""Objectives that predict the text from the picture, by words or token by token, and need no text tower.

They are here because the paper compares its own with them (figure 2). What they learn is measured as there: zero-shot,
a class being as likely as what is said of it.

Shapes: B and N pictures, C classes, P positions, L tokens, D embedding, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clipcli.bundle.spec import TOKENIZER_FILE
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import DataError, ModelError, UsageError
from clipcli.evaluate.zero_shot import mean_per_class
from trainer import checkpoints
from trainer.bag_of_words import WordBag, word_shares
from trainer.captioner import Captioner
from trainer.config import ArchConfig, ResNetConfig
from trainer.encoding import Encoder
from trainer.options import TrainOptions
from trainer.resnet import ModifiedResNet
from trainer.sampling import Batch, synonyms
from trainer.step import Loss
from trainer.towers import Clip
from trainer.validation import ValidationSet

__all__ = ["PREFIX", "CaptionWriter", "Predicting", "head_weights", "make_head"]

PREFIX = "objective."  # of the weights of what predicts, beside the image tower's in `best.safetensors`
MOST_PICTURES = 1_000  # of a set, whose classes a captioner is asked for: each is a text to be gone through
PAIRS_AT_ONCE = 2_048

Tokenise = Callable[[Sequence[str]], NDArray[np.int64]]


class Predicting:
    """An `Objective`: the picture's own text, predicted by the head."""

    def __init__(self, encoder: Encoder, kind: Literal["bag-of-words", "caption"]) -> None:
        self.encoder, self.model, self.kind = encoder, encoder.model, kind
        self.head = make_head(self.model.config, kind).to(encoder.compute.device)
        self.extra = nn.ModuleDict({"head": self.head})

    def loss(self, batch: Batch) -> Loss:
        own = batch.positives.argmax(axis=1)  # (B,) of several texts of a picture, one
        tokens = torch.from_numpy(batch.tokens[own]).to(self.encoder.compute.device)
        lengths = torch.from_numpy(batch.lengths[own]).to(self.encoder.compute.device)
        with self.encoder.compute.autocast():
            found = self._loss(self._features(batch.pixels), tokens, lengths)
        return Loss(total=found, shown=found)

    def after_update(self) -> None:
        """There is no logit scale to limit."""

    def _features(self, pixels: NDArray[np.uint8]) -> Tensor:
        if isinstance(self.head, WordBag):
            return self.encoder.images(pixels)
        return _grid(self.model, self.encoder.to_device(pixels))

    def _loss(self, features: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        if isinstance(self.head, WordBag):
            return self.head.loss(features, word_shares(tokens, lengths, self.model.config.text.vocab_size))
        return self.head.loss(features, tokens, lengths)

    def validate(
        self, sets: Sequence[ValidationSet], *, tokenise: Tokenise, end_id: int, templates: Sequence[str]
    ) -> dict[str, float]:
        """Shares by name: `SET/top1`, `SET/mean_per_class`; `SET/likelihood` of a word or token of what is said."""
        metrics: dict[str, float] = {}
        was_training = self.model.training
        self.model.eval()

        def numbers(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
            tokens = tokenise(texts)
            lengths = (tokens == end_id).argmax(axis=1) + 1
            device = self.encoder.compute.device
            return torch.from_numpy(tokens).to(device), torch.from_numpy(lengths).to(device)

        with torch.inference_mode(), self.encoder.compute.autocast():
            for each in sets:
                metrics.update(self._likelihood(each, numbers))
                metrics.update(self._zero_shot(each, numbers, templates))
        self.model.train(was_training)
        return metrics

    def _likelihood(
        self, each: ValidationSet, numbers: Callable[[Sequence[str]], tuple[Tensor, Tensor]]
    ) -> dict[str, float]:
        told = [place for place, captions in enumerate(each.captions) if captions]
        if len(told) < 2:
            return {}
        losses = []
        for part in (told[start : start + 256] for start in range(0, len(told), 256)):
            tokens, lengths = numbers([each.captions[place][0] for place in part])
            losses.append((self._loss(self._features(each.pixels[part]), tokens, lengths).item(), len(part)))
        mean = sum(loss * count for loss, count in losses) / len(told)
        return {f"{each.name}/likelihood": float(np.exp(-mean))}

    def _zero_shot(
        self,
        each: ValidationSet,
        numbers: Callable[[Sequence[str]], tuple[Tensor, Tensor]],
        templates: Sequence[str],
    ) -> dict[str, float]:
        labelled = [place for place, label in enumerate(each.labels) if label]
        names = sorted({label for label in each.labels if label})
        if len(names) < 2:
            return {}
        if isinstance(self.head, Captioner) and len(labelled) > MOST_PICTURES:
            labelled = [labelled[at] for at in np.linspace(0, len(labelled) - 1, MOST_PICTURES).astype(int)]
        wanted = np.asarray([names.index(each.labels[place] or "") for place in labelled])
        first = [synonyms(name)[0] for name in names]
        said = first if isinstance(self.head, WordBag) else [templates[0].replace("{}", name) for name in first]
        tokens, lengths = numbers(said)
        parts = []
        size = 256 if isinstance(self.head, WordBag) else max(1, PAIRS_AT_ONCE // len(names))
        for start in range(0, len(labelled), size):
            features = self._features(each.pixels[labelled[start : start + size]])
            parts.append(self._scores(features, tokens, lengths).float().cpu().numpy())
        scores = np.concatenate(parts)  # (N, C)
        right = float((scores.argmax(axis=1) == wanted).mean())
        identity = np.eye(len(names), dtype=np.float32)
        return {
            f"{each.name}/top1": right,
            f"{each.name}/mean_per_class": mean_per_class(scores.astype(np.float32), identity, wanted),
        }

    def _scores(self, features: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        if isinstance(self.head, WordBag):
            return self.head.scores(features, word_shares(tokens, lengths, self.model.config.text.vocab_size))
        return self.head.scores(features, tokens, lengths)


def make_head(config: ArchConfig, kind: Literal["bag-of-words", "caption"]) -> WordBag | Captioner:
    """What predicts, for the image tower of `config`. Raises UsageError where that has no map to attend to."""
    if kind == "bag-of-words":
        return WordBag(config.embedding_dim, config.text.vocab_size)
    if not isinstance(config.image, ResNetConfig):
        raise UsageError(
            f"--objective caption attends to the last map of a ResNet, which {config.name} is not; "
            "choose another --arch, as RN-nano-64 or RN50"
        )
    return Captioner(config.image.channels_out, config.image.final_side**2, config.text, config.activation_of_text)


def _grid(model: Clip, pixels: Tensor) -> Tensor:
    """(B, P, M) of normalised pixels (B, 3, S, S)."""
    assert isinstance(model.image_tower, ModifiedResNet)  # `make_head` has seen to it
    return model.image_tower.maps(pixels).flatten(2).transpose(1, 2)


def head_weights(objective: Predicting) -> dict[str, Tensor]:
    """What `best.safetensors` holds: the image tower, and the head under `PREFIX`. There is no text tower."""
    tower = {f"image_tower.{name}": value for name, value in objective.model.image_tower.state_dict().items()}
    return tower | {f"{PREFIX}{name}": value for name, value in objective.head.state_dict().items()}


class CaptionWriter:
    """Sentences for pictures, by the best weights of a run of the objective caption.

    Raises:
        NotFoundError, DataError: the folder is no run, or has no weights yet.
        UsageError: the run has learnt something else.
        ModelError: the weights do not fit.
    """

    def __init__(self, run: Path) -> None:
        options, facts = TrainOptions.load(run), checkpoints.read_facts(run)
        if options.objective != "caption":
            wanted = "clip train --scratch --objective caption"
            raise UsageError(f"{run} has not learnt to write captions; a run that does is made by: {wanted}")
        self.model = Clip(ArchConfig.from_dict(facts["towers"]))
        head = make_head(self.model.config, "caption")
        assert isinstance(head, Captioner)
        self.head = head
        self.tokenizer = Tokenizer.load(run / TOKENIZER_FILE, self.model.config.text.context_length)
        path = run / checkpoints.BEST
        if not path.exists():
            raise DataError(f"{run} holds no weights yet; go on with: clip train --resume {run}")
        weights = checkpoints.load_weights(path)
        parts: tuple[tuple[nn.Module, str], ...] = ((self.model.image_tower, "image_tower."), (head, PREFIX))
        try:
            for module, prefix in parts:
                own = {name.removeprefix(prefix): part for name, part in weights.items() if name.startswith(prefix)}
                module.load_state_dict(own)
        except RuntimeError as error:
            raise ModelError(f"the weights in {path} do not fit: {str(error).splitlines()[-1].strip()}") from error
        self.model.eval()

    def __call__(self, pixels: NDArray[np.float32]) -> list[str]:
        """A sentence for each of (N, 3, S, S), preprocessed as `towers.json` says."""
        start_id = self.tokenizer.start_id
        assert start_id is not None  # learnt vocabularies have both markers
        with torch.inference_mode():
            grid = _grid(self.model, torch.from_numpy(pixels))
            written = self.head.write(grid, start_id=start_id, end_id=self.tokenizer.end_id)
        return [self.tokenizer.decode(numbers) for numbers in written]
