"""The two towers of a bundle, run by ONNX Runtime: pixels and texts in, unit vectors out.

Shapes: B batch, D embedding, H W pixels, L tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.sessions import RUNTIME_ERRORS, first_line, open_session
from clipcli.bundle.spec import ModelSpec, Variant, read_spec
from clipcli.bundle.stamps import check_stamps
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.errors import DeviceError, ModelError

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Model"]

_IMAGES_AT_ONCE = 64  # larger batches only cost memory: ONNX Runtime is at its peak from 8
_TEXTS_AT_ONCE = 256


class Model:
    """A loaded bundle. Each tower is a session opened at its first use: a text search never loads the image tower."""

    def __init__(self, folder: Path, spec: ModelSpec, variant: Variant, *, device: str, threads: int | None) -> None:
        self.folder = folder
        self.spec = spec
        self.variant = variant
        self._wanted = device
        self._threads = threads
        self._lock = Lock()
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._device: str | None = None
        self._tokenizer: Tokenizer | None = None

    @classmethod
    def load(cls, folder: Path, *, device: str = "auto", precision: str = "auto", threads: int | None = None) -> Model:
        """The bundle in `folder`. Raises NotFoundError, ModelError; DeviceError when a tower is first used."""
        spec = read_spec(folder)
        variant = spec.variant(precision)
        check_stamps(folder, spec, (variant.image, variant.text))
        return cls(folder, spec, variant, device=device, threads=threads)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def identity(self) -> str:
        return self.spec.identity

    @property
    def precision(self) -> str:
        return self.variant.precision

    @property
    def device(self) -> str:
        """Where the towers really run, "cpu" or "cuda"; opens the image tower if none is open yet."""
        if self._device is None:
            self._session("image")
        assert self._device is not None
        return self._device

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            self._tokenizer = Tokenizer.load(self.folder, self.spec.context_length)
        return self._tokenizer

    def encode_images(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, 3, S, S) as `preprocess.to_pixels` gives them -> (B, D), L2-normalised."""
        size = self.spec.preprocess.image_size
        if pixels.ndim != 4 or pixels.shape[1:] != (3, size, size):
            raise ValueError(f"pixels must be (B, 3, {size}, {size}), not {pixels.shape}")
        return self._encode("image", "pixels", _parts(pixels.astype(np.float32, copy=False), _IMAGES_AT_ONCE))

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """B texts -> (B, D), L2-normalised."""
        return self.encode_tokens(self.tokenizer(texts))

    def encode_tokens(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """(B, L) -> (B, D), L2-normalised."""
        return self._encode("text", "tokens", (self._cut(part) for part in _parts(tokens, _TEXTS_AT_ONCE)))

    def _cut(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Without what follows the last end marker: under a causal mask the same embedding for less work."""
        if not self.spec.causal_text or isinstance(self._session("text").get_inputs()[0].shape[1], int):
            return tokens
        return np.ascontiguousarray(tokens[:, : int(self.tokenizer.lengths(tokens).max())])

    def _encode(self, tower: str, given: str, parts: Iterator[NDArray[Any]]) -> NDArray[np.float32]:
        session = self._session(tower)
        done = [self._run(session, tower, given, part) for part in parts]
        if not done:
            return np.empty((0, self.spec.embedding_dim), dtype=np.float32)
        vectors = done[0] if len(done) == 1 else np.concatenate(done)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))

    def _run(
        self, session: onnxruntime.InferenceSession, tower: str, given: str, batch: NDArray[Any]
    ) -> NDArray[np.float32]:
        try:
            (vectors,) = session.run(["embedding"], {given: batch})
        except RUNTIME_ERRORS as error:
            kind = DeviceError if self._device == "cuda" else ModelError
            raise kind(f"{tower} tower of {self.name}: {first_line(error)}") from error
        vectors = np.asarray(vectors, dtype=np.float32)  # (B, D)
        if vectors.shape != (len(batch), self.spec.embedding_dim) or not np.isfinite(vectors).all():
            raise ModelError(f"{tower} tower of {self.name}: gave no usable vectors (shape {vectors.shape})")
        return vectors

    def _session(self, tower: str) -> onnxruntime.InferenceSession:
        with self._lock:
            if tower not in self._sessions:
                name = self.variant.image if tower == "image" else self.variant.text
                # A second tower goes where the first one went, so that `device` stays true for both.
                wanted = self._device or self._wanted
                session, self._device = open_session(self.folder / name, device=wanted, threads=self._threads)
                self._sessions[tower] = session
            return self._sessions[tower]


def _parts(rows: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
