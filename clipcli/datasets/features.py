"""Embeddings of a data set's pictures and texts, each computed once and kept.

Shapes: N images, B texts, D embedding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipcli.bundle.preprocess import resize_and_crop, to_pixels
from clipcli.datasets.changes import CHANGES
from clipcli.datasets.feature_cache import FeatureCache, feature_cache_path, picture_digest, text_digest
from clipcli.datasets.measured import Measured
from clipcli.errors import ImageError
from clipcli.photos.decode import file_error, open_image

__all__ = ["Features"]

Vector = NDArray[np.float32]
Refused = list[tuple[int, str, str]]  # which picture, reason, detail
BATCH = 64
TEXTS_AT_ONCE = 256
READ_AT_ONCE = 1024  # pictures whose bytes are looked up in the cache together


class Features:
    """A model that remembers. `computed` counts the pictures and texts that really went through it, `taken` those of
    `stored`, which has vectors (D,) of files that a library knows already: these are not opened.
    """

    def __init__(
        self, model: Measured, *, cached: bool = True, stored: Mapping[Path, NDArray[np.float32]] | None = None
    ) -> None:
        self.model = model
        self.computed = self.taken = 0
        self.told: Callable[[int], None] = lambda _: None  # of texts that are done
        self._stored = stored or {}
        self._cache = (
            FeatureCache(
                feature_cache_path(),
                identity=model.identity,
                precision=model.precision,
                dimension=model.spec.embedding_dim,
            )
            if cached
            else None
        )

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """B texts -> (B, D), L2-normalised."""
        digests = [text_digest(text) for text in texts]
        found = self._cache.known(digests) if self._cache else {}
        missing = [(digest, text) for digest, text in zip(digests, texts, strict=True) if digest not in found]
        self.told(len(texts) - len(missing))
        for start in range(0, len(missing), TEXTS_AT_ONCE):
            piece = missing[start : start + TEXTS_AT_ONCE]
            vectors = self.model.encode_texts([text for _, text in piece])
            made = {digest: vector for (digest, _), vector in zip(piece, vectors, strict=True)}
            self._keep(made)
            found |= made
            self.told(len(piece))
        return np.stack([found[digest] for digest in digests])

    def encode_pictures(
        self, pictures: Sequence[Path | bytes], advance: Callable[[int], None], *, change: str | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.intp], Refused]:
        """Files or encoded pictures -> (N, D) of the readable ones, L2-normalised, their places (N,), and the rest.

        `change` names one of `changes.CHANGES`, which each picture goes through first.
        """
        vectors: dict[int, Vector] = {}
        refused: Refused = []
        if change is None and self._stored:
            for place, picture in enumerate(pictures):
                if isinstance(picture, Path) and picture in self._stored:
                    vectors[place] = self._stored[picture]
            self.taken += len(vectors)
            advance(len(vectors))
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(pictures), READ_AT_ONCE):
                digests: dict[int, bytes] = {}
                end = min(start + READ_AT_ONCE, len(pictures))
                places = [place for place in range(start, end) if place not in vectors]
                for place, outcome in zip(
                    places, pool.map(lambda at: _digest(pictures[at], change), places), strict=True
                ):
                    if isinstance(outcome, ImageError):
                        refused.append((place, outcome.reason, str(outcome)))
                    else:
                        digests[place] = outcome
                found = self._cache.known(list(digests.values())) if self._cache else {}
                vectors |= {place: found[digest] for place, digest in digests.items() if digest in found}
                missing = [place for place in digests if place not in vectors]
                advance(len(places) - len(missing))
                for kept, batch in self._embedded(pictures, missing, pool, refused, advance, change):
                    made = dict(zip(kept, batch, strict=True))
                    self._keep({digests[place]: vector for place, vector in made.items()})
                    vectors |= made
        order = sorted(vectors)
        stacked = (
            np.stack([vectors[place] for place in order]) if order else np.empty((0, self.model.spec.embedding_dim))
        )
        return stacked.astype(np.float32, copy=False), np.asarray(order, dtype=np.intp), sorted(refused)

    def _embedded(
        self,
        pictures: Sequence[Path | bytes],
        places: Sequence[int],
        pool: ThreadPoolExecutor,
        refused: Refused,
        advance: Callable[[int], None],
        change: str | None,
    ) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        spec = self.model.spec.preprocess

        def pixels_of(place: int) -> NDArray[np.float32] | ImageError:
            try:
                picture = open_image(pictures[place], hint=spec.image_size)
                return to_pixels(CHANGES[change](resize_and_crop(picture, spec)) if change else picture, spec)
            except ImageError as error:
                return error

        for start in range(0, len(places), BATCH):
            piece = places[start : start + BATCH]
            kept: list[int] = []
            pixels: list[NDArray[np.float32]] = []
            for place, outcome in zip(piece, pool.map(pixels_of, piece), strict=True):
                if isinstance(outcome, ImageError):
                    refused.append((place, outcome.reason, str(outcome)))
                else:
                    kept.append(place)
                    pixels.append(outcome)
            if kept:
                yield kept, self.model.encode_images(np.stack(pixels))
            advance(len(piece))

    def _keep(self, made: dict[bytes, Vector]) -> None:
        self.computed += len(made)
        if self._cache:
            self._cache.keep(made)


def _digest(picture: Path | bytes, change: str | None) -> bytes | ImageError:
    if isinstance(picture, bytes):
        return picture_digest(picture, change)
    try:
        return picture_digest(picture.read_bytes(), change)
    except OSError as error:
        return file_error(error)
