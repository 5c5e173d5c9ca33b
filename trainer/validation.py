"""How good the towers are on pictures held out from training: retrieval of captions, zero-shot accuracy on labels.

Shapes: N pictures, T texts, C classes, D embedding, S image size, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clipcli.evaluate.retrieval import recall_at_k
from clipcli.evaluate.zero_shot import mean_per_class, prototypes, top_k_accuracy
from trainer.sampling import synonyms
from trainer.towers import Clip

__all__ = ["Metrics", "ValidationSet", "by_luck", "encode_texts", "score", "small_sets", "validate"]

Metrics = dict[str, float]
FEW = 50  # pictures: with fewer, recall@10 is a fifth or more by luck, and one picture is two points of recall@1
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationSet:
    """Pictures as inference sees them, with their captions or their labels."""

    name: str
    pixels: NDArray[np.uint8]  # (N, S, S, 3)
    captions: tuple[tuple[str, ...], ...]  # (N,) empty where there are none
    labels: tuple[str | None, ...]  # (N,)


def validate(
    model: Clip,
    sets: Sequence[ValidationSet],
    *,
    tokenise: Callable[[Sequence[str]], NDArray[np.int64]],
    templates: Sequence[str],
    to_device: Callable[[NDArray[np.uint8]], Tensor],
    autocast: Callable[[], torch.autocast],
    batch_size: int = 256,
) -> Metrics:
    """Shares from 0 to 1 by name: `SET/text_to_image@10`, `SET/image_to_text@10`, `SET/top1`, `SET/mean_per_class`."""
    was_training = model.training
    model.eval()

    def encode(texts: Sequence[str]) -> Floats:
        return encode_texts(model, texts, tokenise, batch_size=batch_size)

    metrics: Metrics = {}
    with torch.inference_mode(), autocast():
        for each in sets:
            parts = [
                model.encode_image(to_device(each.pixels[start : start + batch_size])).float().cpu().numpy()
                for start in range(0, len(each.pixels), batch_size)
            ]
            vectors = np.concatenate(parts)  # (N, D)
            metrics.update(_retrieval(each, vectors, encode))
            metrics.update(_zero_shot(each, vectors, encode, templates))
    model.train(was_training)
    return metrics


def encode_texts(
    model: Clip, texts: Sequence[str], tokenise: Callable[[Sequence[str]], NDArray[np.int64]], *, batch_size: int = 256
) -> Floats:
    """(T, D), of length 1, in the mode and the number format that the caller has set."""
    parts = []
    for start in range(0, len(texts), batch_size):
        tokens = torch.from_numpy(tokenise(texts[start : start + batch_size]))
        longest = tokens.shape[1]
        if model.config.text.causal:  # then nothing behind the last end token reaches it
            longest = int((tokens == tokens.max()).long().argmax(dim=1).max()) + 1
        parts.append(model.encode_text(tokens[:, :longest].to(model.logit_scale.device)).float().cpu().numpy())
    return np.concatenate(parts)


def _retrieval(each: ValidationSet, vectors: Floats, encode: Callable[[Sequence[str]], Floats]) -> Metrics:
    told = [place for place, captions in enumerate(each.captions) if captions]
    if len(told) < 2:
        return {}
    texts = [text for place in told for text in each.captions[place]]
    owners = np.asarray([at for at, place in enumerate(told) for _ in each.captions[place]])
    recalls = recall_at_k(encode(texts), vectors[told], owners)
    return {f"{each.name}/{way}@{k}": share for way, by_k in recalls.items() for k, share in by_k.items()}


def _zero_shot(
    each: ValidationSet, vectors: Floats, encode: Callable[[Sequence[str]], Floats], templates: Sequence[str]
) -> Metrics:
    labelled = [place for place, label in enumerate(each.labels) if label]
    names = sorted({label for label in each.labels if label})
    if len(names) < 2:
        return {}
    number = {label: at for at, label in enumerate(names)}
    wanted = np.asarray([number[each.labels[place] or ""] for place in labelled])
    texts = [template.replace("{}", synonyms(name)[0]) for name in names for template in templates]
    classes = prototypes(encode(texts).reshape(len(names), len(templates), -1))  # (C, D)
    shares = top_k_accuracy(vectors[labelled], classes, wanted, ks=(1, min(5, len(names))))
    found = {f"{each.name}/top{k}": share for k, share in shares.items()}
    return found | {f"{each.name}/mean_per_class": mean_per_class(vectors[labelled], classes, wanted)}


def small_sets(sets: Sequence[ValidationSet]) -> frozenset[str]:
    """The names of the sets with captions of so few pictures that recall@10 says next to nothing."""
    return frozenset(each.name for each in sets if 2 <= _told(each) <= FEW)


def _told(each: ValidationSet) -> int:
    return sum(map(bool, each.captions))


def by_luck(sets: Sequence[ValidationSet]) -> list[str]:
    """What must be said of sets so small that a model which knows nothing looks good on them."""
    remarks = []
    for each in sets:
        told = _told(each)
        if each.name in small_sets([each]):
            luck = "100 % whatever the model does" if told <= 10 else f"{1000 / told:.0f} % by luck alone"
            remarks.append(
                f"{each.name} has {told} pictures with captions: recall@10 among them is {luck}, "
                f"and one picture more or less moves recall@1 by {100 / told:.0f} points; "
                "give more by --validation, or hold out more by --set validation_share"
            )
    return remarks


def score(metrics: Metrics) -> float:
    """One number to choose a checkpoint by: the mean of recall@1, 5 and 10 for each set and way, and of top-1.

    Recall@10 alone is 1 for any model where few pictures are held out, and would choose nothing.
    """
    recalls: dict[str, list[float]] = {}
    for name, value in metrics.items():
        if "@" in name:
            recalls.setdefault(name.split("@")[0], []).append(value)
    chosen = [sum(values) / len(values) for values in recalls.values()]
    chosen += [value for name, value in metrics.items() if name.endswith("/top1")]
    if not chosen:  # objectives that predict words, on pictures with captions
        chosen = [value for name, value in metrics.items() if name.endswith("/likelihood")]
    return sum(chosen) / len(chosen) if chosen else 0.0
