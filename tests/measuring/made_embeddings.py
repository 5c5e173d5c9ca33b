"""Embeddings that are a function of their names alone, so that reference values need no embeddings beside them.

Shapes: N images, C classes, D embedding.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

REFERENCES = Path(__file__).parent / "references" / "peers.json"
PICTURES, CLASSES, DIM = 400, 23, 32
NAMES = [f"class{number}" for number in range(CLASSES)]
TEMPLATES = ("a photo of a {}.", "{}", "the {} again")


def texts(sentences: Sequence[str]) -> NDArray[np.float32]:
    """(B, D) of length 1: a direction for each word, added up."""
    return _unit(np.stack([sum((_direction(word) for word in text.split()), np.zeros(DIM)) for text in sentences]))


def labels() -> NDArray[np.int64]:
    """(N,): classes of unequal size, as most data has."""
    return (np.random.RandomState(1).random_sample(PICTURES) ** 2 * CLASSES).astype(np.int64)


def captions() -> list[list[str]]:
    """One to five of each picture."""
    return [[f"picture{n} seen{k} so" for k in range(1 + n % 5)] for n in range(PICTURES)]


@functools.cache
def images() -> NDArray[np.float32]:
    """(N, D) of length 1: somewhat like their class, somewhat like their captions."""
    noise = np.random.RandomState(2).standard_normal((PICTURES, DIM))
    own = [_direction(NAMES[label]) + 1.5 * _direction(f"picture{n}") for n, label in enumerate(labels())]
    return _unit(np.stack(own) + 2.2 * noise)


def references() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(REFERENCES.read_text("utf-8"))
    return found


@functools.cache
def _direction(word: str) -> NDArray[np.float64]:
    return np.random.RandomState(zlib.crc32(word.strip(".").encode())).standard_normal(DIM)


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
