"""Prompt templates: a class is called by several sentences, and its prototype is the direction of their mean.

Radford et al. 2021, section 3.1.4 ("prompt ensembling": the ensemble is over embeddings, not over probabilities).
Shapes: C classes, T templates, D embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clipcli.errors import UsageError

__all__ = ["TextEncoder", "class_prototypes", "fill"]


class TextEncoder(Protocol):
    """What prototypes need of a model: `clipcli.bundle.encoder.Model` has it, and so has a model in training."""

    def encode_texts(self, texts: Sequence[str], /) -> NDArray[np.float32]: ...  # (B, D), L2-normalised


def fill(template: str, label: str) -> str:
    """`template` with `label` in place of {}. Not `str.format`: a label may hold braces of its own."""
    if "{}" not in template:
        raise UsageError(f"the template {template!r} has no {{}} where the label goes")
    return template.replace("{}", label)


def class_prototypes(model: TextEncoder, labels: Sequence[str], templates: Sequence[str]) -> NDArray[np.float32]:
    """(C, D): for each label the normalised mean over the templates of its normalised embeddings."""
    if not labels:
        raise UsageError("no labels given")
    if not templates:
        raise UsageError("no prompt templates given")
    texts = [fill(template, label) for label in labels for template in templates]
    vectors = model.encode_texts(texts).reshape(len(labels), len(templates), -1)  # (C, T, D)
    means = vectors.mean(axis=1)  # (C, D)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(means / np.maximum(lengths, 1e-12), dtype=np.float32)
