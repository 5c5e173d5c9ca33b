"""`probe.npz`: a few inputs of a model and their fp32 embeddings, so that parity can be measured without torch.

Quantised arithmetic differs between processors, so what was measured where a model was made is not enough: `clip models
verify` measures again, and so does the first use of a low precision on a machine.
Shapes: P probes, D embedding, H W pixels, L tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.damage import next_step
from clipcli.bundle.preprocess import normalise
from clipcli.bundle.spec import PROBE_FILE, ModelSpec
from clipcli.errors import ModelError

if TYPE_CHECKING:
    from clipcli.bundle.encoder import Model

__all__ = ["COSINE_FLOORS", "Probe", "read_probe", "smallest_cosine", "tower_cosine", "write_probe"]

# The smallest cosine to the model a variant was made from; below it the variant is refused.
COSINE_FLOORS = {"fp32": 0.99999, "fp16": 0.9999, "int8": 0.98}

_MOST_PROBES = 256
_LONGEST_TEXT = 1000  # signs


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Inputs as they are before normalising and after tokenizing, and what the fp32 towers give for them."""

    images: NDArray[np.uint8]  # (P, S, S, 3)
    image_embeddings: NDArray[np.float32]  # (P, D)
    texts: tuple[str, ...]
    tokens: NDArray[np.int64]  # (P, L)
    text_embeddings: NDArray[np.float32]  # (P, D)

    def check(self, spec: ModelSpec) -> None:
        """Raise ModelError where the arrays do not belong to this model."""
        size = spec.preprocess.image_size
        pictures, sentences = len(self.images), len(self.texts)
        good = (
            pictures > 0
            and sentences > 0
            and self.images.dtype == np.uint8
            and self.images.shape == (pictures, size, size, 3)
            and self.image_embeddings.shape == (pictures, spec.embedding_dim)
            and self.tokens.dtype == np.int64
            and self.tokens.shape == (sentences, spec.context_length)
            and self.text_embeddings.shape == (sentences, spec.embedding_dim)
        )
        if not good:
            raise ModelError(f"model {spec.name} is damaged: {PROBE_FILE} does not fit its model.json")


def write_probe(folder: Path, probe: Probe) -> None:
    np.savez_compressed(
        folder / PROBE_FILE,
        images=probe.images,
        image_embeddings=probe.image_embeddings.astype(np.float32),
        texts=np.array(probe.texts),
        tokens=probe.tokens,
        text_embeddings=probe.text_embeddings.astype(np.float32),
    )


def read_probe(folder: Path, spec: ModelSpec) -> Probe:
    """Raises ModelError where the file is missing or damaged. It is data: nothing in it is ever executed."""
    import zipfile  # late: a search asks for this file once

    try:
        _check_claims(folder / PROBE_FILE, spec)
        with np.load(folder / PROBE_FILE, allow_pickle=False) as arrays:
            probe = Probe(
                images=arrays["images"],
                image_embeddings=arrays["image_embeddings"],
                texts=tuple(str(text) for text in arrays["texts"]),
                tokens=arrays["tokens"],
                text_embeddings=arrays["text_embeddings"],
            )
    except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"model {spec.name} is damaged: {PROBE_FILE} cannot be read ({folder}); {next_step(folder)}"
        ) from error
    probe.check(spec)
    return probe


def _check_claims(path: Path, spec: ModelSpec) -> None:
    """Raise ValueError where arrays say they are larger than they are, or than those of any probe of this model."""
    import zipfile

    pixels, tokens = 3 * spec.preprocess.image_size**2, 8 * spec.context_length
    most = _MOST_PROBES * (pixels + tokens + 8 * spec.embedding_dim + 4 * _LONGEST_TEXT)
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > most:
            raise ValueError("larger than any probe")
        for member in archive.infolist():
            with archive.open(member) as content:
                version = np.lib.format.read_magic(content)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, kind = read(content)
                if math.prod(shape) * kind.itemsize > member.file_size:
                    raise ValueError("claims more than it holds")


def smallest_cosine(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Two (P, D) of the same inputs -> the cosine of the worst pair; NaN counts as the worst there is."""
    left, right = ours.astype(np.float64), theirs.astype(np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)  # (P,)
    cosines = (left * right).sum(axis=1) / np.maximum(lengths, 1e-12)  # (P,)
    return float(np.nan_to_num(cosines, nan=-1.0).min())


def tower_cosine(model: Model, probe: Probe, tower: str) -> float:
    """The smallest cosine between what `model`'s "image" or "text" tower gives here and what the probe recorded."""
    if tower == "text":
        return smallest_cosine(model.encode_tokens(probe.tokens), probe.text_embeddings)
    pixels = np.stack([normalise(image, model.spec.preprocess) for image in probe.images])  # (P, 3, S, S)
    return smallest_cosine(model.encode_images(pixels), probe.image_embeddings)
