"""Between the start model and the fine-tuned one: weights on the line from one to the other (WiSE-FT).

After Wortsman et al. 2022, "Robust fine-tuning of zero-shot models". What fine-tuning learnt and what it forgot both
change along that line, and what is learnt mostly comes back sooner. So the line is walked in eleven steps, and at each
is measured how well the held-out pictures are done, and what is left of the start: on files that a person names for it
(`keep`), and, without any, by how much the answers have changed where the pairs say nothing: of the words that no
training text holds, the ten nearest to each held-out picture.

Shapes: N pictures, T texts, D embedding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.encoding import Encoder
from trainer.towers import Clip
from trainer.validation import Metrics, ValidationSet, encode_texts, score, validate

__all__ = ["STEPS", "Anchored", "between", "unsaid_words", "walk"]

STEPS = tuple(step / 10 for step in range(11))
NEAREST = 10
MOST_WORDS, LEAST_WORDS, LETTERS = 500, 50, 6

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchored:
    """What the weights at one place of the line can do; shares from 0 to 1."""

    anchor: float  # share of the start model: 0 is the fine-tuned one, 1 the model it began with
    metrics: Metrics  # on the held-out pictures, as `trainer.validation.validate`
    kept: Metrics  # likewise on what was named to be kept
    as_before: float | None  # share of the nearest words that are those of the start model

    def figures(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "anchor": self.anchor,
            "score": score(self.metrics),
            "kept": kept_scores(self.kept),
            "as_before": self.as_before,
            "metrics": {name: round(value, 6) for name, value in (self.metrics | self.kept).items()},
        }


def kept_scores(kept: Metrics) -> dict[str, float]:
    """One number a set, as `score` has it for all."""
    names = dict.fromkeys(name.split("/")[0] for name in kept)
    return {each: score({n: v for n, v in kept.items() if n.split("/")[0] == each}) for each in names}


def between(start: Mapping[str, Tensor], tuned: Mapping[str, Tensor], anchor: float) -> dict[str, Tensor]:
    """(1 - anchor) tuned + anchor start, exact at both ends; counts are those of `tuned`."""
    return {
        name: torch.lerp(tensor, start[name].to(tensor), anchor) if tensor.is_floating_point() else tensor
        for name, tensor in tuned.items()
    }


def unsaid_words(entries: Iterable[str], texts: Iterable[str]) -> list[str]:
    """Words of a vocabulary that stand in none of the texts, in the order of the alphabet, thinned out evenly.

    An entry counts that begins a word (in the byte-level way) or ends one (in the original release's), is of ASCII
    letters, and is long enough to be a word more often than a piece of one. Too few are none.
    """
    said = {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}
    found = set()
    for entry in entries:
        word = entry.removeprefix("Ġ").removeprefix("▁").removesuffix("</w>")
        if word != entry and len(word) >= LETTERS and word.isascii() and word.isalpha() and word.lower() not in said:
            found.add(word.lower())
    if len(found) < LEAST_WORDS:
        return []
    return sorted(found)[:: -(-len(found) // MOST_WORDS)]


def walk(
    model: Clip,
    encoder: Encoder,
    *,
    start: Mapping[str, Tensor],
    tuned: Mapping[str, Tensor],
    anchors: Sequence[float],
    sets: Sequence[ValidationSet],
    keep: Sequence[ValidationSet],
    words: Sequence[str],
    tokenise: Callable[[Sequence[str]], NDArray[np.int64]],
    templates: Sequence[str],
    advance: Callable[[int], None],
) -> list[Anchored]:
    """Measure at each of `anchors`. `model`, whose encoder is `encoder`, is left with the weights of the last."""

    def measured(of: Sequence[ValidationSet]) -> Metrics:
        return validate(
            model,
            of,
            tokenise=tokenise,
            templates=templates,
            to_device=encoder.to_device,
            autocast=encoder.compute.autocast,
        )

    phrases = [templates[0].replace("{}", word) for word in words]
    pictures = np.concatenate([each.pixels for each in sets])[:MOST_WORDS] if phrases else None
    model.load_state_dict(dict(start))
    reference = None if pictures is None else _nearest(model, encoder, pictures, phrases, tokenise)
    found = []
    for anchor in anchors:
        model.load_state_dict(between(start, tuned, anchor))
        as_before = None
        if pictures is not None and reference is not None:
            now = _nearest(model, encoder, pictures, phrases, tokenise)
            both = [len(np.intersect1d(*pair)) for pair in zip(reference, now, strict=True)]
            as_before = float(np.mean(both)) / NEAREST
        found.append(Anchored(anchor=anchor, metrics=measured(sets), kept=measured(keep), as_before=as_before))
        advance(1)
    return found


def _nearest(
    model: Clip,
    encoder: Encoder,
    pictures: NDArray[np.uint8],
    phrases: Sequence[str],
    tokenise: Callable[[Sequence[str]], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """(N, 10) numbers of the phrases nearest to each picture."""
    model.eval()
    with torch.inference_mode():
        parts = [encoder.images(pictures[at : at + 256]).float().cpu().numpy() for at in range(0, len(pictures), 256)]
        with encoder.compute.autocast():
            texts = encode_texts(model, phrases, tokenise)
    cosines = np.concatenate(parts) @ texts.T  # (N, T), the pictures' lengths change no order
    return np.argsort(-cosines, axis=1, kind="stable")[:, :NEAREST]
