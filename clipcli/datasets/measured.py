"""What a model has to have to be measured: an ONNX bundle has it, and so has a checkpoint of training.

Shapes: B batch, D embedding, S image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.spec import Preprocess

__all__ = ["Facts", "Measured"]


class Facts(Protocol):
    """How a model is used: `clipcli.bundle.spec.ModelSpec` says it of a bundle."""

    @property
    def embedding_dim(self) -> int: ...
    @property
    def preprocess(self) -> Preprocess: ...
    @property
    def templates(self) -> tuple[str, ...]: ...
    @property
    def logit_scale(self) -> float: ...
    @property
    def logit_bias(self) -> float | None: ...


class Measured(Protocol):
    """`precision` tells vectors of one model apart: `fp32`, `fp16`, `int8`, or `torch` for a checkpoint."""

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def spec(self) -> Facts: ...
    @property
    def bytes_in_all(self) -> int: ...  # of the model as it lies on disk
    @property
    def bytes_to_run(self) -> int: ...  # of what running it in this precision reads

    def encode_images(self, pixels: NDArray[np.float32], /) -> NDArray[np.float32]: ...  # (B, 3, S, S) -> (B, D)
    def encode_texts(self, texts: Sequence[str], /) -> NDArray[np.float32]: ...  # (B, D); both L2-normalised
