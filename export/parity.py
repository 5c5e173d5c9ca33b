"""How far the graphs are from torch: the smallest cosine of both towers, and what it does to retrieval.

`python -m export.check BUNDLE PAIRS` measures a whole bundle on pairs of one's own.
Shapes: N images, T texts, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from clipcli.bundle.encoder import Model
from clipcli.bundle.probe import COSINE_FLOORS, smallest_cosine
from clipcli.bundle.spec import Preprocess
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.evaluate.retrieval import recall_at_k
from export.samples import Samples

if TYPE_CHECKING:
    from trainer.towers import Clip

__all__ = ["RECALL_LIMITS", "Embeddings", "compare", "faults", "onnx_embeddings", "torch_embeddings"]

# Points of recall@10 that a precision may cost or seem to win.
RECALL_LIMITS = {"fp32": 0.1, "fp16": 0.2, "int8": 1.0}

# Recall@10 says nothing where ten is a large share of all there is, and one caption more or less is a point.
_FEWEST_FOR_RECALL = 200

_NEAR_TIES = 3  # texts
_AT_ONCE = 64
_TEXTS_AT_ONCE = 1024
_TOP = 10
_EQUAL = 1e-6  # cosines that differ by no more may do so by the order in which numbers were added


@dataclass(frozen=True, kw_only=True, slots=True)
class Embeddings:
    """What one form of a model gives for the samples."""

    images: NDArray[np.float32]  # (N, D)
    texts: NDArray[np.float32]  # (T, D)


@torch.no_grad()
def torch_embeddings(model: Clip, samples: Samples, preprocess: Preprocess, tokenizer: Tokenizer) -> Embeddings:
    """From the torch towers, in evaluation mode, on the device and in the precision they are in."""
    place = next(model.parameters()).device
    tokens = torch.from_numpy(tokenizer(samples.texts))
    images = [
        model.encode_image(torch.from_numpy(samples.pixels(preprocess, start=start, stop=start + _AT_ONCE)).to(place))
        for start in range(0, len(samples.images), _AT_ONCE)
    ]
    texts = [model.encode_text(part.to(place)) for part in torch.split(tokens, _AT_ONCE)]
    return Embeddings(images=torch.cat(images).cpu().numpy(), texts=torch.cat(texts).cpu().numpy())


def onnx_embeddings(model: Model, samples: Samples) -> Embeddings:
    """From the graphs, by the code that runs every day: same batches, same cutting of texts."""
    preprocess = model.spec.preprocess
    images = [
        model.encode_images(samples.pixels(preprocess, start=start, stop=start + _AT_ONCE))
        for start in range(0, len(samples.images), _AT_ONCE)
    ]
    return Embeddings(images=np.concatenate(images), texts=model.encode_texts(samples.texts))


def compare(reference: Embeddings, other: Embeddings, samples: Samples) -> dict[str, float]:
    """The figures that go into `model.json`: smallest cosines, counts, and the change of R@10 where it means something.

    `recall10_change` is of texts finding their pictures, the way a search goes, in percentage points without its sign;
    `top10_overlap` how much of the first ten stays.
    """
    figures: dict[str, float] = {
        "image_min_cosine": round(smallest_cosine(reference.images, other.images), 7),
        "text_min_cosine": round(smallest_cosine(reference.texts, other.texts), 7),
        "images": len(samples.images),
        "texts": len(samples.texts),
    }
    owners = samples.text_to_image
    if owners is not None and len(samples.images) >= _FEWEST_FOR_RECALL:
        before = recall_at_k(reference.texts, reference.images, owners, (10,))["text_to_image"][10]
        after = recall_at_k(other.texts, other.images, owners, (10,))["text_to_image"][10]
        figures["recall10_change"] = round(100 * abs(after - before), 3)
        figures["top10_overlap"] = round(first_ten_kept(reference, other), 4)
    return figures


def first_ten_kept(reference: Embeddings, other: Embeddings) -> float:
    """The share of the first ten pictures for a text, the mean of all texts, that are among the reference's first ten.

    One that the reference scores as high as its tenth is among them: which of two equals comes first is luck.
    """
    kept = 0
    for start in range(0, len(reference.texts), _TEXTS_AT_ONCE):
        texts = slice(start, start + _TEXTS_AT_ONCE)
        scores = reference.texts[texts] @ reference.images.T  # (T, N)
        tenth = -np.partition(-scores, _TOP - 1, axis=1)[:, _TOP - 1 : _TOP]  # (T, 1)
        found = np.argpartition(-(other.texts[texts] @ other.images.T), _TOP - 1, axis=1)[:, :_TOP]  # (T, 10)
        kept += int(np.count_nonzero(np.take_along_axis(scores, found, axis=1) >= tenth - _EQUAL))
    return kept / (_TOP * len(reference.texts))


def faults(precision: str, figures: dict[str, float]) -> str:
    """Why a variant with these figures is refused; empty where it is good."""
    floor = COSINE_FLOORS[precision]
    poor = [
        f"{tower} cosine {figures[f'{tower}_min_cosine']:.6f}, at least {floor} wanted"
        for tower in ("image", "text")
        if figures[f"{tower}_min_cosine"] < floor
    ]
    # A few near ties at the tenth place fall one way or the other with the last digit of any arithmetic.
    limit = max(RECALL_LIMITS[precision], 100 * _NEAR_TIES / figures["texts"])
    change = figures.get("recall10_change", 0.0)
    if change > limit:
        poor.append(f"recall@10 changes by {change} points, at most {limit:.2g} allowed")
    return "; ".join(poor)
