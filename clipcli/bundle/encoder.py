"""The two towers of a bundle, run by ONNX Runtime: pixels and texts in, unit vectors out.

Shapes: B batch, D embedding, S image size, L tokens.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import RLock, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.choosing import IN_HALVES, choose_variant
from clipcli.bundle.first_use import check_first_use
from clipcli.bundle.probe import read_probe, tower_cosine
from clipcli.bundle.sessions import RUNTIME_ERRORS, first_line, may_use_cuda, open_session
from clipcli.bundle.spec import PROBE_FILE, TOKENIZER_FILE, ModelSpec, Variant, read_spec
from clipcli.bundle.stamps import check_stamps
from clipcli.bundle.tokenizer import Tokenizer
from clipcli.bundle.tower import Tower
from clipcli.errors import DeviceError, ModelError

__all__ = ["Model"]

# Larger batches are run in parts: they would only cost memory, ONNX Runtime is at its peak from about 8 pictures.
_IMAGES_AT_ONCE = 64
# On the CPU each core has a part of the batch to itself: no core waits for another at every operator.
_IMAGES_A_CORE, _FEWEST_A_CORE = 8, 2
_TEXTS_AT_ONCE = 256


class Model:
    """A loaded bundle. Each tower is a session opened at its first use: a text search never loads the image tower."""

    def __init__(
        self, folder: Path, spec: ModelSpec, variant: Variant, *, device: str, threads: int | None, brief: bool = False
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.variant = variant
        self._wanted = device
        self._threads = threads
        self._brief = brief
        self._cores = threads or _usable_cores()
        self._side_by_side: ThreadPoolExecutor | None = None
        self._lock = RLock()
        self._towers: dict[str, Tower] = {}
        self._device: str | None = None
        self._tokenizer: Tokenizer | None = None

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        brief: bool = False,
    ) -> Model:
        """The bundle in `folder`; `precision` "auto" is the fastest known to be exact enough (`choosing`).

        `brief` says that a text or a picture or two will be encoded and no more: the text tower is then kept in the
        cache folder in a form that is opened sooner and runs a little slower, and all cores work on one picture. With
        `device` "auto" it is done by the processor, before a GPU's libraries would be loaded.

        Raises NotFoundError where there is no such model or variant, ModelError where it is damaged. DeviceError comes
        with the first use of a tower.
        """
        spec = read_spec(folder)
        device = "cpu" if brief and device == "auto" else device
        variant = choose_variant(spec, precision, device=device)
        check_stamps(folder, spec, (variant.image, variant.text, *variant.data, TOKENIZER_FILE))
        return cls(folder, spec, variant, device=device, threads=threads, brief=brief)

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
    def bytes_in_all(self) -> int:
        """Of all files of the bundle, further variants and the weights for training included."""
        return sum(int(facts["bytes"]) for facts in self.spec.files.values())

    @property
    def bytes_to_run(self) -> int:
        """Of the files that this precision needs."""
        needed = dict.fromkeys((self.variant.image, self.variant.text, *self.variant.data, TOKENIZER_FILE))
        return sum(int(self.spec.files[name]["bytes"]) for name in needed if name in self.spec.files)

    @property
    def device(self) -> str:
        """Where the towers really run, "cpu" or "cuda". Before anything was encoded this opens the image tower."""
        if self._device is None:
            self._tower("image")
        assert self._device is not None
        return self._device

    @property
    def may_use_gpu(self) -> bool:
        """Whether `device` may turn out to be a GPU: no graph is opened for it."""
        return (self._device or self._wanted) != "cpu" and may_use_cuda()

    @property
    def ran_on(self) -> str | None:
        """As `device`, but nothing is opened: None where nothing has been so far."""
        return self._device

    @property
    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            self._tokenizer = Tokenizer.of(self.folder, self.spec)
        return self._tokenizer

    @property
    def text_is_fixed(self) -> bool:
        """Whether the text graph wants all of the context length, however short a text is."""
        return self._tower("text").fixed_length is not None

    def open_text_tower(self) -> None:
        """Begin to open it, in a thread: whoever needs it next waits for it, and hears of what went wrong."""

        def ahead() -> None:
            with suppress(Exception):  # raised again where the tower is used
                self._tower("text")

        Thread(target=ahead, name="text tower").start()

    def encode_images(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, 3, S, S) as `preprocess.to_pixels` gives them -> (B, D), L2-normalised."""
        size = self.spec.preprocess.image_size
        if pixels.ndim != 4 or pixels.shape[1:] != (3, size, size):
            raise ValueError(f"pixels must be (B, 3, {size}, {size}), not {pixels.shape}")
        pixels = pixels.astype(np.float32, copy=False)
        if self.device != "cpu":
            return self._encode("image", _parts(pixels, max(1, len(pixels))))  # its memory decides (`device_memory`)
        if self._brief or self._cores == 1:
            return self._encode("image", _parts(pixels, _IMAGES_AT_ONCE))
        share = -(-len(pixels) // self._cores)
        return self._encode("image", _parts(pixels, min(max(share, _FEWEST_A_CORE), _IMAGES_A_CORE)))

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """B texts -> (B, D), L2-normalised."""
        return self.encode_tokens(self.tokenizer(texts))

    def encode_tokens(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """(B, L) -> (B, D), L2-normalised."""
        return self._encode("text", [self._cut(part) for part in _parts(tokens, _TEXTS_AT_ONCE)])

    def _cut(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """Without what follows the last end marker: under a causal mask the same embedding for less work."""
        if not self.spec.causal_text or self.text_is_fixed:
            return tokens
        return np.ascontiguousarray(tokens[:, : int(self.tokenizer.lengths(tokens).max())])

    def _encode(self, tower: str, parts: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        if not parts:
            return np.empty((0, self.spec.embedding_dim), dtype=np.float32)
        vectors = np.concatenate(self._run_all(tower, parts))  # (B, D)
        # Our graphs normalise, and only their last digits are made sure of; most graphs of others do not.
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)

    def _run_all(self, tower: str, parts: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Each part, on the CPU as many images at the same time as there are cores."""
        self._tower(tower)  # here, since the threads below could not: its lock is held at a first use
        if tower == "text" or len(parts) == 1 or self._brief or self._device != "cpu":
            return [self._run(tower, part) for part in parts]
        with self._lock:
            if self._side_by_side is None:
                self._side_by_side = ThreadPoolExecutor(self._cores, thread_name_prefix="image tower")
        return list(self._side_by_side.map(lambda part: self._run(tower, part), parts))

    def _run(self, tower: str, batch: NDArray[Any]) -> NDArray[np.float32]:
        opened = self._towers.get(tower) or self._tower(tower)
        lengths = self.tokenizer.lengths(batch) if opened.mask is not None else None
        try:
            outcome = opened.run(batch, lengths)
        except RUNTIME_ERRORS as error:
            kind = DeviceError if self._device == "cuda" else ModelError
            raise kind(f"the {tower} tower of {self.name} failed: {first_line(error)}") from error
        vectors = outcome.astype(np.float32, copy=False)  # (B, D)
        if vectors.shape != (len(batch), self.spec.embedding_dim):
            raise ModelError(f"the {tower} tower of {self.name} gives {vectors.shape}, not what its model.json says")
        if not np.isfinite(vectors).all():
            raise ModelError(f"the {tower} tower of {self.name} gives numbers that are not finite")
        return vectors

    def _tower(self, tower: str) -> Tower:
        with self._lock:
            if tower not in self._towers and not self._opened_in_halves(tower):
                self._towers[tower] = self._open(tower, self._graph(tower), kept=self._kept(tower))
                self._check_first_use(tower, self._device or "cpu")
            return self._towers[tower]

    def _graph(self, tower: str) -> Path:
        return self.folder / (self.variant.image if tower == "image" else self.variant.text)

    def _open(self, tower: str, graph: Path, *, kept: Path | None = None) -> Tower:
        alone = tower == "image" and not self._brief  # a thread each: `_run_all` has as many as there are cores
        session, self._device = open_session(
            graph,
            device=self._device or self._wanted,  # where the first tower went, so that `device` stays true for both
            threads=1 if alone else self._threads,
            kept=kept,
            often=alone,
        )
        return Tower.of(session, tower, self.spec.graphs, device=self._device)

    def _opened_in_halves(self, tower: str) -> bool:
        """On a GPU fp16 is computed in halves, where that is exact enough on this machine."""
        if self.precision != "fp16" or not self.may_use_gpu:
            return False
        from clipcli.bundle.half_graphs import open_halves  # late: few machines have a GPU
        from clipcli.bundle.ready_graphs import graph_folder

        folder = graph_folder(self.spec.graph_digest(self.variant, tower), "-halves")
        opened = open_halves(self._graph(tower), folder, lambda graph: self._open(tower, graph))
        if opened is None or opened.bound is None:  # a GPU that cannot be used after all
            return False
        self._towers[tower] = opened
        with suppress(ModelError, DeviceError):  # not exact enough, or an operator that this card has not in halves
            self._check_first_use(tower, IN_HALVES)
        return tower in self._towers

    def _kept(self, tower: str) -> Path | None:
        if self._brief != (tower == "text"):  # a search's text tower, an index run's image tower
            return None
        from clipcli.bundle.ready_graphs import ready_folder

        apart = sum(int(self.spec.files[data]["bytes"]) for data in self.variant.data) // 2  # of both towers
        size = int(self.spec.files[self._graph(tower).name]["bytes"]) + apart
        return ready_folder(size, self.spec.graph_digest(self.variant, tower))

    def _check_first_use(self, tower: str, device: str) -> None:
        """A low precision is measured once on every machine; see `first_use`. Raises ModelError where it is poor."""
        if self.precision == "fp32" or PROBE_FILE not in self.spec.files:
            return
        try:
            check_first_use(
                self.spec,
                self.variant,
                tower,
                device,
                lambda: tower_cosine(self, read_probe(self.folder, self.spec), tower),
            )
        except (ModelError, DeviceError):
            self._towers.pop(tower, None)
            raise


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # a container may have fewer than the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _parts(rows: NDArray[Any], size: int) -> list[NDArray[Any]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
