"""The model that answers, loaded once, and what it has said lately.

Shapes: D embedding, S image size.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.preprocess import normalise
from clipcli.bundle.templates import class_prototypes

if TYPE_CHECKING:
    from clipcli.bundle.encoder import Model
    from clipcli.bundle.spec import Preprocess
    from clipcli.library.store import Library

__all__ = ["Encoding", "ModelInUse", "OpenModel"]

_REMEMBERED = 1024

Vector = NDArray[np.float64]  # (D,), of length 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInUse:
    """A model, and the precision of those of its embeddings in the library that are searched."""

    model: Model
    stored_precision: str


# How the model is found is the command's affair: None for a library without any embeddings.
OpenModel = Callable[["Library"], ModelInUse | None]


class Encoding:
    """Texts and pictures as unit vectors. Texts are remembered: a query grows letter by letter, and shrinks again."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._texts: OrderedDict[str, Vector] = OrderedDict()
        self._everyday: tuple[tuple[str, ...], NDArray[np.float32]] | None = None
        self._used: set[str] = set()

    @property
    def device(self) -> str | None:
        """Where the model runs; None before anything was asked of it, which would load it."""
        return self._model.device if self._used else None

    @property
    def preprocess(self) -> Preprocess:
        return self._model.spec.preprocess

    def text(self, text: str) -> Vector:
        with self._lock:
            if text in self._texts:
                self._texts.move_to_end(text)
                return self._texts[text]
        vector = _unit(self._model.encode_texts([text])[0])
        with self._lock:
            self._used.add("text")
            self._texts[text] = vector
            if len(self._texts) > _REMEMBERED:
                self._texts.popitem(last=False)
        return vector

    def picture(self, levels: NDArray[np.uint8]) -> Vector:
        """Of a picture that has been resized and cropped, (S, S, 3)."""
        pixels = normalise(levels, self.preprocess)
        vector = _unit(self._model.encode_images(pixels[None])[0])
        with self._lock:
            self._used.add("image")
        return vector

    def everyday(self, words: Sequence[str]) -> NDArray[np.float32]:
        """As `words`, of those that are asked for again and again: kept."""
        key = tuple(words)
        with self._lock:
            kept = self._everyday
        if kept is None or kept[0] != key:
            kept = key, self.words(words)
            with self._lock:
                self._everyday = kept
        return kept[1]

    def words(self, words: Sequence[str]) -> NDArray[np.float32]:
        """(C, D): each word in the model's own prompt templates."""
        return class_prototypes(self._model, words, self._model.spec.templates)


def _unit(row: NDArray[np.float32]) -> Vector:
    wide = row.astype(np.float64)
    return np.asarray(wide / np.linalg.norm(wide))
