"""A model for Python programs: texts and pictures in, unit vectors out.

Shapes: B batch, C labels, D embedding.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.encoder import Model as Encoder
from clipcli.bundle.installed import find_model

__all__ = ["AnyPath", "Model", "several"]

_PICTURES_AT_ONCE = 32

AnyPath = str | Path
_T = TypeVar("_T")


class Model:
    """A model on this machine: texts and pictures in, unit vectors out. It is loaded at its first use, tower by tower.

    `name` is an installed model or a model folder; without one it is the default model. Raises NotFoundError where
    there is no such model, ModelError where it is damaged; DeviceError comes with the first use.
    """

    def __init__(
        self,
        name: AnyPath | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> None:
        folder = find_model(None if name is None else os.fspath(name))
        self.encoder = Encoder.load(folder, device=device, precision=precision, threads=threads)

    @property
    def name(self) -> str:
        return self.encoder.name

    @property
    def dimension(self) -> int:
        """How many numbers an embedding has."""
        return self.encoder.spec.embedding_dim

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(B, D), each of length 1."""
        return self.encoder.encode_texts(several(texts))

    def encode_pictures(self, files: Sequence[AnyPath]) -> NDArray[np.float32]:
        """(B, D), each of length 1. Raises ImageError for a file that cannot be read."""
        from contextlib import closing

        from clipcli.library.decoded_picture import PictureDecoder

        preprocess = self.encoder.spec.preprocess
        files = several(files)
        found = [np.empty((0, self.dimension), dtype=np.float32)]
        with closing(PictureDecoder(preprocess, count=len(files))) as decoder:
            for start in range(0, len(files), _PICTURES_AT_ONCE):
                pixels = [decoder.pixels(os.fsencode(file)) for file in files[start : start + _PICTURES_AT_ONCE]]
                found.append(self.encoder.encode_images(np.stack(pixels)))
        return np.concatenate(found)

    def classify(
        self, files: Sequence[AnyPath], labels: Sequence[str], *, templates: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """(B, C): how probable each label is for each picture, by the model's own prompt templates or by these.

        A row adds up to 1, except with a model trained with sigmoids, whose labels are independent.
        """
        from clipcli.bundle.templates import class_prototypes
        from clipcli.evaluate.probabilities import label_probabilities

        spec = self.encoder.spec
        prototypes = class_prototypes(self.encoder, several(labels), templates or spec.templates)  # (C, D)
        cosines = self.encode_pictures(files) @ prototypes.T
        return label_probabilities(cosines, logit_scale=spec.logit_scale, logit_bias=spec.logit_bias)


def several(values: Sequence[_T]) -> Sequence[_T]:
    """A single text where several were meant would be taken letter by letter."""
    if isinstance(values, str | Path):
        raise TypeError(f"a list is wanted, not {values!r} alone")
    return values
